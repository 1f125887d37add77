/**
 * The Sentinel face of one controller, put together: listens, answers, and tells those who have subscribed.
 *
 *   topology, observations, proxies ──change──▶ (NOTICE_MS) ──▶ per client host: masters before and after
 *                                                                 └─ messagesBetween ─▶ sessions' tell
 *
 * Per host, because the cluster's name stands for another proxy at each. Every controller answers, whether
 * it leads or not: clients are given all of them and take whichever answers first.
 */
import type { Env, Timer } from "../../env/env.ts";
import type { HttpClient } from "../../env/http.ts";
import type { Connection, ConnectionHandler, Listener } from "../../env/net.ts";
import { InlineRequest } from "../../resp/inline-request.ts";
import { errorReply } from "../../resp/reply-writer.ts";
import type { Store } from "../../store/store.ts";
import { type Vote, agreeOnDown } from "../../topology/agreement.ts";
import type { ClusterState } from "../cluster-state.ts";
import { type ControllerConfig, addressOf } from "../controller-config.ts";
import type { Health } from "../health.ts";
import type { ProxyRegistry } from "../proxy-registry.ts";
import type { Service } from "../service.ts";
import { FleetView } from "./fleet-view.ts";
import type { QuorumView, SentinelDesk } from "./sentinel-desk.ts";
import { messagesBetween } from "./sentinel-events.ts";
import { type SentinelMaster, mastersFor, runIdOf } from "./sentinel-master.ts";
import { type SentinelPeer, SentinelPeers } from "./sentinel-peers.ts";
import type { InstanceSettings } from "./sentinel-replies.ts";
import { LINGER_MS, SentinelSession, type SessionOwner } from "./sentinel-session.ts";

/** Clients at once, mostly one or two connections of each process that uses the cluster. */
export const SENTINEL_CLIENTS_MAX = 10_000;

/** Connections that the kernel may queue. */
const BACKLOG = 511;

/** Several changes of one moment are told together. */
const NOTICE_MS = 20;

/** Clients ask for it to know which commands there are. */
const REDIS_VERSION = "7.0.15";

export interface FaceNeeds {
  readonly env: Pick<Env, "clock" | "timers" | "net" | "log"> & { readonly http?: HttpClient | null };
  readonly config: ControllerConfig;
  readonly store: Store;
  readonly state: ClusterState;
  readonly health: Health;
  readonly proxies: ProxyRegistry;
  readonly failover: { readonly safeMode: readonly string[] };
  readonly self: { readonly pid: number; readonly addr: string; readonly version: string };
}

/** Made only where `sentinel_listen` is set. */
export class SentinelFace implements Service, SentinelDesk, SessionOwner {
  readonly password: string;
  readonly runId: string;
  readonly pid: number;
  readonly port: number;
  readonly version: string;
  readonly redisVersion = REDIS_VERSION;
  readonly desk: SentinelDesk = this;
  readonly inline: InlineRequest;
  readonly #needs: FaceNeeds;
  readonly #fleet: FleetView;
  readonly #peers: SentinelPeers;
  readonly #sessions = new Set<SentinelSession>();
  readonly #subscribers = new Set<SentinelSession>();
  /** By host: what those who have subscribed there were last told. */
  readonly #told = new Map<string, readonly SentinelMaster[]>();
  #listener: Listener | null = null;
  #notice: Timer | null = null;
  #nextId = 1;

  constructor(needs: FaceNeeds) {
    const { env, config, self, store, state, health, proxies } = needs;
    const http = env.http ?? null;
    this.#needs = needs;
    this.password = config.sentinel_password;
    this.runId = runIdOf(config.id);
    this.port = addressOf(config.sentinel_listen).port;
    ({ pid: this.pid, version: this.version } = self);
    this.inline = new InlineRequest((size) => env.net.blocks.take(size).bytes);
    const token = config.token === "" ? null : config.token;
    this.#fleet = new FleetView(env, { http, token, state, registry: proxies }, () => this.#changed());
    this.#peers = new SentinelPeers(env, config.id, store, http);
    state.onChange(() => this.#changed());
    health.onObserved(() => this.#changed());
  }

  get clients(): number {
    return this.#sessions.size;
  }

  /** @throws ShoalError ADDRESS_IN_USE */
  async run(): Promise<void> {
    const { env, config } = this.#needs;
    await this.#fleet.run();
    await this.#peers.run();
    const { host, port } = addressOf(config.sentinel_listen);
    this.#listener = env.net.listen({ host, port, backlog: BACKLOG }, (connection) =>
      this.#accept(connection),
    );
    env.log.info("sentinel-serving", { address: config.sentinel_listen });
  }

  /** Clients turn to another controller. */
  async drain(): Promise<void> {
    this.#listener?.close();
    this.#listener = null;
    this.#notice?.cancel();
    for (const session of this.#sessions) session.closeNow();
  }

  async stop(): Promise<void> {
    await this.drain();
    await this.#peers.stop();
    await this.#fleet.stop();
  }

  masters(clientHost: string): readonly SentinelMaster[] {
    const { config, state, health } = this.#needs;
    const clusterName = config.sentinel_name === "" ? config["cluster.name"] : config.sentinel_name;
    const { observations } = health;
    const sources = { clusterName, topology: state.topology, observations, proxies: this.#fleet.proxies };
    return mastersFor(sources, clientHost);
  }

  peers(): readonly SentinelPeer[] {
    return this.#peers.all;
  }

  settings(): InstanceSettings {
    return {
      downAfterMs: this.#needs.config.down_after_ms,
      quorum: this.quorum().needed,
      otherSentinels: this.#peers.all.filter((peer) => peer.addr !== null).length,
      epoch: this.#needs.state.topology?.version ?? 0,
    };
  }

  /**
   * Counted as a failover counts its observers, by the hosts of their addresses: a controller that follows
   * knows no more of their machines. Who is alive would agree.
   */
  quorum(): QuorumView {
    const { config, state, failover, self } = this.#needs;
    const alive = (observer: string, kind: Vote["kind"], machine: string, up = true): Vote => {
      return { observer, kind, machine, view: up ? "down" : "silent" };
    };
    const votes = [alive(config.id, "controller", addressOf(self.addr).host)];
    for (const { id, host, up } of this.#peers.all) votes.push(alive(id, "controller", host, up));
    for (const { id, addr, state: now } of this.#fleet.proxies) {
      if (now === "serving") votes.push(alive(id, "proxy", addressOf(addr).host));
    }
    const { down: usable, needed } = agreeOnDown(votes, config.quorum);
    const obstacles = failover.safeMode.map((reason) => `Safe mode: ${reason}`);
    if (state.leader === null) obstacles.unshift("No controller leads");
    if (config.failover === "manual") obstacles.unshift("Failover is manual: `shoal failover GROUP --force`");
    return { usable, needed, obstacle: obstacles[0] ?? null };
  }

  onSubscriptions(session: SentinelSession): void {
    if (!session.subscribed) {
      this.#subscribers.delete(session);
      return;
    }
    this.#subscribers.add(session);
    // From now on: what happened before is read by asking.
    if (!this.#told.has(session.host)) this.#told.set(session.host, this.masters(session.host));
  }

  onGone(session: SentinelSession): void {
    this.#sessions.delete(session);
    this.#subscribers.delete(session);
  }

  #accept(connection: Connection): ConnectionHandler {
    const session = new SentinelSession(connection, this, this.#nextId++);
    if (this.#sessions.size >= SENTINEL_CLIENTS_MAX) {
      connection.output.appendLatin1(errorReply("ERR max number of clients reached"));
      connection.closeAfterFlush(LINGER_MS);
    } else this.#sessions.add(session);
    return session;
  }

  #changed(): void {
    if (this.#listener === null || this.#subscribers.size === 0) return;
    this.#notice ??= this.#needs.env.timers.after(NOTICE_MS, () => {
      this.#notice = null;
      this.#tellAll();
    });
  }

  #tellAll(): void {
    const byHost = new Map<string, SentinelSession[]>();
    for (const session of this.#subscribers) {
      const same = byHost.get(session.host);
      if (same === undefined) byHost.set(session.host, [session]);
      else same.push(session);
    }
    const quorum = this.quorum().needed;
    for (const [host, before] of this.#told) {
      const now = this.masters(host);
      const sessions = byHost.get(host) ?? [];
      if (sessions.length === 0) this.#told.delete(host);
      else this.#told.set(host, now);
      const messages = messagesBetween(before, now, quorum);
      if (messages.length > 0) for (const session of sessions) session.tell(messages);
    }
  }
}

/**
 * Where clients reach the face of a controller whose API is at `apiAddr`; null when it has none. Listening on
 * every interface is no address: then it is the API's host.
 */
export function sentinelAddress(config: ControllerConfig, apiAddr: string): string | null {
  if (config.sentinel_listen === "") return null;
  const { host, port } = addressOf(config.sentinel_listen);
  const everywhere = host === "0.0.0.0" || host === "::";
  const shown = everywhere ? addressOf(apiAddr).host : host;
  return shown.includes(":") ? `[${shown}]:${port}` : `${shown}:${port}`;
}
