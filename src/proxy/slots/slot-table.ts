/**
 * The map in force, as the hot path wants it: slot → upstream, per lane.
 *
 *   apply(map) ─▶ for each lane: keep the upstreams whose server stays, make the new ones, retire the others
 *                   └─ a session that waits for a retired upstream takes no further request until it is
 *                   answered, so that
 *                      its commands to one slot keep their order across the change
 *              ─▶ `onSettled(map)` when all is answered that was owed for slots which changed hands: then
 *              the change may be acknowledged
 *
 * Invariant: a map is applied whole, between two loop turns; an older one is refused.
 */
import { ShoalError } from "../../base/shoal-error.ts";
import type { Protocol } from "../../resp/reply-writer.ts";
import { type ClusterMap, parseAddress, supersedes, validateMap } from "../../topology/cluster-map.ts";
import type { DataPlane } from "../data-plane.ts";
import { HOLD_DRAIN } from "../downstream/reply-queue.ts";
import { Upstream } from "../upstream/upstream.ts";
import type { Lane } from "./lane.ts";

/** Databases that SELECT offers; Redis's default. */
export const DATABASES = 16;

export class SlotTable {
  /** Slot count minus one. */
  mask = 0;
  map: ClusterMap | null = null;
  readonly #plane: DataPlane;
  readonly #lanes = new Map<number, Lane>();
  readonly #retiring = new Set<Upstream>();
  /** Upstreams that lost slots and still owe replies from before. */
  #fences = 0;
  readonly #onSettled: (map: ClusterMap) => void;

  constructor(plane: DataPlane, onSettled: (map: ClusterMap) => void) {
    this.#plane = plane;
    this.#onSettled = onSettled;
  }

  /** @throws ShoalError STALE for an older map, INVALID_ARGUMENT for a wrong one */
  apply(map: ClusterMap): void {
    validateMap(map);
    if (!supersedes(map, this.map)) {
      const current = this.map as ClusterMap;
      throw new ShoalError(
        "STALE",
        `Cannot apply map version ${map.version} of term ${map.term}: ` +
          `version ${current.version} of term ${current.term} is in force`,
      );
    }
    this.map = map;
    this.mask = map.slots - 1;
    for (const lane of this.#lanes.values()) this.#fill(lane);
    this.#settle();
  }

  /** The lane for a database and a protocol. Only once a map is there. */
  lane(database: number, protocol: Protocol): Lane {
    const key = database * 2 + protocol - 2;
    let lane = this.#lanes.get(key);
    if (lane === undefined) {
      lane = { database, protocol, bySlot: [], groups: [] };
      this.#lanes.set(key, lane);
      this.#fill(lane);
    }
    return lane;
  }

  /** All upstreams of all lanes. */
  forEachUpstream(visit: (upstream: Upstream) => void): void {
    for (const lane of this.#lanes.values()) for (const upstream of lane.groups) visit(upstream);
    for (const upstream of this.#retiring) visit(upstream);
  }

  /**
   * What the server of `slot` says to everybody while a script keeps it; null while none does, as far as is
   * known here.
   */
  busyText(slot: number): string | null {
    for (const lane of this.#lanes.values()) if (lane.bySlot[slot].busy) return lane.bySlot[slot].refusal;
    return null;
  }

  close(): void {
    this.forEachUpstream((upstream) => upstream.close());
  }

  /** A retired upstream has nothing left to answer. */
  retired(upstream: Upstream): void {
    if (this.#retiring.delete(upstream)) this.#settle();
  }

  #settle(): void {
    if (this.#retiring.size === 0 && this.#fences === 0 && this.map !== null) this.#onSettled(this.map);
  }

  #fill(lane: Lane): void {
    const map = this.map as ClusterMap;
    const before = new Map(
      lane.groups.map((upstream) => [keyOf(upstream.target.group, upstream.target.address), upstream]),
    );
    lane.groups = map.groups.map((group) => {
      const key = keyOf(group.id, group.primary);
      const kept = before.get(key);
      before.delete(key);
      return kept ?? this.#make(lane, group.id, group.primary);
    });
    const byGroup = new Map(lane.groups.map((upstream) => [upstream.target.group, upstream]));
    const bySlot: Upstream[] = Array.from({ length: map.slots });
    for (const range of map.ranges)
      bySlot.fill(byGroup.get(range.group) as Upstream, range.from, range.to + 1);
    const losing = new Set(lane.bySlot.filter((old, slot) => old !== bySlot[slot]));
    lane.bySlot = bySlot;
    for (const upstream of losing) {
      // Sessions whose slots change hands finish first what they have sent to the old place.
      upstream.forEachWaiting((session) => session.hold(HOLD_DRAIN));
      this.#awaitPending(upstream);
    }
    for (const upstream of before.values()) this.#retire(upstream);
  }

  /** The map is not settled before `upstream` has answered what it owes now. */
  #awaitPending(upstream: Upstream): void {
    const ended = (): void => {
      this.#fences--;
      this.#settle();
    };
    this.#fences += this.#plane.privates.afterUse(upstream, ended);
    if (upstream.pending === 0) return;
    this.#fences++;
    upstream.afterPending(ended);
  }

  #make(lane: Lane, group: string, address: string): Upstream {
    const { host, port } = parseAddress(address);
    const { database, protocol } = lane;
    return new Upstream(this.#plane, { group, address, host, port, database, protocol }, true);
  }

  #retire(upstream: Upstream): void {
    if (upstream.pending > 0) this.#retiring.add(upstream);
    upstream.retire();
  }
}

function keyOf(group: string, address: string): string {
  return `${group} ${address}`;
}
