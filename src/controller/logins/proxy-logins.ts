/**
 * The proxies' users at the servers: made, kept up, shut and opened again.
 *
 *   stream of a proxy opens ──▶ lineFor: login stored ──▶ users at every server ──▶ its line, then the map
 *   a server is seen with a new run id, or the logins have changed ──▶ #ensure: ACL SETUSER for each
 *   fence(proxy, server): stored as fenced ──▶ ACL SETUSER off ──▶ CLIENT KILL USER
 *   a fenced proxy reports a map that is not older than its fence ──▶ another password ──▶ its line
 *
 * Servers keep users in memory and don't replicate them, so every server is told, and told again after a
 * restart; until then nobody can sign in there, which is safe. Invariants: a login is stored as fenced
 * before a server is told, and whoever tells a server looks at what is stored right before; only the leader
 * tells. Passwords are in no log, event or answer but the proxy's own stream.
 */
import { ShoalError, errorTextOf } from "../../base/shoal-error.ts";
import type { MapStreamLine } from "../../contract/schemas.ts";
import type { Env, Timer } from "../../env/env.ts";
import type { RedisServer } from "../../redis/redis-server.ts";
import { allServers, primaryOf } from "../../topology/cluster-topology.ts";
import { PROXY_USER_PREFIX, type ProxyLogin, loginOf, userOfProxy } from "../../topology/login-changes.ts";
import { isTrustedPrimary } from "../../topology/promotion.ts";
import type { ClusterState } from "../cluster-state.ts";
import type { EventLog } from "../events.ts";
import type { Health } from "../health.ts";
import type { MapHub } from "../map-hub.ts";
import { type KnownProxy, PROXIES_MAX, type ProxyRegistry } from "../proxy-registry.ts";
import type { Service } from "../service.ts";
import { dropUser, lacksAcl, openUser, shutUser } from "./server-users.ts";

export interface ProxyLoginParts {
  readonly env: Pick<Env, "clock" | "timers" | "random" | "log">;
  readonly state: ClusterState;
  readonly health: Health;
  readonly events: EventLog;
  readonly proxies: ProxyRegistry;
  readonly hub: MapHub;
  /** False: proxies sign in by their own configuration, and none can be fenced. */
  readonly managed: boolean;
}

const PASSWORD_HEX_DIGITS = 48;
/** Users are looked at again, in case somebody has changed them at the server. */
const CHECK_AGAIN_MS = 30_000;
const TURN_PERIOD_MS = 1000;
/** A fenced login whose proxy stays away for so long is forgotten. */
const FENCED_KEPT_MS = 15 * 60_000;

interface Done {
  readonly runId: string;
  readonly logins: readonly ProxyLogin[] | undefined;
  readonly atMs: number;
}

export class ProxyLogins implements Service {
  readonly #parts: ProxyLoginParts;
  readonly #done = new Map<string, Done>();
  readonly #busy = new Map<string, Promise<void>>();
  /** Servers that know no users: Redis before 6. */
  readonly #withoutUsers = new Set<string>();
  /** By proxy, the login that its streams have been told. */
  readonly #told = new Map<string, number | null>();
  /** Fenced and away, since when. */
  readonly #awaySinceMs = new Map<string, number>();
  readonly #renewing = new Set<string>();
  #timer: Timer | null = null;
  #running = false;

  constructor(parts: ProxyLoginParts) {
    this.#parts = parts;
    parts.hub.greetWith((proxyId) => this.lineFor(proxyId));
    parts.state.onChange(() => this.#onChange());
    parts.health.onObserved(() => this.#turn());
    parts.proxies.onReport((proxy) => this.#onReport(proxy));
  }

  /** Whether proxies have logins of their own: configured, and every server seen so far knows users. */
  get managed(): boolean {
    return this.#parts.managed && this.#withoutUsers.size === 0;
  }

  /** What a person should look at. */
  get problems(): readonly string[] {
    const problems: string[] = [];
    if (this.#parts.managed && this.#withoutUsers.size > 0) {
      const addrs = [...this.#withoutUsers].join(", ");
      problems.push(
        `Proxies can't be fenced: ${addrs} knows no ACL (Redis 6 and later do); ` +
          'proxies sign in as if proxy_logins were "off"',
      );
    }
    for (const { proxy, fencedVersion } of this.#parts.state.topology?.logins ?? []) {
      if (fencedVersion === undefined || this.#awaySinceMs.has(proxy)) continue;
      problems.push(`Proxy ${proxy} has been fenced; it is let in again when it has the map in force`);
    }
    return problems;
  }

  async run(): Promise<void> {
    this.#running = true;
    this.#timer = this.#parts.env.timers.every(TURN_PERIOD_MS, () => {
      this.#turn();
      this.#dropAway();
    });
  }

  async drain(): Promise<void> {
    this.#running = false;
    await Promise.all(this.#busy.values());
  }

  async stop(): Promise<void> {
    this.#running = false;
    this.#timer?.cancel();
  }

  /**
   * What the stream of `proxyId` begins with. A proxy that is seen for the first time gets its login here.
   * @throws ShoalError NOT_LEADER for such a one when another controller leads, LIMIT
   */
  async lineFor(proxyId: string): Promise<MapStreamLine> {
    if (!/^[A-Za-z0-9._-]{1,64}$/.test(proxyId)) {
      throw new ShoalError("INVALID_ARGUMENT", `Cannot open a map stream for ${JSON.stringify(proxyId)}`);
    }
    if (this.#parts.managed && this.#known(proxyId) === undefined) await this.#make(proxyId);
    const login = this.managed ? this.#known(proxyId) : undefined;
    this.#told.set(proxyId, login?.sinceVersion ?? null);
    return lineOf(login);
  }

  /**
   * Shuts `proxy` out of the server at `addr`: when this returns, nothing that it has sent or will send runs
   * there any more. Only for a proxy with a login.
   * @throws ShoalError UNREACHABLE, TIMEOUT, SERVER_REPLY: it may still be let in
   */
  async fence(proxy: string, addr: string): Promise<void> {
    const before = this.#known(proxy);
    await this.#parts.state.change({ type: "login-fenced", proxy });
    const killed = await shutUser(this.#serverAt(addr), userOfProxy(proxy));
    if (before?.fencedVersion !== undefined && killed === 0) return;
    this.#parts.events.add("proxy-fenced", { proxy, server: addr, connections: killed });
  }

  #known(proxy: string): ProxyLogin | undefined {
    const { topology } = this.#parts.state;
    return topology === null ? undefined : loginOf(topology, proxy);
  }

  #serverAt(addr: string): RedisServer {
    const server = this.#parts.health.serverAt(addr);
    if (server !== null) return server;
    throw new ShoalError("NOT_FOUND", `Cannot reach ${addr}: it is no server of this cluster`);
  }

  async #make(proxy: string): Promise<void> {
    const { state, env } = this.#parts;
    // Whether the servers know users at all has to be known first: a login for some of them is of no use.
    await this.#ensureAll();
    if (!this.managed) return;
    if ((state.topology?.logins?.length ?? 0) >= PROXIES_MAX) {
      throw new ShoalError("LIMIT", `Cannot make a login for ${proxy}: there are ${PROXIES_MAX}`);
    }
    await state.change({ type: "login-made", proxy, password: env.random.hex(PASSWORD_HEX_DIGITS) });
    await this.#ensureAll();
  }

  #onChange(): void {
    for (const [proxy, told] of this.#told) {
      const login = this.managed ? this.#known(proxy) : undefined;
      if (told === (login?.sinceVersion ?? null)) continue;
      this.#told.set(proxy, login?.sinceVersion ?? null);
      this.#parts.hub.sendTo(proxy, lineOf(login));
    }
    this.#turn();
  }

  #turn(): void {
    if (this.#running && this.#parts.managed && this.#parts.state.leading) void this.#ensureAll();
  }

  /** Every server that is up has every user, as far as it can be done now. */
  async #ensureAll(): Promise<void> {
    const { topology } = this.#parts.state;
    if (topology === null || !this.#parts.state.leading) return;
    await Promise.all([...allServers(topology)].map(({ server }) => this.#ensure(server.addr)));
  }

  async #ensure(addr: string): Promise<void> {
    // What is under way may have begun before the last change.
    await this.#busy.get(addr);
    const { env, health, state } = this.#parts;
    const seen = health.observations.get(addr);
    if (seen?.state !== "up" || seen.loading || this.#busy.has(addr)) return;
    // It came back, and may be empty or old: nobody shall read or write it before it has been judged (L6).
    const owner = state.topology?.groups.find((group) => primaryOf(group).addr === addr);
    if (owner !== undefined && !isTrustedPrimary(owner, seen)) return;
    const done = this.#done.get(addr);
    const logins = state.topology?.logins;
    const nowMs = env.clock.nowMs();
    const fresh = done !== undefined && nowMs - done.atMs < CHECK_AGAIN_MS;
    if (fresh && done.runId === seen.runId && done.logins === logins) return;
    const work = this.#tell(addr)
      .then(() => void this.#done.set(addr, { runId: seen.runId, logins, atMs: nowMs }))
      .catch((error) => env.log.debug("logins-not-set", { server: addr, reason: errorTextOf(error) }))
      .finally(() => this.#busy.delete(addr));
    this.#busy.set(addr, work);
    await work;
  }

  async #tell(addr: string): Promise<void> {
    const { state } = this.#parts;
    // A leader of the past that wakes up would open what the one of today has shut.
    await state.confirmLeading();
    // What was observed may be a second old, and since then the server may have come back empty.
    const seen = await this.#parts.health.look(addr);
    const owner = state.topology?.groups.find((group) => primaryOf(group).addr === addr);
    if (seen.state !== "up" || (owner !== undefined && !isTrustedPrimary(owner, seen))) {
      throw new ShoalError("CONFLICT", `Cannot let proxies in at ${addr}: it is silent, or not judged yet`);
    }
    const server = this.#serverAt(addr);
    let names: unknown;
    try {
      names = await server.command(["ACL", "USERS"]);
      this.#withoutUsers.delete(addr);
    } catch (error) {
      if (!lacksAcl(error)) throw error;
      this.#withoutUsers.add(addr);
      this.#onChange();
      return;
    }
    for (const { proxy } of state.topology?.logins ?? []) await this.#tellOne(server, proxy);
    for (const name of Array.isArray(names) ? names.map(String) : []) {
      if (!name.startsWith(PROXY_USER_PREFIX)) continue;
      if (this.#known(name.slice(PROXY_USER_PREFIX.length)) === undefined) {
        await dropUser(server, name);
      }
    }
  }

  /** As it is stored at this moment, not as it was when the round began. */
  async #tellOne(server: RedisServer, proxy: string): Promise<void> {
    const login = this.#known(proxy);
    if (login === undefined) return;
    if (login.fencedVersion !== undefined) await shutUser(server, userOfProxy(proxy));
    else await openUser(server, userOfProxy(proxy), login.password);
  }

  /** A fenced proxy that serves by a map made after its fence believes nothing any more that is over. */
  #onReport({ id, report }: KnownProxy): void {
    const login = this.#known(id);
    if (login?.fencedVersion === undefined || !this.#parts.state.leading || this.#renewing.has(id)) return;
    this.#awaySinceMs.delete(id);
    if (report.map === null || report.map.version < login.fencedVersion) return;
    this.#renewing.add(id);
    void this.#renew(id).finally(() => this.#renewing.delete(id));
  }

  async #renew(proxy: string): Promise<void> {
    const { state, env, events } = this.#parts;
    try {
      await state.change({ type: "login-renewed", proxy, password: env.random.hex(PASSWORD_HEX_DIGITS) });
      await this.#ensureAll();
      events.add("proxy-let-in", { proxy });
    } catch (error) {
      env.log.warn("login-not-renewed", { proxy, reason: errorTextOf(error) });
    }
  }

  /** So that proxies which come and go under ever new names do not fill the topology. */
  #dropAway(): void {
    const { state, env, proxies } = this.#parts;
    if (!this.#running || !state.leading) return;
    const nowMs = env.clock.nowMs();
    for (const { proxy, fencedVersion } of state.topology?.logins ?? []) {
      const silentMs = proxies.silentMs(proxy);
      if (fencedVersion === undefined || (silentMs !== null && silentMs < proxies.leaseMs)) continue;
      const sinceMs = this.#awaySinceMs.get(proxy) ?? nowMs;
      this.#awaySinceMs.set(proxy, sinceMs);
      if (nowMs - sinceMs < FENCED_KEPT_MS) continue;
      this.#awaySinceMs.delete(proxy);
      state.change({ type: "login-dropped", proxy }).catch((error) => {
        env.log.warn("login-not-dropped", { proxy, reason: errorTextOf(error) });
      });
    }
  }
}

/** Undefined: the proxy has none, and is who its configuration says. */
function lineOf(login: ProxyLogin | undefined): MapStreamLine {
  if (login === undefined) return { type: "login", login: null };
  const { proxy, password, sinceVersion } = login;
  return { type: "login", login: { user: userOfProxy(proxy), password, sinceVersion } };
}
