/**
 * Which slots have to move so that every group has its share: topology and what each slot weighs in, the
 * shortest list of moves out. Pure and deterministic: the plan that was shown is the plan that is carried
 * out.
 *
 *   load of a group  = sum of the weights of its slots       target = all loads × share ÷ sum of shares
 *   donor (load > target) ──slots, from its last one down──▶ receiver (load < target)
 *
 * By slots every slot weighs 1 and the targets are whole numbers (largest remainder, a tie goes to whoever
 * has the slot already), so exactly the slots above the targets move and no other. By memory or calls a slot
 * moves only when it fits into what donor and receiver lack, so no slot ever moves twice or for nothing.
 * Slots are taken from a donor's end, in a row where that is possible, because each piece is a line of the
 * map. Rejected: dealing all slots out anew (moves nearly everything), and the best packing (it scatters the
 * slots, for less than one slot's weight).
 */
import { ShoalError } from "../base/shoal-error.ts";
import type { ClusterTopology } from "./cluster-topology.ts";
import type { PlannedMove } from "./move-changes.ts";
import { movesOf } from "./move-record.ts";
import { type SlotSpan, spansOf } from "./slot-ranges.ts";

/** What the groups shall have equal shares of. */
export type RebalanceBy = "slots" | "memory" | "ops";

export interface RebalanceWish {
  readonly by: RebalanceBy;
  /** One per slot, none negative; ignored by slots. Unit: whatever is measured (bytes, calls). */
  readonly slotWeights: ArrayLike<number>;
  /** By group: how many times the share of a group that is not named; 0 empties it. */
  readonly shares: Readonly<Record<string, number>>;
  /** Only these groups give slots away; null: any may. */
  readonly donors: readonly string[] | null;
}

/**
 * Least weight of a slot that is moved, as shares of its donor's mean: first the ones that count, then
 * smaller ones for what is left. What weighs next to nothing stays, because it would cost a move and mend
 * nothing.
 */
const LEAST_SHARES = [0.5, 0.02];

/**
 * A slot may weigh this much more than donor and receiver lack. Measured weights never fit exactly; up to
 * here the move mends clearly more than it overshoots.
 */
const FIT_SHARE_MAX = 1.5;

/** One group before or after. */
export interface GroupLoad {
  readonly group: string;
  readonly share: number;
  readonly slots: number;
  /** Sum of the weights of its slots. */
  readonly load: number;
}

/** Over the groups with a share, of load ÷ share: equal numbers mean a perfect balance. */
export interface Spread {
  readonly min: number;
  readonly max: number;
  readonly mean: number;
}

export interface RebalancePlan {
  readonly moves: ReadonlyArray<PlannedMove & { readonly source: string }>;
  readonly before: readonly GroupLoad[];
  readonly after: readonly GroupLoad[];
  readonly spreadBefore: Spread;
  readonly spreadAfter: Spread;
}

/** A group while the plan is made. */
interface Draft {
  readonly id: string;
  readonly share: number;
  readonly mayGive: boolean;
  /** Ascending. */
  slots: number[];
  load: number;
  target: number;
}

/** Notes that a slot goes from one group to another. */
type Give = (slot: number, from: Draft, to: Draft) => void;

/**
 * Owner of each slot as it will be when the moves that are under way have ended.
 */
export function slotOwners(topology: ClusterTopology): string[] {
  const owners = Array.from({ length: topology.slots }, () => "");
  for (const range of topology.ranges) {
    owners.fill(range.move?.to ?? range.group, range.from, range.to + 1);
  }
  // Of a planned move the ranges know nothing yet; those of the other phases they have shown already.
  for (const job of movesOf(topology).jobs) {
    if (job.phase !== "planned") continue;
    for (const span of job.spans) owners.fill(span.target, span.from, span.to + 1);
  }
  return owners;
}

/** @throws ShoalError INVALID_ARGUMENT when no group would have a share */
export function planRebalance(topology: ClusterTopology, wish: RebalanceWish): RebalancePlan {
  const weightOf = weighing(wish, topology.slots);
  const owners = slotOwners(topology);
  const drafts = makeDrafts(topology, wish, owners, weightOf);
  const before = drafts.map(toLoad);
  setTargets(drafts, wish.by);
  const targets: string[] = [...owners];
  const give: Give = (slot, from, to) => {
    targets[slot] = to.id;
    from.load -= weightOf(slot);
    to.load += weightOf(slot);
    to.slots.push(slot);
  };
  for (const donor of byNeed(drafts, (draft) => draft.load - draft.target)) {
    if (donor.mayGive) giveSurplus(donor, drafts, weightOf, give);
  }
  for (const donor of drafts) if (donor.share === 0 && donor.mayGive) emptyOut(donor, drafts, give);
  const after = drafts.map(toLoad);
  return {
    moves: toMoves(owners, targets),
    before,
    after,
    spreadBefore: spreadOf(before),
    spreadAfter: spreadOf(after),
  };
}

/**
 * What a slot weighs. A slot in which nothing was measured weighs a little, so that a cluster without keys
 * or calls is dealt out as well, and nearly equal plans prefer fewer slots.
 */
function weighing(wish: RebalanceWish, slots: number): (slot: number) => number {
  if (wish.by === "slots") return () => 1;
  let total = 0;
  for (let slot = 0; slot < slots; slot++) total += wish.slotWeights[slot] ?? 0;
  const least = total > 0 ? (total / slots) * 0.001 : 1;
  return (slot) => Math.max(wish.slotWeights[slot] ?? 0, least);
}

function makeDrafts(
  topology: ClusterTopology,
  wish: RebalanceWish,
  owners: readonly string[],
  weightOf: (slot: number) => number,
): Draft[] {
  const drafts = topology.groups.map((group): Draft => {
    const share = wish.shares[group.id] ?? 1;
    const mayGive = wish.donors === null || wish.donors.includes(group.id);
    return { id: group.id, share, mayGive, slots: [], load: 0, target: 0 };
  });
  if (drafts.every((draft) => draft.share === 0)) {
    const message = "Cannot plan a rebalance: every group has weight 0; `shoal group add` adds one";
    throw new ShoalError("INVALID_ARGUMENT", message);
  }
  const byId = new Map(drafts.map((draft) => [draft.id, draft]));
  owners.forEach((owner, slot) => {
    const draft = byId.get(owner) as Draft;
    draft.slots.push(slot);
    draft.load += weightOf(slot);
  });
  return drafts;
}

/** Load × share ÷ shares; whole numbers by slots, the rest dealt by largest remainder. */
function setTargets(drafts: readonly Draft[], by: RebalanceBy): void {
  const shares = drafts.reduce((sum, draft) => sum + draft.share, 0);
  const total = drafts.reduce((sum, draft) => sum + draft.load, 0);
  for (const draft of drafts) draft.target = (total * draft.share) / shares;
  if (by !== "slots") return;
  const remainders = new Map(drafts.map((draft) => [draft, draft.target - Math.floor(draft.target)]));
  for (const draft of drafts) draft.target = Math.floor(draft.target);
  let rest = total - drafts.reduce((sum, draft) => sum + draft.target, 0);
  const has = (draft: Draft): number => (draft.load > draft.target ? 0 : 1);
  const order = drafts
    .filter((draft) => draft.share > 0)
    .toSorted(
      (a, b) =>
        // Sums of fractions differ in their last bits: equal remainders must count as equal.
        Math.round(((remainders.get(b) ?? 0) - (remainders.get(a) ?? 0)) * 1e9) || has(a) - has(b),
    );
  for (const draft of order) {
    if (rest <= 0) break;
    draft.target++;
    rest--;
  }
}

/** Slots that weigh something first: a thousand idle slots are no substitute for a busy one. */
function giveSurplus(
  donor: Draft,
  drafts: readonly Draft[],
  weightOf: (slot: number) => number,
  give: Give,
): void {
  const mean = donor.load / Math.max(1, donor.slots.length);
  for (const share of donor.share === 0 ? [0] : LEAST_SHARES) {
    for (const receiver of byNeed(drafts, (draft) => draft.target - draft.load)) {
      if (receiver !== donor) fill(donor, receiver, mean * share, weightOf, give);
    }
  }
}

/** The neediest first; a stable order makes the plan deterministic. */
function byNeed(drafts: readonly Draft[], need: (draft: Draft) => number): Draft[] {
  return drafts.filter((draft) => need(draft) > 0).toSorted((a, b) => need(b) - need(a));
}

/**
 * Takes slots of at least a weight from the donor's end, each that fits into what the one has too much and
 * the other lacks.
 */
function fill(
  donor: Draft,
  receiver: Draft,
  least: number,
  weightOf: (slot: number) => number,
  give: Give,
): void {
  const kept: number[] = [];
  for (let at = donor.slots.length - 1; at >= 0; at--) {
    const slot = donor.slots[at];
    const room = Math.min(donor.load - donor.target, receiver.target - receiver.load);
    const weight = weightOf(slot);
    if (weight >= least && weight <= room * FIT_SHARE_MAX) give(slot, donor, receiver);
    else kept.push(slot);
  }
  donor.slots = kept.reverse();
}

/** What is left of a group that shall be empty goes where there is least, whether it fits or not. */
function emptyOut(donor: Draft, drafts: readonly Draft[], give: Give): void {
  const rest = donor.slots;
  donor.slots = [];
  for (const slot of rest) {
    const open = drafts.filter((draft) => draft.share > 0);
    const least = open.reduce((a, b) => (b.load / b.share < a.load / a.share ? b : a));
    give(slot, donor, least);
  }
}

/** In order of the slots, neighbours with one way together. */
function toMoves(owners: readonly string[], targets: readonly string[]): RebalancePlan["moves"] {
  const ways = new Map<string, { source: string; target: string; slots: number[] }>();
  owners.forEach((source, slot) => {
    const target = targets[slot];
    if (target === source) return;
    const key = `${source} ${target}`;
    const way = ways.get(key) ?? { source, target, slots: [] };
    way.slots.push(slot);
    ways.set(key, way);
  });
  return [...ways.values()]
    .flatMap(({ source, target, slots }) => spansOf(slots).map((span) => ({ ...span, source, target })))
    .toSorted((a: SlotSpan, b: SlotSpan) => a.from - b.from);
}

function toLoad(draft: Draft): GroupLoad {
  return { group: draft.id, share: draft.share, slots: draft.slots.length, load: draft.load };
}

function spreadOf(loads: readonly GroupLoad[]): Spread {
  const perShare = loads.filter((one) => one.share > 0).map((one) => one.load / one.share);
  const sum = perShare.reduce((a, b) => a + b, 0);
  return { min: Math.min(...perShare), max: Math.max(...perShare), mean: sum / perShare.length };
}
