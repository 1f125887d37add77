/**
 * Rebalance, drain and `slot move`: measure, plan (topology/rebalance-plan.ts), show, and, when it is wanted,
 * hand the moves to the mover.
 *
 *   dryRun ─▶ measure ─▶ plan ─▶ answer ─ ─ a person looks ─ ─▶ the same moves ─▶ still true? ─▶ mover
 *
 * What was shown is what is carried out: measuring anew would make another plan, because a sample differs
 * each time. Invariant: a group is marked as draining before its first slot leaves, so that nothing else
 * gives it slots meanwhile.
 */
import { ShoalError } from "../../base/shoal-error.ts";
import type {
  DrainBody,
  RebalanceAnswer,
  RebalanceBody,
  SlotMoveBody,
} from "../../contract/group-schemas.ts";
import type { RedisEnv } from "../../redis/server-connection.ts";
import type { ClusterTopology } from "../../topology/cluster-topology.ts";
import { groupById } from "../../topology/group-changes.ts";
import {
  type RebalanceBy,
  type RebalancePlan,
  planRebalance,
  slotOwners,
} from "../../topology/rebalance-plan.ts";
import { countSlots, cutRanges } from "../../topology/slot-ranges.ts";
import type { ClusterState } from "../cluster-state.ts";
import type { AskOptions } from "./ask-server.ts";
import type { MoveStarter } from "./move-starter.ts";
import { type SlotLoads, measureSlots } from "./slot-loads.ts";
import type { SlotRates } from "./slot-rates.ts";

export interface RebalanceParts {
  readonly env: RedisEnv;
  readonly ask: AskOptions;
  readonly state: ClusterState;
  readonly rates: Pick<SlotRates, "calls">;
  readonly mover: MoveStarter;
}

/** A move as a caller names it. */
type WantedMove = SlotMoveBody["moves"][number];

/** What a plan is made for. */
interface Wish {
  readonly by: RebalanceBy;
  readonly shares: Readonly<Record<string, number>>;
  readonly donors: readonly string[] | null;
}

export class RebalanceCommands {
  readonly #parts: RebalanceParts;

  constructor(parts: RebalanceParts) {
    this.#parts = parts;
  }

  /** @throws ShoalError CONFLICT, NOT_FOUND, INVALID_ARGUMENT, UNSUPPORTED */
  async rebalance(body: RebalanceBody): Promise<RebalanceAnswer> {
    const topology = this.#topology("rebalance");
    for (const id of Object.keys(body.weights)) groupById(topology, id);
    const shares: Record<string, number> = {};
    // A group that is being drained gets nothing, unless somebody names it: then it shall stay.
    for (const group of topology.groups) if (group.draining === true) shares[group.id] = 0;
    Object.assign(shares, body.weights);
    const plan = await this.#plan(topology, { by: body.by, shares, donors: null }, body.moves);
    if (body.dryRun) return plan;
    for (const [group, weight] of Object.entries(body.weights)) {
      if (weight > 0) await this.#parts.state.change({ type: "group-draining", group, draining: false });
    }
    return { ...plan, id: await this.#start(topology, plan.moves, "rebalance") };
  }

  /** Every slot of the group moves to the others, by memory where it can be measured. */
  async drain(id: string, body: DrainBody): Promise<RebalanceAnswer> {
    const topology = this.#topology(`drain group ${id}`);
    const group = groupById(topology, id);
    const shares: Record<string, number> = {};
    for (const other of topology.groups) if (other.draining === true) shares[other.id] = 0;
    if (body.undo) {
      await this.#parts.state.change({ type: "group-draining", group: id, draining: false });
      return this.#plan(this.#topology("drain"), { by: "slots", shares: {}, donors: [] }, []);
    }
    const wish = { by: "slots", shares: { ...shares, [group.id]: 0 }, donors: [id] } as const;
    if (topology.groups.length === 1) {
      const next = "there is no other group that could take its slots; `shoal group add` adds one";
      throw new ShoalError("CONFLICT", `Cannot drain group ${id}: ${next}`);
    }
    const plan = await this.#plan(topology, wish, body.moves);
    if (body.dryRun) return plan;
    await this.#parts.state.change({ type: "group-draining", group: id, draining: true });
    return { ...plan, id: await this.#start(topology, plan.moves, `drain group ${id}`) };
  }

  /** Null: every slot is there already. */
  async moveSlots(body: SlotMoveBody): Promise<string | null> {
    const topology = this.#topology("move slots");
    return this.#start(topology, body.moves, "move slots", body.force);
  }

  /** `shown`: the moves of an earlier plan; the rest of the answer is made for them. */
  async #plan(
    topology: ClusterTopology,
    wish: Wish,
    shown: readonly WantedMove[] | undefined,
  ): Promise<RebalanceAnswer> {
    const { env, ask } = this.#parts;
    if (shown !== undefined)
      return answerOf(topology, wish, shownPlan(topology, shown), emptyLoads(topology));
    const loads = await measureSlots(env, ask, topology);
    const slotWeights = this.#weights(topology, wish.by, loads);
    return answerOf(topology, wish, planRebalance(topology, { ...wish, slotWeights }), loads);
  }

  #weights(topology: ClusterTopology, by: RebalanceBy, loads: SlotLoads): Float64Array {
    if (by !== "ops") return loads.bytes;
    const calls = this.#parts.rates.calls(topology.slots);
    if (calls !== null) return calls;
    throw new ShoalError(
      "UNSUPPORTED",
      "Cannot rebalance by ops: no proxy reports calls by slot; use --by slots or --by memory",
    );
  }

  /** Checks that the plan is still true, and hands it over. */
  async #start(
    topology: ClusterTopology,
    moves: readonly WantedMove[],
    action: string,
    force = false,
  ): Promise<string | null> {
    for (const move of moves) checkStillTrue(topology, move, action);
    // Where a slot is on its way already, the mover knows best what can be done with it.
    const wanted = moves.filter((move) => {
      const ranges = cutRanges(topology.ranges, move);
      return ranges.some((range) => range.group !== move.target || range.move !== undefined);
    });
    if (wanted.length === 0) return null;
    const { id } = await this.#parts.mover.start(
      wanted.map(({ from, to, target }) => ({ from, to, target })),
      force,
    );
    return id === "" ? null : id;
  }

  #topology(action: string): ClusterTopology {
    const { topology, leading, leader } = this.#parts.state;
    if (!leading) {
      const who = leader === null ? "nobody leads now" : `${leader.id} at ${leader.addr} leads`;
      throw new ShoalError("NOT_LEADER", `Cannot ${action}: ${who}`);
    }
    if (topology === null) throw new ShoalError("NOT_FOUND", `Cannot ${action}: there is no cluster yet`);
    return topology;
  }
}

/**
 * @throws ShoalError INVALID_ARGUMENT, NOT_FOUND, CONFLICT when the plan that was shown is not true any more
 */
function checkStillTrue(topology: ClusterTopology, move: WantedMove, action: string): void {
  groupById(topology, move.target);
  if (move.to < move.from || move.to >= topology.slots) {
    const why = `${move.from}-${move.to} is no range of its ${topology.slots} slots`;
    throw new ShoalError("INVALID_ARGUMENT", `Cannot ${action}: ${why}`);
  }
  if (move.source === undefined) return;
  const owners = slotOwners(topology);
  for (let slot = move.from; slot <= move.to; slot++) {
    if (owners[slot] === move.source) continue;
    const why = `slot ${slot} is not of group ${move.source} any more, but of ${owners[slot]}`;
    throw new ShoalError("CONFLICT", `Cannot ${action}: the plan is old: ${why}; plan again`);
  }
}

/** An earlier plan's moves as a plan: what it was made of is not known any more, and not needed. */
function shownPlan(topology: ClusterTopology, shown: readonly WantedMove[]): RebalancePlan {
  const owners = slotOwners(topology);
  const moves = shown.map((move) => ({ ...move, source: move.source ?? owners[move.from] }));
  const spread = { min: 0, max: 0, mean: 0 };
  return { moves, before: [], after: [], spreadBefore: spread, spreadAfter: spread };
}

function emptyLoads(topology: ClusterTopology): SlotLoads {
  const none = new Float64Array(topology.slots);
  return { keys: none, bytes: none, exact: false, keysSampled: 0, notes: [] };
}

/** The plan with what it moves, in keys and bytes, whole numbers. */
function answerOf(
  topology: ClusterTopology,
  wish: Wish,
  plan: RebalancePlan,
  loads: SlotLoads,
): RebalanceAnswer {
  const before = slotOwners(topology);
  const after = [...before];
  const sum = (values: Float64Array, from: number, to: number): number => {
    return values.subarray(from, to + 1).reduce((a, b) => a + b, 0);
  };
  const moves = plan.moves.map((move) => {
    after.fill(move.target, move.from, move.to + 1);
    const keys = Math.round(sum(loads.keys, move.from, move.to));
    const bytes = Math.round(sum(loads.bytes, move.from, move.to));
    return { from: move.from, to: move.to, source: move.source, target: move.target, keys, bytes };
  });
  const side = (
    owners: readonly string[],
    id: string,
    load: number,
  ): RebalanceAnswer["groups"][number]["before"] => {
    const own = { slots: 0, keys: 0, bytes: 0, load };
    owners.forEach((owner, slot) => {
      if (owner !== id) return;
      own.slots++;
      own.keys += loads.keys[slot];
      own.bytes += loads.bytes[slot];
    });
    return { ...own, keys: Math.round(own.keys), bytes: Math.round(own.bytes) };
  };
  const loadOf = (list: RebalancePlan["before"], id: string): number => {
    return list.find((one) => one.group === id)?.load ?? 0;
  };
  return {
    by: wish.by,
    moves,
    total: {
      slots: countSlots(moves),
      keys: moves.reduce((total, move) => total + move.keys, 0),
      bytes: moves.reduce((total, move) => total + move.bytes, 0),
    },
    groups: topology.groups.map((group) => ({
      id: group.id,
      share: wish.shares[group.id] ?? 1,
      draining: group.draining === true,
      before: side(before, group.id, loadOf(plan.before, group.id)),
      after: side(after, group.id, loadOf(plan.after, group.id)),
    })),
    spread: { before: plan.spreadBefore, after: plan.spreadAfter },
    measured: { exact: loads.exact, keysSampled: loads.keysSampled, notes: [...loads.notes] },
    id: null,
  };
}
