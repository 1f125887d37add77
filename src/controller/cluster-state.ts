/**
 * The topology in force and who leads: the one place in the process that reads them from the store and writes
 * them to it.
 *
 *   store ──read, watch──▶ topology ──listeners──▶ map-hub, health
 *   change(event) ──▶ changeTopology (pure) ──▶ store.writeTopology(term) ──▶ topology
 *   (in this order, one change at a time)
 *
 * Invariant: nothing is handed out that is not stored. A write that the store refuses as stale means that
 * somebody else leads: leadership is given up at once, and the stored topology is read again.
 */
import { ShoalError, errorCodeOf, errorTextOf } from "../base/shoal-error.ts";
import type { Log } from "../env/log.ts";
import type { Leadership, Store } from "../store/store.ts";
import {
  type ClusterSpec,
  type TopologyEvent,
  changeTopology,
  createTopology,
} from "../topology/change-topology.ts";
import { type ClusterMap } from "../topology/cluster-map.ts";
import { type ClusterTopology, deriveMap } from "../topology/cluster-topology.ts";
import type { EventLog } from "./events.ts";
import type { Service } from "./service.ts";

export class ClusterState implements Service {
  readonly #store: Store;
  readonly #log: Log;
  readonly #events: EventLog;
  readonly #listeners: Array<() => void> = [];
  #topology: ClusterTopology | null = null;
  #map: ClusterMap | null = null;
  #leader: Leadership | null = null;
  #term: number | null = null;
  /** Changes one after another: each begins with what the one before has stored. */
  #queue: Promise<unknown> = Promise.resolve();
  #stopWatch: (() => void) | null = null;

  constructor(store: Store, log: Log, events: EventLog) {
    this.#store = store;
    this.#log = log;
    this.#events = events;
  }

  get topology(): ClusterTopology | null {
    return this.#topology;
  }

  /** The map in force; null until there is a cluster. */
  get map(): ClusterMap | null {
    return this.#map;
  }

  /** Who leads, as far as we know. */
  get leader(): Leadership | null {
    return this.#leader;
  }

  get leading(): boolean {
    return this.#term !== null;
  }

  /** Called after every change of topology or leadership. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  async run(): Promise<void> {
    await this.#reload();
    this.#stopWatch = this.#store.watchTopology(() => {
      this.#reload().catch((error) => this.#log.error("store-read-failed", { reason: errorTextOf(error) }));
    });
  }

  async drain(): Promise<void> {
    await this.#queue;
  }

  async stop(): Promise<void> {
    this.#stopWatch?.();
    this.#stopWatch = null;
  }

  /** Another controller leads, or nobody. */
  follow(leader: Leadership | null): void {
    const changed = this.#term !== null || this.#leader?.term !== leader?.term;
    this.#term = null;
    this.#leader = leader;
    if (changed) this.#notify();
  }

  /** We lead: the topology is made if there is none, and stamped with our term. */
  lead(leader: Leadership, spec: ClusterSpec): Promise<void> {
    this.#term = leader.term;
    this.#leader = leader;
    return this.#inOrder(async () => {
      const stored = await this.#store.readTopology();
      if (stored !== null) {
        await this.#write(changeTopology(stored, { type: "led" }, leader.term) ?? stored, stored);
      } else if (spec.groups.length > 0) {
        await this.#write(createTopology(spec, leader.term), null);
        this.#events.add("cluster-created", {
          cluster: spec.name,
          groups: spec.groups.length,
          slots: spec.slots,
        });
      } else {
        this.#log.warn("no-cluster", { reason: "the store is empty and the configuration names no groups" });
      }
      this.#notify();
    });
  }

  /** Changes the topology, as the leader. @throws ShoalError NOT_LEADER, STALE, STORE, CONFLICT */
  change(event: TopologyEvent): Promise<void> {
    return this.#inOrder(async () => {
      const topology = this.#topology;
      if (this.#term === null) throw this.#notLeader(`apply ${event.type}`);
      if (topology === null)
        throw new ShoalError("CONFLICT", `Cannot apply ${event.type}: there is no cluster yet`);
      const next = changeTopology(topology, event, this.#term);
      if (next !== null) await this.#write(next, topology);
    });
  }

  /**
   * Asks the store whether we still lead, for what is done outside of it: a process that was stopped for a
   * while believes that it does until it asks. @throws ShoalError NOT_LEADER, STORE
   */
  async confirmLeading(): Promise<void> {
    const leader = await this.#store.readLeadership();
    if (this.#term === null || leader?.term !== this.#term) throw this.#notLeader("act");
  }

  /** A failed change does not stop the ones behind it. */
  #inOrder(work: () => Promise<void>): Promise<void> {
    const done = this.#queue.then(work);
    this.#queue = done.catch(() => {});
    return done;
  }

  /** Stores first, hands out after: what proxies have seen can never be forgotten by a crash. */
  async #write(next: ClusterTopology, previous: ClusterTopology | null): Promise<void> {
    if (this.#term === null) throw this.#notLeader("write the topology");
    try {
      if (next !== previous) await this.#store.writeTopology(this.#term, next);
    } catch (error) {
      if (errorCodeOf(error) === "STALE") await this.#overtaken();
      throw error;
    }
    this.#take(next);
  }

  /** Our term, or our idea of the topology, is old. */
  async #overtaken(): Promise<void> {
    this.follow(await this.#store.readLeadership());
    await this.#reload();
  }

  async #reload(): Promise<void> {
    const stored = await this.#store.readTopology();
    if (stored !== null) this.#take(stored);
  }

  /**
   * Our own write comes back by the watch, and a slow read may be older than what we have: both are dropped.
   */
  #take(topology: ClusterTopology): void {
    if (this.#topology !== null && topology.version <= this.#topology.version) return;
    this.#topology = topology;
    this.#map = deriveMap(topology);
    this.#events.add("map-changed", { version: topology.version, term: topology.term });
    this.#notify();
  }

  #notify(): void {
    for (const listener of this.#listeners) listener();
  }

  #notLeader(action: string): ShoalError {
    const who =
      this.#leader === null ? "nobody leads now" : `${this.#leader.id} at ${this.#leader.addr} leads`;
    return new ShoalError("NOT_LEADER", `Cannot ${action}: ${who}`);
  }
}
