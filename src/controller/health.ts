/**
 * Looks at every server again and again: INFO on one connection per server, each on its own schedule, so that
 * a frozen server delays nobody. What is seen is kept in `observations`; what follows from it is decided in
 * topology/.
 */
import { errorTextOf } from "../base/shoal-error.ts";
import type { Timer } from "../env/env.ts";
import { RedisServer } from "../redis/redis-server.ts";
import type { RedisEnv, ServerConnectionOptions } from "../redis/server-connection.ts";
import type { ServerInfo } from "../redis/server-info.ts";
import { allServers } from "../topology/cluster-topology.ts";
import type { ServerObservation } from "../topology/group-health.ts";
import type { ClusterState } from "./cluster-state.ts";
import type { EventLog } from "./events.ts";
import type { Service } from "./service.ts";

export interface HealthOptions {
  /** Pause between the end of one look and the next. */
  readonly periodMs: number;
  /** For connecting and for each command: a server that needs longer counts as down. */
  readonly timeoutMs: number;
  readonly credentials: ServerConnectionOptions["credentials"];
}

/** One server that is looked at. */
interface Watch {
  readonly server: RedisServer;
  timer: Timer | null;
  observation: ServerObservation;
}

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

  constructor(env: RedisEnv, state: ClusterState, events: EventLog, options: HealthOptions) {
    this.#env = env;
    this.#state = state;
    this.#events = events;
    this.#options = options;
    state.onChange(() => this.#followTopology());
  }

  /** Called after each look at a server. */
  onObserved(listener: () => void): void {
    this.#listeners.push(listener);
  }

  async run(): Promise<void> {
    this.#running = true;
    this.#followTopology();
  }

  async drain(): Promise<void> {}

  async stop(): Promise<void> {
    this.#running = false;
    for (const addr of this.#watches.keys()) this.#unwatch(addr);
  }

  /** The connection to a server of the topology, for those who repair; null when it is not in it. */
  serverAt(addr: string): RedisServer | null {
    return this.#watches.get(addr)?.server ?? null;
  }

  /** Looks at one server now, out of turn. */
  async look(addr: string): Promise<ServerObservation> {
    const watch = this.#watches.get(addr);
    if (watch === undefined) return { state: "unknown" };
    try {
      this.#take(addr, watch, toObservation(await watch.server.info()));
    } catch (error) {
      this.#take(addr, watch, this.#downObservation(watch, errorTextOf(error)));
    }
    return watch.observation;
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
    const server = new RedisServer(this.#env, {
      address: addr,
      credentials: this.#options.credentials,
      connectTimeoutMs: this.#options.timeoutMs,
      commandTimeoutMs: this.#options.timeoutMs,
    });
    const watch: Watch = { server, timer: null, observation: { state: "unknown" } };
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
  }

  /** The next look begins a period after this one has ended, so that looks at a slow server never pile up. */
  async #turn(addr: string, watch: Watch): Promise<void> {
    await this.look(addr);
    if (this.#watches.get(addr) !== watch) return;
    watch.timer = this.#env.timers.after(this.#options.periodMs, () => void this.#turn(addr, watch));
  }

  #take(addr: string, watch: Watch, observation: ServerObservation): void {
    // A watch that was ended while it looked has nothing to say any more.
    if (this.#watches.get(addr) !== watch) return;
    const before = watch.observation;
    watch.observation = observation;
    this.observations.set(addr, observation);
    if (before.state !== observation.state) {
      if (observation.state === "up") this.#events.add("server-up", { server: addr, pid: observation.pid });
      if (observation.state === "down")
        this.#events.add("server-down", { server: addr, reason: observation.reason });
    }
    for (const listener of this.#listeners) listener();
  }

  /** Keeps the moment at which it went down, however often it is found down since. */
  #downObservation(watch: Watch, reason: string): ServerObservation {
    const { observation } = watch;
    const sinceMs = observation.state === "down" ? observation.sinceMs : this.#env.clock.nowMs();
    return { state: "down", reason, sinceMs };
  }
}

function toObservation(info: ServerInfo): ServerObservation {
  const { pid, runId, role, follows, linkUp, syncing, offset, loading, keys } = info;
  return { state: "up", pid, runId, role, follows, linkUp, syncing, offset, loading, keys };
}
