/**
 * The map: the versioned routing table that the controller hands to the proxies.
 *
 * Invariants, checked by {@link validateMap} on both sides: the ranges cover every slot exactly once, in
 * order; each range names a group of the map; versions only grow. A proxy applies a map whole and refuses an
 * older term or version.
 */
import { ShoalError } from "../base/shoal-error.ts";

/** Slot counts that a cluster may have. */
export const SLOT_COUNTS = [1024, 2048, 4096, 8192, 16384] as const;

/** The highest group number: a SCAN cursor carries it in 12 bits. */
export const GROUP_NUMBER_MAX = 4095;

/**
 * How a group is doing:
 *   ok        primary serves, every replica follows
 *   degraded  primary serves, a replica does not
 *   suspect   the primary does not answer, but not yet for long enough to be down
 *   down      the primary does not answer
 *   unknown   not asked yet
 */
export type GroupState = "ok" | "degraded" | "suspect" | "down" | "unknown";

/** A group as the proxies know it. Addresses are "host:port". */
export interface MapGroup {
  /** "g1", "g2", …: what people type. */
  readonly id: string;
  /** The number in it: 1 … {@link GROUP_NUMBER_MAX}, never used again for another group. */
  readonly number: number;
  readonly primary: string;
  readonly replicas: readonly string[];
  /** Where its servers stand, by address; servers without a zone are not in it. */
  readonly zones?: Readonly<Record<string, string>>;
  /** A switchover is under way: proxies hold its requests, and acknowledge when none is in flight. */
  readonly held?: boolean;
}

/** Slots `from` to `to`, both included, belong to `group`; with `move`, they are leaving it. */
export interface SlotRange {
  readonly from: number;
  readonly to: number;
  readonly group: string;
  readonly move?: { readonly to: string; readonly phase: "locked" | "moving" };
}

export interface ClusterMap {
  readonly cluster: string;
  /** Grows by one with each change. */
  readonly version: number;
  /** The leader's term that wrote it. */
  readonly term: number;
  readonly hash: "crc32";
  readonly slots: number;
  readonly groups: readonly MapGroup[];
  readonly ranges: readonly SlotRange[];
  readonly options: Readonly<Record<string, string | number | boolean>>;
}

/** Whether `next` may replace `current`: same cluster, not an older term, a higher version. */
export function supersedes(next: ClusterMap, current: ClusterMap | null): boolean {
  if (current === null) return true;
  return next.cluster === current.cluster && next.term >= current.term && next.version > current.version;
}

/** @throws ShoalError INVALID_ARGUMENT that names the first thing that is wrong */
export function validateMap(map: ClusterMap): void {
  const fail = (what: string): never => {
    throw new ShoalError("INVALID_ARGUMENT", `Cannot use map version ${map.version}: ${what}`);
  };
  if (map.hash !== "crc32") fail(`hash ${String(map.hash)} is not known to this version`);
  if (!(SLOT_COUNTS as readonly number[]).includes(map.slots))
    fail(`slot count ${map.slots} is not one of ${SLOT_COUNTS.join(", ")}`);
  const ids = new Set<string>();
  const numbers = new Set<number>();
  for (const group of map.groups) {
    if (ids.has(group.id) || numbers.has(group.number)) fail(`group ${group.id} stands in it twice`);
    if (!(group.number >= 1 && group.number <= GROUP_NUMBER_MAX))
      fail(`group number ${group.number} is out of range`);
    ids.add(group.id);
    numbers.add(group.number);
  }
  let next = 0;
  for (const range of map.ranges) {
    if (range.from !== next || range.to < range.from) fail(`slot ${next} is not covered exactly once`);
    if (!ids.has(range.group))
      fail(`slots ${range.from}-${range.to} belong to group ${range.group}, which is not in it`);
    if (range.move && !ids.has(range.move.to))
      fail(`slots ${range.from}-${range.to} move to group ${range.move.to}, which is not in it`);
    next = range.to + 1;
  }
  if (next !== map.slots) fail(`slots from ${next} on belong to no group`);
}

/** Deals `slots` out to the groups in equal contiguous ranges; the first groups get what does not divide. */
export function evenRanges(slots: number, groupIds: readonly string[]): SlotRange[] {
  const ranges: SlotRange[] = [];
  let from = 0;
  for (let i = 0; i < groupIds.length; i++) {
    const to = Math.floor(((i + 1) * slots) / groupIds.length) - 1;
    ranges.push({ from, to, group: groupIds[i] });
    from = to + 1;
  }
  return ranges;
}

/** Splits "host:port". @throws ShoalError INVALID_ARGUMENT */
export function parseAddress(address: string): { host: string; port: number } {
  const colon = address.lastIndexOf(":");
  const port = Number(address.slice(colon + 1));
  if (colon <= 0 || !Number.isInteger(port) || port < 1 || port > 65535) {
    throw new ShoalError(
      "INVALID_ARGUMENT",
      `Cannot read address ${JSON.stringify(address)}: want host:port`,
    );
  }
  return { host: address.slice(0, colon).replace(/^\[(.*)\]$/, "$1"), port };
}
