/**
 * The place of one worker: the process in it changes when one dies, the place stays.
 *
 *   empty ──start()──▶ starting ──ready──▶ serving ──drain()──▶ draining ──▶ ended
 *                       │   ▲                 │ process ends                   ▲
 *            ends, or   ▼   │ back-off        ▼                                │
 *            no `ready` waiting ◀─────────────┘            drain() from any state
 *
 * A worker that served for SETTLED_MS is replaced at once; one that dies sooner waits, and longer each
 * time, so that a worker which can't live does not eat the machine. One that says nothing for a while is
 * killed, and so replaced. Invariant: at most one process per
 * place; what comes from an earlier one is ignored.
 */
import type { Timer } from "../../env/env.ts";
import { errorTextOf } from "../../base/shoal-error.ts";
import type { ServerLogin } from "../../contract/schemas.ts";
import type { ClusterMap } from "../../topology/cluster-map.ts";
import type { ProxyConfig } from "../proxy-config.ts";
import type { UserRecord } from "../users/user-record.ts";
import type { WorkerCounters, WorkerMessage } from "./worker-messages.ts";
import type { WorkerSights } from "./worst-sights.ts";
import {
  type MasterEnv,
  type StartWorker,
  type WorkerEnd,
  type WorkerProcess,
  describeEnd,
} from "./worker-process.ts";

export type WorkerState = "empty" | "starting" | "serving" | "waiting" | "draining" | "ended";

/** Having served for so long, a worker's death is an accident and not a habit. */
const SETTLED_MS = 1000;
/**
 * Pauses before the second, third, … restart in a row: doubling from the first to the last. The first has
 * none.
 */
const RESTART_PAUSE_MS_MIN = 100;
const RESTART_PAUSE_MS_MAX = 5000;
/** A process that has not said `ready` (or `failed`) by then is killed. */
const READY_TIMEOUT_MS = 15_000;
/**
 * Looks, this far apart, without a word from a serving worker (it sends `stats` every second): it is wedged.
 */
const SILENCE_CHECK_MS = 1000;
const SILENT_CHECKS_MAX = 15;
/** A worker cuts its clients itself when the drain's time is up; this much later it is killed. */
const DRAIN_GRACE_MS = 1000;

/** What the master wants to hear from a place. */
export interface SlotEvents {
  /** Counts the worker processes of this master. */
  nextGeneration(): number;
  currentMap(): ClusterMap;
  /** What ACL SETUSER has changed. */
  currentUsers?(): readonly UserRecord[];
  /** Who a worker that starts by the current map is at the servers; null: what the configuration says. */
  currentLogin?(): ServerLogin | null;
  /** `state`, `acked` or `counters` has changed. */
  onChange(slot: WorkerSlot): void;
  onReady(slot: WorkerSlot, address: string): void;
  /** Slot, calls, slot, calls … since the last time. */
  onSlotCalls?(calls: readonly number[]): void;
  /** The process ended without having been asked to; `failure` is what it said of itself, if it did. */
  onCrash(slot: WorkerSlot, reason: string, failure: WorkerFailure | null): void;
  onAsk(slot: WorkerSlot, id: number, question: unknown): void;
  onAnswer(slot: WorkerSlot, id: number, answer: unknown): void;
}

export type WorkerFailure = Extract<WorkerMessage, { type: "failed" }>;

export class WorkerSlot {
  readonly index: number;
  state: WorkerState = "empty";
  /** How often a process of this place was replaced. */
  restarts = 0;
  /** What the present process has in force; null before its first ack. */
  acked: { version: number; term: number } | null = null;
  counters: WorkerCounters = {};
  /** What the present process sees of the servers; null before it has told. */
  sights: WorkerSights | null = null;
  /** Name (`sinceVersion`) of the login that the present process has; null: none. */
  login: number | null = null;
  readonly #env: MasterEnv;
  readonly #config: ProxyConfig;
  readonly #startWorker: StartWorker;
  readonly #events: SlotEvents;
  #process: WorkerProcess | null = null;
  #failure: WorkerFailure | null = null;
  #timer: Timer | null = null;
  /** Deaths in a row without having settled. */
  #crashesInARow = 0;
  #servingSinceMs = 0;
  #onEnded: (() => void) | null = null;
  /**
   * Counted in looks and not by the clock, so that a master that was itself stopped for a while kills
   * nobody.
   */
  #silentChecks = 0;

  constructor(
    env: MasterEnv,
    index: number,
    config: ProxyConfig,
    startWorker: StartWorker,
    events: SlotEvents,
  ) {
    this.#env = env;
    this.index = index;
    this.#config = config;
    this.#startWorker = startWorker;
    this.#events = events;
  }

  get pid(): number | null {
    return this.#process?.pid ?? null;
  }

  /** Has a process that was told a map and may be serving by it. */
  get holdsMap(): boolean {
    return this.#process !== null && this.state !== "ended";
  }

  start(): void {
    void this.#launch();
  }

  sendMap(map: ClusterMap): void {
    this.#process?.send({ type: "map", map });
  }

  /** Only for a process that has begun with a login: the others' connections can't be told apart by user. */
  sendLogin(login: ServerLogin | null): void {
    this.login = login?.sinceVersion ?? null;
    this.#process?.send({ type: "login", login });
  }

  send(message: Parameters<WorkerProcess["send"]>[0]): void {
    this.#process?.send(message);
  }

  /** Lets the worker finish its replies; settles when its process is gone. */
  drain(): Promise<void> {
    const ended = new Promise<void>((resolve) => (this.#onEnded = resolve));
    this.#cancelTimer();
    if (this.#process === null && this.state !== "starting") this.#finish();
    else this.#startDraining();
    return ended;
  }

  /** Ends the worker at once. */
  kill(): void {
    this.#process?.kill("SIGKILL");
  }

  async #launch(): Promise<void> {
    this.#setState("starting");
    this.#failure = null;
    let process: WorkerProcess;
    try {
      process = await this.#startWorker(this.index);
    } catch (error) {
      this.#crashed(errorTextOf(error));
      return;
    }
    this.#process = process;
    process.onMessage((message) => this.#receive(process, message as WorkerMessage));
    void process.ended.then((end) => this.#processEnded(process, end));
    if (this.#onEnded !== null) {
      // drain() came while it was being started: it has no client yet.
      process.kill("SIGKILL");
      return;
    }
    const generation = this.#events.nextGeneration();
    const map = this.#events.currentMap();
    const users = this.#events.currentUsers?.() ?? [];
    const login = this.#events.currentLogin?.() ?? null;
    this.login = login?.sinceVersion ?? null;
    const start = {
      type: "start",
      worker: this.index,
      generation,
      config: this.#config,
      map,
      users,
    } as const;
    process.send(login === null ? start : { ...start, login });
    this.#timer = this.#env.timers.after(READY_TIMEOUT_MS, () => process.kill("SIGKILL"));
  }

  #receive(from: WorkerProcess, message: WorkerMessage): void {
    if (from !== this.#process) return;
    this.#silentChecks = 0;
    switch (message.type) {
      case "ready":
        if (this.state !== "starting") return;
        this.#cancelTimer();
        this.#servingSinceMs = this.#env.clock.nowMs();
        this.#setState("serving");
        this.#timer = this.#env.timers.every(SILENCE_CHECK_MS, () => this.#checkSilence());
        this.#events.onReady(this, message.address);
        return;
      case "ack":
        this.acked = { version: message.version, term: message.term };
        this.#events.onChange(this);
        return;
      case "stats":
        this.counters = message.counters;
        if (message.slotCalls !== undefined) this.#events.onSlotCalls?.(message.slotCalls);
        return;
      case "servers":
        this.sights = { sights: message.servers, toldMs: this.#env.clock.nowMs() };
        this.#events.onChange(this);
        return;
      case "failed":
        this.#failure = message;
        return;
      case "ask":
        this.#events.onAsk(this, message.id, message.question);
        return;
      case "answer":
        this.#events.onAnswer(this, message.id, message.answer);
        return;
    }
  }

  /** A worker that loops for ever is as bad as a dead one: kill it, and it is replaced like one. */
  #checkSilence(): void {
    if (this.state !== "serving" || ++this.#silentChecks < SILENT_CHECKS_MAX) return;
    this.#env.log.error("worker-wedged", {
      worker: this.index,
      pid: this.pid,
      silentMs: SILENT_CHECKS_MAX * SILENCE_CHECK_MS,
    });
    this.kill();
  }

  #processEnded(process: WorkerProcess, end: WorkerEnd): void {
    if (process !== this.#process) return;
    this.#cancelTimer();
    this.#process = null;
    this.acked = null;
    this.counters = {};
    this.sights = null;
    if (this.#onEnded !== null) {
      this.#finish();
      return;
    }
    const servedMs = this.state === "serving" ? this.#env.clock.nowMs() - this.#servingSinceMs : 0;
    if (servedMs >= SETTLED_MS) this.#crashesInARow = 0;
    this.#crashed(this.#failure?.message ?? `ended by ${describeEnd(end)}`);
  }

  #crashed(reason: string): void {
    if (this.#onEnded !== null) {
      this.#finish();
      return;
    }
    const pauseMs = this.#nextPauseMs();
    this.#setState("waiting");
    this.#env.log.warn("worker-ended", { worker: this.index, reason, restart_in_ms: pauseMs });
    // Set before the event, so that whoever hears of it may still call drain().
    this.#timer = this.#env.timers.after(pauseMs, () => {
      this.restarts++;
      void this.#launch();
    });
    this.#events.onCrash(this, reason, this.#failure);
  }

  #nextPauseMs(): number {
    const crashes = this.#crashesInARow++;
    return crashes === 0 ? 0 : Math.min(RESTART_PAUSE_MS_MIN * 2 ** (crashes - 1), RESTART_PAUSE_MS_MAX);
  }

  #startDraining(): void {
    const waitMs = this.#config.drain_timeout_ms + DRAIN_GRACE_MS;
    this.#setState("draining");
    this.#process?.send({ type: "drain" });
    this.#timer = this.#env.timers.after(waitMs, () => {
      this.#env.log.warn("worker-drain-timeout", { worker: this.index, waited_ms: waitMs });
      this.kill();
    });
  }

  #finish(): void {
    this.#cancelTimer();
    this.#setState("ended");
    this.#onEnded?.();
  }

  #setState(state: WorkerState): void {
    this.state = state;
    this.#events.onChange(this);
  }

  #cancelTimer(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }
}
