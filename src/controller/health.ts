/**
 * Looks at every server again and again: INFO on one connection per server, each on its own schedule, so that
 * a frozen server delays nobody. What is seen is kept in `observations`; what follows from it is decided in
 * topology/.
 *
 *   up ──a look fails, or takes long──▶ suspect ──no answer for down_after_ms──▶ down ──answer──▶ up
 *                                         └──answer──▶ up
 *
 * Counted from the last answer, and by a timer. A reply that says BUSY (a script runs) or LOADING is an
 * answer, and so is one that comes late: a look that takes long is waited for further, over a connection that
 * nothing else can end, and the next one begins at once. So a server that takes nearly `down_after_ms` for
 * each answer, all the time, is slow and not dead. Invariant: time in which this process itself stood still
 * counts for nobody; after a pause every answer that had come in the meantime looks late.
 */
import { errorCodeOf, errorTextOf } from "../base/shoal-error.ts";
import type { Timer } from "../env/env.ts";
import { withTimeLimit } from "../env/time-limit.ts";
import { RedisServer } from "../redis/redis-server.ts";
import type { RedisEnv, ServerConnectionOptions } from "../redis/server-connection.ts";
import type { ServerInfo } from "../redis/server-info.ts";
import { allServers } from "../topology/cluster-topology.ts";
import type { ServerObservation, UpObservation } from "../topology/group-health.ts";
import type { ClusterState } from "./cluster-state.ts";
import type { EventLog } from "./events.ts";
import type { Service } from "./service.ts";

export interface HealthOptions {
  /** From one look to the next; a look that takes longer is followed by the next at once. */
  readonly periodMs: number;
  /** For connecting and for each command; a server that takes longer for a look is suspect. */
  readonly timeoutMs: number;
  /** Without an answer for so long, a server is down. */
  readonly downAfterMs: number;
  readonly credentials: ServerConnectionOptions["credentials"];
}

/** One server that is looked at. */
interface Watch {
  /** For those who repair: a command that takes too long ends the connection. */
  readonly server: RedisServer;
  /** For looks alone. */
  readonly eye: RedisServer;
  timer: Timer | null;
  observation: ServerObservation;
  lastUp: UpObservation | null;
  /** When it last answered, or was first asked. By the monotonic clock, as all of these. */
  lastAnswerMs: number;
  /** Why the last look has failed, or is late; null when it has not. */
  failure: string | null;
}

/** A server that has just failed a look is looked at more often. */
const FAILING_PERIOD_MS = 200;

/** An old primary that is back takes itself for one until it is noticed. */
const RECONNECT_MS_MAX = 400;

/** What listens looks at all groups each time, and every server of them is looked at. */
const NOTICE_MS = 10;

/** How late the end of `down_after_ms` may be noticed. */
const AGE_PERIOD_MS = 50;

/** A timer that comes so much later than it should: this process stood still. */
const STANDSTILL_MS = 1000;

/** A server must have been suspect before it is down: so much of `down_after_ms` a look may take. */
const LOOK_SHARE = 2 / 3;

/**
 * After so many `down_after_ms` a look is given up with its connection. More than one, because to sign in on
 * a new connection takes an answer as well.
 */
const LOOK_PATIENCE = 2;

export class Health implements Service {
  /** By address; every server of the topology is in it. */
  readonly observations = new Map<string, ServerObservation>();
  readonly #env: RedisEnv;
  readonly #state: ClusterState;
  readonly #events: EventLog;
  readonly #options: HealthOptions;
  readonly #watches = new Map<string, Watch>();
  readonly #listeners: Array<() => void> = [];
  #running = false;
  #ageTimer: Timer | null = null;
  #notice: Timer | null = null;
  #agedMs = 0;

  constructor(env: RedisEnv, state: ClusterState, events: EventLog, options: HealthOptions) {
    this.#env = env;
    this.#state = state;
    this.#events = events;
    this.#options = options;
    state.onChange(() => this.#followTopology());
  }

  /** Called soon after a look at a server; once for all that came within NOTICE_MS. */
  onObserved(listener: () => void): void {
    this.#listeners.push(listener);
  }

  async run(): Promise<void> {
    this.#running = true;
    this.#agedMs = this.#env.clock.nowMs();
    this.#ageTimer = this.#env.timers.every(AGE_PERIOD_MS, () => this.#ageAll());
    this.#followTopology();
  }

  async drain(): Promise<void> {}

  async stop(): Promise<void> {
    this.#running = false;
    this.#ageTimer?.cancel();
    this.#notice?.cancel();
    for (const addr of this.#watches.keys()) this.#unwatch(addr);
  }

  /** The connection to a server of the topology, for those who repair; null when it is not in it. */
  serverAt(addr: string): RedisServer | null {
    return this.#watches.get(addr)?.server ?? null;
  }

  /** What it was when it last answered; null when it never has. */
  lastUpOf(addr: string): { readonly seen: UpObservation; readonly agoMs: number } | null {
    const watch = this.#watches.get(addr);
    if (watch === undefined || watch.lastUp === null) return null;
    return { seen: watch.lastUp, agoMs: this.#env.clock.nowMs() - watch.lastAnswerMs };
  }

  /** Looks at one server now, out of turn. An answer that comes too late for the caller counts later on. */
  async look(addr: string): Promise<ServerObservation> {
    const watch = this.#watches.get(addr);
    if (watch === undefined) return { state: "unknown" };
    await this.#watchLook(addr, watch, this.#ask(addr, watch));
    return watch.observation;
  }

  /** Until the look has ended, or the server is suspect because it takes long. */
  async #watchLook(addr: string, watch: Watch, look: Promise<void>): Promise<void> {
    const limitMs = this.#lookMs;
    const ended = look.then(() => true);
    if (await withTimeLimit(this.#env.timers, limitMs, ended, false)) return;
    this.#failed(addr, watch, `no answer within ${Math.round(limitMs)} ms`);
  }

  async #ask(addr: string, watch: Watch): Promise<void> {
    try {
      const seen = toObservation(await watch.eye.info());
      watch.lastUp = seen;
      this.#answered(addr, watch, seen);
    } catch (error) {
      const reason = errorTextOf(error);
      // It runs a script, and says so: that is an answer, although it tells nothing new.
      const busy = errorCodeOf(error) === "SERVER_REPLY" && /: BUSY\b/.test(reason);
      if (busy) this.#answered(addr, watch, watch.lastUp ?? { state: "unknown" });
      else this.#failed(addr, watch, reason);
    }
  }

  get #lookMs(): number {
    return Math.min(this.#options.timeoutMs, this.#options.downAfterMs * LOOK_SHARE);
  }

  /** Servers come and go with the topology; the observations of those that went are dropped with them. */
  #followTopology(): void {
    const { topology } = this.#state;
    if (!this.#running || topology === null) return;
    const wanted = new Set([...allServers(topology)].map(({ server }) => server.addr));
    for (const addr of this.#watches.keys()) if (!wanted.has(addr)) this.#unwatch(addr);
    for (const addr of wanted) if (!this.#watches.has(addr)) this.#watch(addr);
  }

  #watch(addr: string): void {
    const { credentials, downAfterMs } = this.#options;
    const connect = (connectTimeoutMs: number, commandTimeoutMs: number): RedisServer => {
      const times = { connectTimeoutMs, commandTimeoutMs, backoffMsMax: RECONNECT_MS_MAX };
      return new RedisServer(this.#env, { address: addr, credentials, ...times });
    };
    const server = connect(this.#lookMs, this.#lookMs);
    const eye = connect(downAfterMs, downAfterMs * LOOK_PATIENCE);
    const observation: ServerObservation = { state: "unknown" };
    const lastAnswerMs = this.#env.clock.nowMs();
    const seen = { observation, lastUp: null, lastAnswerMs, failure: null };
    const watch: Watch = { server, eye, timer: null, ...seen };
    this.#watches.set(addr, watch);
    this.observations.set(addr, watch.observation);
    void this.#turn(addr, watch);
  }

  #unwatch(addr: string): void {
    const watch = this.#watches.get(addr);
    this.#watches.delete(addr);
    this.observations.delete(addr);
    watch?.timer?.cancel();
    watch?.server.close();
    watch?.eye.close();
  }

  /** The next look never begins before this one has ended: looks at a slow server don't pile up. */
  async #turn(addr: string, watch: Watch): Promise<void> {
    const { periodMs } = this.#options;
    const begunMs = this.#env.clock.nowMs();
    const look = this.#ask(addr, watch);
    await this.#watchLook(addr, watch, look);
    await look;
    if (this.#watches.get(addr) !== watch) return;
    const leftMs = Math.max(0, periodMs - (this.#env.clock.nowMs() - begunMs));
    const pauseMs = watch.failure === null ? leftMs : Math.min(periodMs, FAILING_PERIOD_MS);
    watch.timer = this.#env.timers.after(pauseMs, () => void this.#turn(addr, watch));
  }

  #answered(addr: string, watch: Watch, observation: ServerObservation): void {
    watch.lastAnswerMs = this.#env.clock.nowMs();
    watch.failure = null;
    // Who reads that it is back may have something to tell it.
    watch.server.retryNow();
    this.#take(addr, watch, observation);
  }

  #failed(addr: string, watch: Watch, reason: string): void {
    this.#noteStandstill();
    watch.failure = reason;
    this.#take(addr, watch, this.#failedObservation(watch, reason));
  }

  /** Whatever it says is a sign of life, its answer to our signing in as well. */
  #failedObservation(watch: Watch, reason: string): ServerObservation {
    const lastAnswerMs = Math.max(watch.lastAnswerMs, watch.eye.lastReplyMs);
    const silentMs = this.#env.clock.nowMs() - lastAnswerMs;
    const state = silentMs >= this.#options.downAfterMs ? "down" : "suspect";
    return { state, reason, sinceMs: lastAnswerMs };
  }

  /** The moment at which a silent server becomes down comes between two looks. */
  #ageAll(): void {
    this.#noteStandstill();
    for (const [addr, watch] of this.#watches) {
      if (watch.failure === null || watch.observation.state === "down") continue;
      const observation = this.#failedObservation(watch, watch.failure);
      if (observation.state === "down") this.#take(addr, watch, observation);
    }
  }

  #noteStandstill(): void {
    const nowMs = this.#env.clock.nowMs();
    const stoodStill = nowMs - this.#agedMs > AGE_PERIOD_MS + STANDSTILL_MS;
    this.#agedMs = nowMs;
    if (!stoodStill) return;
    for (const watch of this.#watches.values()) watch.lastAnswerMs = nowMs;
  }

  #take(addr: string, watch: Watch, observation: ServerObservation): void {
    // A watch that was ended while it looked has nothing to say any more.
    if (this.#watches.get(addr) !== watch) return;
    const before = watch.observation.state;
    watch.observation = observation;
    this.observations.set(addr, observation);
    // A short silence is none of a person's business.
    if (observation.state === "up" && before !== "up" && before !== "suspect")
      this.#events.add("server-up", { server: addr, pid: observation.pid, again: before === "down" });
    if (observation.state === "down" && before !== "down")
      this.#events.add("server-down", { server: addr, reason: observation.reason });
    this.#notice ??= this.#env.timers.after(NOTICE_MS, () => {
      this.#notice = null;
      for (const listener of this.#listeners) listener();
    });
  }
}

function toObservation(info: ServerInfo): UpObservation {
  const { pid, runId, role, follows, linkUp, syncing, offset, loading, keys } = info;
  const { replicationId, replicationIdBefore, priority, appendOnly } = info;
  const attached = info.replicas.filter((replica) => replica.online).length;
  const replication = { offset, replicationId, replicationIdBefore, priority, attached };
  return {
    state: "up",
    pid,
    runId,
    role,
    follows,
    linkUp,
    syncing,
    ...replication,
    loading,
    appendOnly,
    keys,
  };
}
