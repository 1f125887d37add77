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
import type { ServerLogin } from "../../contract/schemas.ts";
import { type ClusterMap, supersedes } from "../../topology/cluster-map.ts";
import type { ProxyConfig } from "../proxy-config.ts";
import { UserChanges } from "../users/user-changes.ts";
import type { ServerSight } from "../upstream/server-sights.ts";
import type { WorkerCounters } from "./worker-messages.ts";
import type { MasterEnv, StartWorker } from "./worker-process.ts";
import { WorkerQuestions } from "./worker-questions.ts";
import { type SlotEvents, type WorkerFailure, WorkerSlot, type WorkerState } from "./worker-slot.ts";
import { worstSights } from "./worst-sights.ts";

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
  /** Name (`sinceVersion`) of the oldest login of a worker; null when one has none. */
  readonly login: number | null;
  readonly workers: ReadonlyArray<{
    readonly index: number;
    /** Null while there is no process. */
    readonly pid: number | null;
    readonly state: WorkerState;
    readonly restarts: number;
  }>;
  /** Sums over the living workers. */
  readonly counters: WorkerCounters;
  /** Calls per slot since the proxy's start, by samples; slots without any are left out. */
  readonly slotCalls: Readonly<Record<number, number>>;
  /** What the workers see of the servers, the worst of it. */
  readonly servers: readonly ServerSight[];
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
  #login: ServerLogin | null = null;
  /** The one before it: for a worker that starts by a map which is older than the login. */
  #earlierLogin: ServerLogin | null = null;
  #generation = 0;
  readonly #slotCalls: Record<number, number> = {};
  #failed = false;
  #controlLost = false;

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

  /**
   * Hands the map to every worker; the first one starts them. Maps that are not newer are dropped. Workers
   * that drain take them too: they still write, and locks wait for them.
   */
  setMap(map: ClusterMap): void {
    if (!supersedes(map, this.#map)) return;
    this.#map = map;
    if (this.#state === "waiting") this.#startWorkers();
    else for (const slot of this.#slots) slot.sendMap(map);
  }

  /**
   * Who the workers are at the servers from now on. One that serves by an older map than the login's is told
   * when that is over: what it owes to servers that have shut it out must be done with first. Null: who their
   * configuration says.
   */
  setLogin(login: ServerLogin | null): void {
    if (login?.sinceVersion !== this.#login?.sinceVersion) this.#earlierLogin = this.#login;
    this.#login = login;
    if (this.#state === "waiting") this.#startWorkers();
    for (const slot of this.#slots) this.#handLogin(slot);
  }

  /** Whether no controller renews the proxy's lease any more. */
  setControlLost(lost: boolean): void {
    this.#controlLost = lost;
    for (const slot of this.#slots) slot.send({ type: "control", lost });
  }

  status(): MasterStatus {
    const workers = this.#slots.map((slot) => {
      return { index: slot.index, pid: slot.pid, state: slot.state, restarts: slot.restarts };
    });
    return {
      state: this.#state,
      address: this.#address,
      acked: this.#acked(),
      login: this.#oldestLogin(),
      workers,
      counters: sumCounters(this.#slots),
      slotCalls: this.#slotCalls,
      servers: worstSights(
        this.#slots.flatMap((slot) => slot.sights ?? []),
        this.#env.clock.nowMs(),
      ),
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

  /**
   * Once there is a map, and it is not older than the login: as nobody in particular it could not be fenced.
   */
  #startWorkers(): void {
    if (this.#map === null || this.#isLoginTooNew()) return;
    this.#setState("starting");
    for (const slot of this.#slots) slot.start();
  }

  #isLoginTooNew(): boolean {
    return this.#login !== null && this.#map !== null && this.#login.sinceVersion > this.#map.version;
  }

  #handLogin(slot: WorkerSlot): void {
    const login = this.#login;
    if (slot.login === null || slot.login === login?.sinceVersion) return;
    if (login !== null && (slot.acked === null || slot.acked.version < login.sinceVersion)) return;
    slot.sendLogin(login);
    this.#events.onChange();
  }

  #oldestLogin(): number | null {
    const logins = this.#slots.filter((slot) => slot.holdsMap).map((slot) => slot.login);
    return logins.length === 0 || logins.includes(null) ? null : Math.min(...(logins as number[]));
  }

  #slotEvents(): SlotEvents {
    return {
      nextGeneration: () => ++this.#generation,
      // Workers are started by the first map only, so there is one.
      currentMap: () => this.#map as ClusterMap,
      currentLogin: () => (this.#isLoginTooNew() ? this.#earlierLogin : this.#login),
      onChange: (slot) => {
        this.#handLogin(slot);
        this.#events.onChange();
      },
      currentUsers: () => this.#users.all,
      onReady: (slot, address) => {
        slot.send({ type: "users", records: this.#users.all });
        if (this.#controlLost) slot.send({ type: "control", lost: true });
        this.#workerReady(address);
      },
      onCrash: (slot, reason, failure) => this.#workerCrashed(slot, reason, failure),
      onAsk: (slot, id, question) => {
        this.#users.see(question);
        this.#questions.ask(slot, id, question);
      },
      onSlotCalls: (calls) => this.#addSlotCalls(calls),
      onAnswer: (slot, id, answer) => this.#questions.answer(slot, id, answer),
    };
  }

  /** Totals, which outlive the workers. */
  #addSlotCalls(calls: readonly number[]): void {
    for (let i = 0; i + 1 < calls.length; i += 2)
      this.#slotCalls[calls[i]] = (this.#slotCalls[calls[i]] ?? 0) + calls[i + 1];
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
