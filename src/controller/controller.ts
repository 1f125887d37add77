/**
 * One controller, put together: the services in their order, and the API over them.
 *
 * Order of the start: the caller listens first (so that a second process with our configuration fails on the
 * port before it can take our leadership), then the state is read, the servers are watched, and the election
 * begins last. The stop goes the other way round: leadership is given back while the store is still open.
 */
import { ShoalError } from "../base/shoal-error.ts";
import type { Env } from "../env/env.ts";
import type { HttpClient } from "../env/http.ts";
import type { ScriptRunner } from "../env/script-runner.ts";
import type { Store } from "../store/store.ts";
import { type ApiParts, createHandlers } from "./api/handlers.ts";
import { createApi } from "./api/api.ts";
import { Checker } from "./check/checker.ts";
import { ClusterState } from "./cluster-state.ts";
import { type ControllerConfig, clusterSpecOf } from "./controller-config.ts";
import { Election } from "./election.ts";
import { EventLog } from "./events.ts";
import { type FailoverParts, createFailoverParts } from "./failover/failover-parts.ts";
import { ReplicationLogins } from "./failover/replication-logins.ts";
import { Health } from "./health.ts";
import type { ProxyLogins } from "./logins/proxy-logins.ts";
import { MapHub } from "./map-hub.ts";
import { formatMetrics } from "./metrics.ts";
import { createMover } from "./moves/create-mover.ts";
import type { Mover } from "./moves/mover.ts";
import { ProxyRegistry } from "./proxy-registry.ts";
import { Reconciler } from "./reconciler.ts";
import { SentinelFace, sentinelAddress } from "./sentinel/sentinel-face.ts";
import { type Service, ServiceList } from "./service.ts";
import { buildStatus } from "./status.ts";
import { SlotRates } from "./topology/slot-rates.ts";
import { switchTotalsOf } from "../topology/switch-changes.ts";
import { type TopologyParts, createTopologyParts } from "./topology/topology-parts.ts";

export interface ControllerEnv extends Pick<Env, "clock" | "timers" | "random" | "net" | "log"> {
  /** Towards the other controllers; null: there are none to pass a write on to. */
  readonly http?: HttpClient | null;
  /** For `notify_script`; null: none is run. */
  readonly scripts?: ScriptRunner | null;
}

/** What a controller is told about itself. */
export interface ControllerIdentity {
  readonly pid: number;
  /** "host:port" of its API, as others reach it. */
  readonly addr: string;
  /** The program's version. */
  readonly version: string;
  /** Where it runs: the same text for all that run there. */
  readonly machine: string;
}

export class Controller implements Service {
  readonly events: EventLog;
  readonly state: ClusterState;
  /** Answers the API's requests; from before `run` until after `stop`. */
  readonly handle: (request: Request) => Promise<Response>;
  readonly #config: ControllerConfig;
  readonly #store: Store;
  readonly #health: Health;
  readonly #reconciler: Reconciler;
  readonly #proxies: ProxyRegistry;
  readonly #hub: MapHub;
  readonly #logins: ProxyLogins;
  readonly #mover: Mover;
  readonly #checker: Checker;
  readonly #topology: TopologyParts;
  readonly #replication: ReplicationLogins;
  readonly #failover: FailoverParts;
  readonly #services: ServiceList;
  readonly #httpAnswers = new Map<string, number>();

  constructor(env: ControllerEnv, config: ControllerConfig, store: Store, self: ControllerIdentity) {
    const { machine } = self;
    this.#config = config;
    this.#store = store;
    this.events = new EventLog(env);
    this.state = new ClusterState(store, env.log, this.events);
    this.#health = new Health(env, this.state, this.events, {
      periodMs: config.health_period_ms,
      timeoutMs: config.server_timeout_ms,
      downAfterMs: config.down_after_ms,
      credentials: credentialsOf(config),
    });
    const managed = config.replication_login === "managed";
    this.#replication = new ReplicationLogins(env, this.state, this.#health, managed);
    this.#reconciler = new Reconciler(
      env,
      this.state,
      this.#health,
      this.events,
      this.#replication,
      config.down_after_ms,
    );
    this.#proxies = new ProxyRegistry(env, this.events, config.proxy_lease_ms);
    this.#hub = new MapHub(env, this.state, this.events);
    const [state, events, health, proxies] = [this.state, this.events, this.#health, this.#proxies];
    const ask = { credentials: credentialsOf(config), timeoutMs: config.server_timeout_ms };
    const shared = { env, state, events, health, proxies };
    const moving = createMover({ ...shared, config, hub: this.#hub, credentials: ask.credentials });
    this.#logins = moving.logins;
    this.#mover = moving.mover;
    this.#failover = createFailoverParts({ ...shared, config, machine, store, logins: this.#replication });
    this.#reconciler.sentinels = this.#failover.sentinels;
    const rates = new SlotRates(env, this.#proxies);
    const { mover } = moving;
    this.#topology = createTopologyParts({ ...shared, ask, reconciler: this.#reconciler, rates, mover });
    this.#checker = new Checker({ ...shared, ask });
    const candidate = { id: config.id, addr: self.addr, pid: self.pid, incarnation: env.random.hex(16) };
    const election = new Election(env, store, candidate, config.lease_ms, this.#electionHooks());
    this.#services = new ServiceList([
      this.state,
      this.#proxies,
      this.#hub,
      this.#health,
      this.#replication,
      this.#reconciler,
      this.#logins,
      this.#mover,
      rates,
      ...this.#failover.services,
      ...(config.sentinel_listen === ""
        ? []
        : [new SentinelFace({ ...shared, config, store, self, failover: this.#failover.failover })]),
      election,
    ]);
    this.handle = createApi(createHandlers(this.#apiParts(self)), {
      controllerId: config.id,
      token: config.token,
      http: env.http ?? null,
      leading: () => this.state.leading,
      leader: () => this.state.leader,
      log: env.log,
      count: (route, status) => this.#count(`${route} ${status}`),
    });
  }

  /** @throws ShoalError CONFIG when the store holds another cluster than the configuration names, STORE */
  async run(): Promise<void> {
    const stored = await this.#store.readTopology();
    const wanted = this.#config["cluster.name"];
    if (stored !== null && stored.cluster !== wanted) {
      const holds = `the store (${this.#store.description}) holds cluster ${stored.cluster}`;
      throw new ShoalError("CONFIG", `Cannot start the controller of cluster ${wanted}: ${holds}`);
    }
    await this.#services.run();
  }

  drain(): Promise<void> {
    return this.#services.drain();
  }

  stop(): Promise<void> {
    return this.#services.stop();
  }

  /** Leading begins with the topology stamped: the election counts as won only when that is stored. */
  #electionHooks(): ConstructorParameters<typeof Election>[4] {
    return {
      onLead: async (leader) => {
        this.events.add("leader-elected", { controller: leader.id, term: leader.term });
        const spec = clusterSpecOf(this.#config);
        const groups = spec.groups.map((group) => ({ ...group, link: this.#replication.newLink() }));
        await this.state.lead(leader, { ...spec, groups });
      },
      onFollow: (leader) => {
        if (this.state.leading) this.events.add("leader-lost", { next: leader?.id });
        this.state.follow(leader);
      },
    };
  }

  #apiParts(self: ControllerIdentity): ApiParts {
    return {
      version: self.version,
      id: this.#config.id,
      pid: self.pid,
      proxyLeaseMs: this.#config.proxy_lease_ms,
      state: this.state,
      hub: this.#hub,
      mover: this.#mover,
      proxies: this.#proxies,
      checker: this.#checker,
      topology: this.#topology,
      failover: this.#failover,
      events: this.events,
      sentinel: sentinelAddress(this.#config, self.addr),
      status: () => this.#status(),
      metrics: () => this.#metrics(),
    };
  }

  async #status(): Promise<ReturnType<typeof buildStatus>> {
    const { topology, leader } = this.state;
    if (topology === null)
      throw new ShoalError("NOT_FOUND", "Cannot show the status: there is no cluster yet");
    return buildStatus({
      topology,
      leaderId: leader?.id ?? null,
      members: await this.#store.readMembers(),
      proxies: this.#proxies.all(),
      observations: this.#health.observations,
      problems: this.#reconciler.problems,
      moves: [...this.#logins.problems, ...this.#mover.problems],
      failover: this.#failover.failover,
    });
  }

  async #metrics(): Promise<string> {
    return formatMetrics({
      status: this.state.topology === null ? null : await this.#status(),
      proxies: this.#proxies.all(),
      leading: this.state.leading,
      term: this.state.leader?.term ?? 0,
      mapStreams: this.#hub.streams,
      switches: this.state.topology?.switches ?? [],
      switchTotals: this.state.topology === null ? {} : switchTotalsOf(this.state.topology),
      moves: this.state.topology === null ? null : this.#mover.view(),
      moved: this.#mover.totals,
      eventCounts: this.events.counts,
      httpAnswers: this.#httpAnswers,
    });
  }

  #count(key: string): void {
    this.#httpAnswers.set(key, (this.#httpAnswers.get(key) ?? 0) + 1);
  }
}

/** One user for all servers: that of the default user when only a password is given. */
function credentialsOf(config: ControllerConfig): { user: string | null; password: string } | null {
  if (config.server_password === "") return null;
  return {
    user: config.server_username === "" ? null : config.server_username,
    password: config.server_password,
  };
}
