/**
 * The map in force, as the hot path wants it: slot → upstream, per lane.
 *
 *   apply(map) ─▶ for each lane: keep the upstreams whose server stays, make the new ones, retire the others
 *              ─▶ slots that are locked or moving get the gate in the hot path's table (lane.ts)
 *              ─▶ sessions that wait for an upstream which slots have left take no further request until it
 *                 has answered them, so that their commands to one slot keep their order across the change
 *              ─▶ `onSettled(map)` when all is answered that was owed for slots which changed hands or were
 *                 locked: then the change may be acknowledged
 *
 * What must end before the acknowledgement is counted in fences: requests on the shared and private
 * connections of a server that slots have left, waits of blocked clients, keys that are being pulled.
 *
 * Invariant: a map is applied whole, between two loop turns; an older one is refused.
 */
import { ShoalError } from "../../base/shoal-error.ts";
import type { Protocol } from "../../resp/reply-writer.ts";
import { type ClusterMap, parseAddress, supersedes, validateMap } from "../../topology/cluster-map.ts";
import type { DataPlane } from "../data-plane.ts";
import { HOLD_DRAIN } from "../downstream/reply-queue.ts";
import { Upstream } from "../upstream/upstream.ts";
import type { Lane, LaneKind } from "./lane.ts";
import { MoveHistory } from "./move-history.ts";
import { SlotSampler } from "./slot-sampler.ts";
import { homeOf, SLOT_LOCKED, SLOT_SERVING, SlotStates } from "./slot-states.ts";

/** Databases that SELECT offers; Redis's default. */
export const DATABASES = 16;

/** What tells lanes of one database, protocol and stripe apart. */
const LANE_KIND_KEYS: Readonly<Record<LaneKind, number>> = {
  shared: 0,
  noloop: 2 ** 40,
  "noloop-broadcast": 2 ** 41,
};

/** Something that must end before the map counts as settled; to be called when it has. */
export type FenceEnded = () => void;

export class SlotTable {
  /** Slot count minus one. */
  mask = 0;
  map: ClusterMap | null = null;
  /** Which slots are locked or moving by the map in force. */
  states = new SlotStates(null);
  readonly history = new MoveHistory();
  readonly sampler: SlotSampler;
  readonly #plane: DataPlane;
  readonly #lanes = new Map<number, Lane>();
  readonly #retiring = new Set<Upstream>();
  /** What has begun before the map and has not ended. */
  #fences = 0;
  /** All requests take the way over the dispatcher: a sample is being taken. */
  #diverted = false;
  /** Stands for every slot that the hot path must not use by itself. Never connects. */
  #gate: Upstream | null = null;
  /** As many as there are slots; for all lanes. */
  #gates: Upstream[] | null = null;
  readonly #onSettled: (map: ClusterMap) => void;

  constructor(plane: DataPlane, onSettled: (map: ClusterMap) => void) {
    this.#plane = plane;
    this.#onSettled = onSettled;
    this.sampler = new SlotSampler(plane.env.timers, {
      divert: (diverted) => this.#divert(diverted),
      requests: () => plane.requestCount,
      atTurnEnd: (run) => plane.env.net.atTurnEnd(run),
    });
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
    const before = this.states;
    this.map = map;
    this.mask = map.slots - 1;
    this.states = new SlotStates(map);
    this.history.apply(map);
    this.#plane.acks.configure(map);
    // Held until everybody has put up his fences: the first to end must not settle the map for the others.
    const applied = this.fence();
    for (const lane of this.#lanes.values()) this.#fill(lane, before);
    this.#plane.moving.mapChanged(before);
    applied();
  }

  /**
   * The lane for a database and a protocol, one of several while writes wait for replicas: `stripe` says
   * which (acks/). Only once a map is there.
   */
  lane(database: number, protocol: Protocol, stripe = 0, kind: LaneKind = "shared"): Lane {
    const key = (stripe * DATABASES + database) * 2 + protocol - 2 + LANE_KIND_KEYS[kind];
    let lane = this.#lanes.get(key);
    if (lane === undefined) {
      lane = { database, protocol, kind, stripe, bySlot: [], homes: [], groups: [] };
      this.#lanes.set(key, lane);
      this.#fill(lane, this.states);
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
    for (const lane of this.#lanes.values()) if (lane.homes[slot].busy) return lane.homes[slot].refusal;
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

  /** The map in force is not settled before the function that comes back has been called. */
  fence(): FenceEnded {
    this.#fences++;
    let open = true;
    return () => {
      if (!open) return;
      open = false;
      this.#fences--;
      this.#settle();
    };
  }

  #fill(lane: Lane, before: SlotStates): void {
    const map = this.map as ClusterMap;
    const unused = new Map(
      lane.groups.map((upstream) => [keyOf(upstream.target.group, upstream.target.address), upstream]),
    );
    lane.groups = map.groups.map((group) => {
      const key = keyOf(group.id, group.primary);
      const kept = unused.get(key);
      if (kept === undefined || !this.#plane.acks.fits(kept))
        return this.#make(lane, group.id, group.primary);
      unused.delete(key);
      return kept;
    });
    const byGroup = new Map(lane.groups.map((upstream) => [upstream.target.group, upstream]));
    const homes: Upstream[] = Array.from({ length: map.slots });
    for (const range of map.ranges)
      homes.fill(byGroup.get(homeOf(range)) as Upstream, range.from, range.to + 1);
    const left = lane.homes;
    lane.homes = homes;
    lane.bySlot = this.#gated(lane);
    // Sessions whose slots change hands finish first what they have sent to the old place.
    const losing = new Set(left.filter((old, slot) => old !== homes[slot]));
    for (const upstream of losing) upstream.forEachWaiting((session) => session.hold(HOLD_DRAIN));
    const locked = left.filter(
      (_, slot) => this.states.of(slot) === SLOT_LOCKED && before.of(slot) !== SLOT_LOCKED,
    );
    for (const upstream of new Set([...losing, ...locked])) this.#awaitPending(upstream);
    for (const upstream of unused.values()) this.#retire(upstream);
  }

  /** The homes, with the gate in the place of those that the hot path must not use by itself. */
  #gated(lane: Lane): Upstream[] {
    const { states } = this;
    if (!states.unsettled && !this.#diverted) return lane.homes;
    const { target } = lane.groups[0];
    const gate = (this.#gate ??= new Upstream(this.#plane, { ...target, address: "" }, true));
    if (this.#diverted) {
      if (this.#gates?.length !== lane.homes.length) this.#gates = lane.homes.map(() => gate);
      return this.#gates;
    }
    return lane.homes.map((home, slot) => (states.of(slot) === SLOT_SERVING ? home : gate));
  }

  #divert(diverted: boolean): void {
    this.#diverted = diverted;
    for (const lane of this.#lanes.values()) lane.bySlot = this.#gated(lane);
  }

  /** The map is not settled before `upstream`, and private connections to its server, have answered. */
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
    const target = { group, address, host, port, database, protocol };
    const upstream = this.#plane.acks.makeUpstream(target, true);
    upstream.heldByMap = this.map?.groups.some(({ id, held }) => id === group && held === true) ?? false;
    return upstream;
  }

  #retire(upstream: Upstream): void {
    if (upstream.pending > 0) this.#retiring.add(upstream);
    // Whoever waits at a server that gives no answers and has been replaced would wait for ever.
    if (upstream.alive === false) this.#plane.privates.abandon(upstream.target.address);
    upstream.retire();
  }
}

function keyOf(group: string, address: string): string {
  return `${group} ${address}`;
}
