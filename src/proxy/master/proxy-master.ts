/**
 * The proxy's master: N places for workers, one map for all of them.
 *
 *   waiting ──first map──▶ starting ──all ready──▶ serving ──drain()──▶ draining ──▶ (its promise settles)
 *                             └── a worker can't start ──▶ onFailed, once, and only before it ever served
 *
 * Before a map is known no worker runs: a port that accepts clients and can't answer them would be worse
 * than a closed one. Invariant: the acknowledged version is the lowest one over all workers that may be
 * serving clients, so what the controller reads from it ("every proxy has locked slot 5") holds for each of
 * them.
 */
import { ShoalError } from "../../base/shoal-error.ts";
import { type ClusterMap, supersedes } from "../../topology/cluster-map.ts";
import type { ProxyConfig } from "../proxy-config.ts";
import { UserChanges } from "../users/user-changes.ts";
import type { WorkerCounters } from "./worker-messages.ts";
import type { MasterEnv, StartWorker } from "./worker-process.ts";
import { WorkerQuestions } from "./worker-questions.ts";
import { type SlotEvents, type WorkerFailure, WorkerSlot, type WorkerState } from "./worker-slot.ts";

export type ProxyState = "waiting" | "starting" | "serving" | "draining";

/** Deaths of one worker before the proxy's first service, after which its start is called failed. */
const START_ATTEMPTS = 3;

export interface MasterEvents {
  /** All workers listen, for the first time. */
  onServing(address: string): void;
  /** It can't start: nothing serves, and trying again would not help. */
  onFailed(error: ShoalError): void;
  /**
   * The status has changed in a way that a controller wants to know at once: state, workers, acknowledged
   * version.
   */
  onChange(): void;
}

export interface MasterStatus {
  readonly state: ProxyState;
  /** Where clients connect to; the configured address until the workers listen. */
  readonly address: string;
  /** The map that every worker has in force, or null. */
  readonly acked: { readonly version: number; readonly term: number } | null;
  readonly workers: ReadonlyArray<{
    readonly index: number;
    /** Null while there is no process. */
    readonly pid: number | null;
    readonly state: WorkerState;
    readonly restarts: number;
  }>;
  /** Sums over the living workers. */
  readonly counters: WorkerCounters;
}

export class ProxyMaster {
  readonly #env: MasterEnv;
  readonly #config: ProxyConfig;
  readonly #events: MasterEvents;
  readonly #slots: WorkerSlot[] = [];
  readonly #questions: WorkerQuestions;
  readonly #users = new UserChanges();
  #state: ProxyState = "waiting";
  #address: string;
  #map: ClusterMap | null = null;
  #generation = 0;
  #failed = false;

  constructor(env: MasterEnv, config: ProxyConfig, startWorker: StartWorker, events: MasterEvents) {
    this.#env = env;
    this.#config = config;
    this.#events = events;
    this.#address = config.listen === "" ? config.tls_listen : config.listen;
    const slotEvents = this.#slotEvents();
    for (let index = 0; index < config.workers; index++) {
      this.#slots.push(new WorkerSlot(env, index, config, startWorker, slotEvents));
    }
    this.#questions = new WorkerQuestions(env, this.#slots);
  }

  /** Hands the map to every worker; the first one starts them. Maps that are not newer are dropped. */
  setMap(map: ClusterMap): void {
    if (!supersedes(map, this.#map) || this.#state === "draining") return;
    this.#map = map;
    if (this.#state === "waiting") {
      this.#setState("starting");
      for (const slot of this.#slots) slot.start();
    } else {
      for (const slot of this.#slots) slot.sendMap(map);
    }
  }

  status(): MasterStatus {
    const workers = this.#slots.map((slot) => {
      return { index: slot.index, pid: slot.pid, state: slot.state, restarts: slot.restarts };
    });
    return {
      state: this.#state,
      address: this.#address,
      acked: this.#acked(),
      workers,
      counters: sumCounters(this.#slots),
    };
  }

  /** No new connections, replies finished, bounded by `drain_timeout_ms`; settles when no worker is left. */
  async drain(): Promise<void> {
    if (this.#state === "draining") return;
    this.#setState("draining");
    await Promise.all(this.#slots.map((slot) => slot.drain()));
  }

  /** Ends the workers at once; a `drain()` under way settles. */
  kill(): void {
    for (const slot of this.#slots) slot.kill();
  }

  /**
   * The lowest map in force over all workers that have one or may get one; null while one of them has none.
   */
  #acked(): { version: number; term: number } | null {
    let lowest: { version: number; term: number } | null = null;
    for (const slot of this.#slots) {
      if (!slot.holdsMap) continue;
      if (slot.acked === null) return null;
      if (lowest === null || slot.acked.version < lowest.version) lowest = slot.acked;
    }
    return lowest;
  }

  #slotEvents(): SlotEvents {
    return {
      nextGeneration: () => ++this.#generation,
      // Workers are started by the first map only, so there is one.
      currentMap: () => this.#map as ClusterMap,
      onChange: () => this.#events.onChange(),
      currentUsers: () => this.#users.all,
      onReady: (slot, address) => {
        slot.send({ type: "users", records: this.#users.all });
        this.#workerReady(address);
      },
      onCrash: (slot, reason, failure) => this.#workerCrashed(slot, reason, failure),
      onAsk: (slot, id, question) => {
        this.#users.see(question);
        this.#questions.ask(slot, id, question);
      },
      onAnswer: (slot, id, answer) => this.#questions.answer(slot, id, answer),
    };
  }

  #workerReady(address: string): void {
    this.#address = address;
    if (this.#state !== "starting" || this.#slots.some((slot) => slot.state !== "serving")) return;
    this.#setState("serving");
    this.#env.log.info("proxy-serving", { address, workers: this.#slots.length });
    this.#events.onServing(address);
  }

  #workerCrashed(slot: WorkerSlot, reason: string, failure: WorkerFailure | null): void {
    this.#questions.forget(slot);
    if (this.#state !== "starting" || this.#failed) return;
    // What a worker says of itself (address in use, no such library) will not change by asking again.
    if (failure === null && slot.restarts + 1 < START_ATTEMPTS) return;
    this.#failed = true;
    const code = failure?.code ?? "START_FAILED";
    const why = failure?.message ?? `worker ${slot.index} ${reason}`;
    this.#events.onFailed(new ShoalError(code, `Cannot start proxy ${this.#config.id}: ${why}`));
  }

  #setState(state: ProxyState): void {
    this.#state = state;
    this.#events.onChange();
  }
}

function sumCounters(slots: readonly WorkerSlot[]): WorkerCounters {
  const sums: Record<string, number> = {};
  for (const slot of slots) {
    for (const [name, count] of Object.entries(slot.counters)) sums[name] = (sums[name] ?? 0) + count;
  }
  return sums;
}
