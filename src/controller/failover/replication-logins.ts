/**
 * The user that replicas sign in to their primary with, so that a primary that was started again has no
 * replica until it has been judged (loss mode L6): redis-server would otherwise connect its replicas by
 * itself, and they would copy whatever it holds now, be it nothing.
 *
 *   primary trusted ──▶ ACL SETUSER shoal-replication … (in the memory of its process only, never saved)
 *                          └──▶ each replica: CONFIG SET masteruser, masterauth
 *   primary starts again ──▶ no such user ──▶ replicas: "Unable to AUTH", they keep what they have
 *
 * The password is the group's own and changes with each switch. A replica that is given the next one can't
 * reach the old primary any more, whatever happens there: that is how a failover makes sure that the old
 * primary gets no confirmation behind its back ({@link ReplicationLogins.cutOff}).
 * Rejected: a password in the servers' files (it would survive the restart that it shall guard against), and
 * detaching the replicas of every primary that is silent (a hiccup would cost a resynchronisation).
 */
import { ShoalError, errorTextOf } from "../../base/shoal-error.ts";
import type { Env } from "../../env/env.ts";
import type { RedisServer } from "../../redis/redis-server.ts";
import { type TopologyGroup, primaryOf, replicasOf } from "../../topology/cluster-topology.ts";
import { type Observations, observationOf, replicaHealth } from "../../topology/group-health.ts";
import { isTrustedPrimary } from "../../topology/promotion.ts";
import type { ClusterState } from "../cluster-state.ts";
import type { Health } from "../health.ts";
import type { Service } from "../service.ts";

export const REPLICATION_USER = "shoal-replication";

/** What a replica needs at its primary, and nothing else. */
const RULES = ["+psync", "+replconf", "+ping"];

const PASSWORD_DIGITS = 40;

/** What a replica signs in with. */
export interface ReplicationLogin {
  readonly user: string;
  readonly password: string;
}

/**
 * A replica that was told and does not get through is told again after so long: another leader may have
 * spoken.
 */
const TELL_AGAIN_MS = 3000;

/**
 * A replica that is let in and does not come is shut out again, which changes the map twice: not more often
 * than this.
 */
const LET_IN_AGAIN_MS = 30_000;

/** Entries about processes that may be long gone; then all are told again. */
const TOLD_MAX = 65_536;

export class ReplicationLogins implements Service {
  readonly #env: Pick<Env, "clock" | "log" | "random">;
  readonly #state: ClusterState;
  readonly #health: Health;
  readonly #managed: boolean;
  /** "addr run-id link" of servers that have been told what they need, and when. */
  readonly #told = new Map<string, number>();
  /** "addr run-id" of primaries that have no ACL: older than 6.0, or it is forbidden to us. */
  readonly #without = new Set<string>();
  /** Replicas that are being shut out now. */
  readonly #shutting = new Set<string>();
  /** When a replica that is shut out may be let in (again). */
  readonly #notBeforeMs = new Map<string, number>();
  readonly #busy = new Map<string, Promise<void>>();
  #running = false;

  constructor(
    env: Pick<Env, "clock" | "log" | "random">,
    state: ClusterState,
    health: Health,
    managed: boolean,
  ) {
    this.#env = env;
    this.#state = state;
    this.#health = health;
    this.#managed = managed;
    health.onObserved(() => this.#turn());
  }

  async run(): Promise<void> {
    this.#running = true;
  }

  async drain(): Promise<void> {
    this.#running = false;
    await Promise.all(this.#busy.values());
  }

  async stop(): Promise<void> {
    this.#running = false;
  }

  /** A new password for `group`; undefined when its servers' logins are not ours to make. */
  newLink(group: TopologyGroup | null = null): string | undefined {
    const servers = group?.servers ?? [];
    const without = servers.some(({ addr }) => [...this.#without].some((key) => key.startsWith(`${addr} `)));
    return this.#managed && !without ? this.#env.random.hex(PASSWORD_DIGITS) : undefined;
  }

  /**
   * Lets the replicas of a group in at `primary`; what they shall show there comes back, null when they sign
   * in as the servers are configured. @throws ShoalError when the server can't be reached
   */
  async admit(primary: string, link: string | undefined): Promise<ReplicationLogin | null> {
    const server = this.#health.serverAt(primary);
    if (!this.#managed || link === undefined || server === null) return null;
    const process = `${primary} ${runIdOf(this.#health.observations, primary)}`;
    if (this.#without.has(process)) return null;
    const login = { user: REPLICATION_USER, password: link };
    if (this.#told.has(`${process} ${link}`)) return login;
    try {
      await this.#judged(server, primary);
      this.#inForce(primary, link);
      // Nothing in between, or it could be another process that gets the user.
      await server.aclSetUser(REPLICATION_USER, ["reset", "on", `>${link}`, ...RULES]);
    } catch (error) {
      const reason = errorTextOf(error);
      if (!/unknown command|NOPERM/i.test(reason)) throw error;
      this.#without.add(process);
      this.#env.log.warn("replication-login-not-made", { server: primary, reason });
      return null;
    }
    this.#note(`${process} ${link}`);
    return login;
  }

  /**
   * Takes a replica away from its present primary for good: from now on it shows the password of the next
   * one. It keeps its data and its place in the stream. Does nothing without a password.
   */
  async cutOff(replica: RedisServer, link: string | undefined): Promise<void> {
    if (!this.#managed || link === undefined) return;
    try {
      await tellReplica(replica, { user: REPLICATION_USER, password: link });
    } catch (error) {
      // Before 6.0 there are no users to sign in as; it stays as it is.
      if (/Unsupported CONFIG parameter/i.test(errorTextOf(error))) return;
      throw error;
    }
    await replica.command(["CLIENT", "KILL", "TYPE", "master"]);
  }

  /**
   * A replica has been away from its living primary for too long: it counts as a copy no more. It is made
   * sure that it can't come back before it is told how; what it confirmed then, nobody would wait for at a
   * failover. False: it is there already, or may be, so that it still counts for that.
   */
  async shutOut(id: string, addr: string): Promise<boolean> {
    // One change of the password after the other.
    if (this.#busy.has(id)) return false;
    const work = this.#changeLink(id).then(async (shutOut) => {
      await this.#state.change({ type: "fell-behind", addr, shutOut: shutOut ?? undefined });
      return shutOut !== null;
    });
    this.#shutting.add(addr);
    this.#notBeforeMs.set(addr, this.#env.clock.nowMs() + TELL_AGAIN_MS);
    const ended = work.then(
      () => {},
      () => {},
    );
    this.#busy.set(id, ended);
    return work.finally(() => {
      this.#shutting.delete(addr);
      this.#busy.delete(id);
    });
  }

  /**
   * To be called before a replica is told how to reach its primary: from now on a silent one may hold a copy.
   * False: it has just been shut out, or was let in and has not come; it is left alone for a while.
   */
  async letIn(id: string, addr: string): Promise<boolean> {
    const server = this.#groupOf(id).servers.find((one) => one.addr === addr);
    if (this.#shutting.has(addr)) return false;
    if (server?.shutOut !== true) return true;
    if (!this.#mayLetIn(addr)) return false;
    this.#notBeforeMs.set(addr, this.#env.clock.nowMs() + LET_IN_AGAIN_MS);
    await this.#state.change({ type: "let-in", addr });
    return true;
  }

  /** A replica signs in as it is configured again, should it have been told otherwise. */
  async withdraw(replica: RedisServer): Promise<void> {
    const user = (await replica.configGet("masteruser")).get("masteruser");
    if (user === REPLICATION_USER) await tellReplica(replica, { user: "", password: "" });
  }

  /** What this group's replicas have been told is not so any more: they are told again. */
  forget(group: TopologyGroup): void {
    for (const { addr } of group.servers) {
      for (const key of this.#told.keys()) if (key.startsWith(`${addr} `)) this.#told.delete(key);
    }
  }

  /**
   * Asks the very process that the next command will reach: what was observed may be a second old, and since
   * then the primary may have come back empty. A command that is sent in the turn of the answer goes over the
   * same connection, or not at all. @throws ShoalError CONFLICT when the process is not judged yet
   */
  async #judged(server: RedisServer, addr: string): Promise<void> {
    const { runId } = await server.info();
    const group = this.#state.topology?.groups.find((one) => primaryOf(one).addr === addr);
    const known = group?.history?.runId;
    // A replica that is about to take over is no primary yet, and has been looked at for that.
    if (known === undefined || known === runId) return;
    throw new ShoalError(
      "CONFLICT",
      `Cannot let replicas in at ${addr}: it was started again and is not judged`,
    );
  }

  #mayLetIn(addr: string): boolean {
    return this.#env.clock.nowMs() >= (this.#notBeforeMs.get(addr) ?? 0);
  }

  /** The password that nobody knows yet who does not follow now; null when somebody may have signed in. */
  async #changeLink(id: string): Promise<{ readonly link?: string } | null> {
    const group = this.#groupOf(id);
    const { addr: primary } = primaryOf(group);
    const server = this.#health.serverAt(primary);
    const link = this.newLink(group);
    // Where there is no such user, nobody can be shut out.
    if (link === undefined || server === null) return { link: group.link };
    if (!(await this.#onlyOnlineSignedIn(group, server))) return null;
    await this.#state.change({ type: "link-set", group: id, link });
    if ((await this.admit(primary, link)) === null) return { link };
    // Whoever signed in before that does so no more; those who follow are told the next moment.
    return (await this.#onlyOnlineSignedIn(group, server)) ? { link } : null;
  }

  /** No more connections of the user than there are replicas online: also none in the middle of a copy. */
  async #onlyOnlineSignedIn(group: TopologyGroup, primary: RedisServer): Promise<boolean> {
    const online = replicasOf(group).filter(
      (replica) => replicaHealth(group, replica, this.#health.observations) === "online",
    );
    const list = String(await primary.command(["CLIENT", "LIST"]));
    return list.split(` user=${REPLICATION_USER} `).length - 1 <= online.length;
  }

  #groupOf(id: string): TopologyGroup {
    const group = this.#state.topology?.groups.find((one) => one.id === id);
    if (group === undefined)
      throw new ShoalError("NOT_FOUND", `Cannot let replicas in at ${id}: no such group`);
    return group;
  }

  /** A password that has been replaced meanwhile must not come back: somebody was shut out by that. */
  #inForce(primary: string, link: string): void {
    const group = this.#state.topology?.groups.find(({ servers }) =>
      servers.some(({ addr }) => addr === primary),
    );
    if (group === undefined || group.link === link || group.switch?.link === link) return;
    throw new ShoalError("CONFLICT", `Cannot let replicas in at ${primary}: their password has changed`);
  }

  /** Groups that are as they should be, and not told so yet: a leader does it once for each process. */
  #turn(): void {
    const { topology } = this.#state;
    if (!this.#running || !this.#state.leading || topology === null) return;
    for (const group of topology.groups) {
      if (group.switch !== undefined || this.#busy.has(group.id)) continue;
      const untold = this.#untold(group);
      if (untold.length === 0) continue;
      const work = this.#tell(group, untold)
        .catch((error) => {
          this.#env.log.warn("replication-login-failed", { group: group.id, reason: errorTextOf(error) });
        })
        .finally(() => this.#busy.delete(group.id));
      this.#busy.set(group.id, work);
    }
  }

  /** Replicas that follow a primary which may be copied, and have not been told how to sign in there. */
  #untold(group: TopologyGroup): string[] {
    const { observations } = this.#health;
    const { addr: primary } = primaryOf(group);
    const seen = observationOf(observations, primary);
    if (seen.state !== "up" || seen.loading || seen.role !== "primary") return [];
    if (!isTrustedPrimary(group, seen) || this.#without.has(`${primary} ${seen.runId}`)) return [];
    const primaryKnows = !this.#managed || this.#told.has(`${primary} ${seen.runId} ${group.link}`);
    const nowMs = this.#env.clock.nowMs();
    const untold = replicasOf(group).filter((replica) => {
      const health = replicaHealth(group, replica, observations);
      // It has come: the next time that it is shut out is another story.
      if (health === "online") this.#notBeforeMs.delete(replica.addr);
      if (!["online", "connecting", "syncing"].includes(health)) return false;
      if (replica.shutOut === true && !this.#mayLetIn(replica.addr)) return false;
      const key = `${replica.addr} ${runIdOf(observations, replica.addr)} ${group.link}`;
      const toldMs = this.#told.get(key);
      const stuck = health === "connecting" && toldMs !== undefined && nowMs - toldMs > TELL_AGAIN_MS;
      return toldMs === undefined || stuck || !primaryKnows;
    });
    return untold.map(({ addr }) => addr);
  }

  async #tell(group: TopologyGroup, replicas: readonly string[]): Promise<void> {
    let { link } = group;
    if (this.#managed && link === undefined) {
      link = this.newLink();
      if (link === undefined) return;
      await this.#state.change({ type: "link-set", group: group.id, link });
    }
    const primary = primaryOf(group).addr;
    // Told anew as well: somebody may have taken the user away (ACL LOAD), and a replica is stuck for it.
    this.#told.delete(`${primary} ${runIdOf(this.#health.observations, primary)} ${link}`);
    const login = await this.admit(primary, link);
    for (const addr of replicas) {
      const server = this.#health.serverAt(addr);
      if (server === null || !(await this.letIn(group.id, addr))) continue;
      if (login === null) await this.withdraw(server);
      else await tellReplica(server, login);
      this.#note(`${addr} ${runIdOf(this.#health.observations, addr)} ${link}`);
    }
  }

  #note(key: string): void {
    if (this.#told.size >= TOLD_MAX) this.#told.clear();
    this.#told.set(key, this.#env.clock.nowMs());
  }
}

function runIdOf(observations: Observations, addr: string): string {
  const seen = observationOf(observations, addr);
  return seen.state === "up" ? seen.runId : "";
}

async function tellReplica(replica: RedisServer, login: ReplicationLogin): Promise<void> {
  await replica.configSet("masteruser", login.user);
  await replica.configSet("masterauth", login.password);
}
