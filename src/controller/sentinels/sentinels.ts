/**
 * `failover = "sentinel"`: keeps the sentinels' task as the topology wants it, and carries what they have
 * done into the map.
 *
 *   every POLL_MS, and at +switch-master:
 *     ask all ──▶ highest epoch names another primary ──▶ takeOver: failover/ fences, checks, publishes
 *            ├──▶ planMonitoring (pure) ──▶ MONITOR, SET, REMOVE
 *            └──▶ stale-replicas ──▶ RESET, one sentinel after the other
 *   own switch ──▶ aside: REMOVE at all of them ──▶ the switch ──▶ MONITOR at the new primary
 *
 * Only the leader acts. Invariants: no proxy hears of a primary that sentinels made before it has been
 * checked like one of our own choice; while we switch a group ourselves no sentinel knows it, so there are
 * never two who promote. Rejected: SENTINEL FAILOVER for a switch as planned. It promotes without a pause of
 * the writes (loss mode L3) and takes a second or more; and sentinels that were removed and told anew count
 * epochs from 0, so one that was away meanwhile would win with its old primary: all have to answer for that.
 */
import { ShoalError, errorTextOf } from "../../base/shoal-error.ts";
import type { Timer } from "../../env/env.ts";
import { pause } from "../../env/time-limit.ts";
import type { RedisEnv } from "../../redis/server-connection.ts";
import { type ClusterTopology, type TopologyGroup, primaryOf } from "../../topology/cluster-topology.ts";
import { observationOf } from "../../topology/group-health.ts";
import type { ClusterState } from "../cluster-state.ts";
import type { EventLog } from "../events.ts";
import type { Health } from "../health.ts";
import type { Service } from "../service.ts";
import { type MonitorSettings, planMonitoring } from "./monitor-plan.ts";
import { PrimaryGuard } from "./primary-guard.ts";
import type { SentinelCredentials } from "./sentinel-feed.ts";
import { SentinelLink } from "./sentinel-link.ts";
import { type NamedPrimary, monitorName, namedPrimary, serverMeant } from "./sentinel-view.ts";
import { StaleReplicas } from "./stale-replicas.ts";

/** How late a primary that sentinels made is noticed when their message is missed. */
const POLL_MS = 500;

/** Pause after something that was refused: it is asked again what it is now. */
const RETRY_MS = 500;

const ASK_AGAIN_MS = 100;

/** How long sentinels may take to replace a primary when told to. */
const REPLACE_MS = 10_000;

export interface SentinelsParts {
  readonly state: ClusterState;
  readonly health: Health;
  readonly events: EventLog;
}

export interface SentinelsOptions {
  readonly addresses: readonly string[];
  /** Towards the sentinels themselves. */
  readonly credentials: SentinelCredentials | null;
  readonly settings: MonitorSettings;
}

/** Carries into the map that `to` has been made the primary. @throws ShoalError CONFLICT: it must not be */
export type TakeOver = (group: string, to: string, reason: string) => Promise<void>;

export class Sentinels implements Service {
  readonly #env: RedisEnv;
  readonly #parts: SentinelsParts;
  readonly #options: SentinelsOptions;
  readonly #links: readonly SentinelLink[];
  /** Groups that are switched by ourselves: no sentinel may know them. */
  readonly #aside = new Set<string>();
  readonly #following = new Set<string>();
  readonly #retryAtMs = new Map<string, number>();
  /** Per group: why what the sentinels say is not in the map, or why they do nothing. */
  readonly #problems = new Map<string, string>();
  /** Per group: the refusal that was an event already. */
  readonly #told = new Map<string, string>();
  /** Sentinels that have not answered for `down_after_ms`. */
  readonly #lost = new Set<string>();
  readonly #guard: PrimaryGuard;
  readonly #forgetting: StaleReplicas;
  #takeOver: TakeOver = async () => {};
  #turning: Promise<void> | null = null;
  #again = false;
  #timer: Timer | null = null;

  constructor(env: RedisEnv, parts: SentinelsParts, options: SentinelsOptions) {
    this.#env = env;
    this.#parts = parts;
    this.#options = options;
    this.#guard = new PrimaryGuard(env, parts.health);
    this.#links = options.addresses.map(
      (address) => new SentinelLink(env, address, options.credentials, () => this.#poke()),
    );
    this.#forgetting = new StaleReplicas(env, parts, this.#links);
  }

  onTakeOver(takeOver: TakeOver): void {
    this.#takeOver = takeOver;
  }

  async run(): Promise<void> {
    for (const link of this.#links) link.listen();
    this.#timer = this.#env.timers.every(POLL_MS, () => this.#poke());
  }

  async drain(): Promise<void> {
    this.#timer?.cancel();
    await this.#turning;
  }

  async stop(): Promise<void> {
    this.#timer?.cancel();
    for (const link of this.#links) link.close();
  }

  /** For status: one sentence each. */
  get problems(): readonly string[] {
    if (!this.#parts.state.leading) return [];
    const lost = this.#links.filter((link) => this.#lost.has(link.address));
    return [
      ...lost.map(({ address, failure }) => `sentinel ${address} does not answer: ${failure}`),
      ...this.#problems.values(),
    ];
  }

  /**
   * Does `work`, a switch of our own, while no sentinel knows the group.
   * @throws ShoalError CONFLICT when a sentinel does not answer, or is replacing the primary itself
   */
  async aside<Value>(group: TopologyGroup, work: () => Promise<Value>): Promise<Value> {
    const { id } = group;
    const name = this.#nameOf(group);
    this.#aside.add(id);
    try {
      await this.#turning;
      await this.#look();
      const silent = this.#links.filter((link) => link.sight === null).map((link) => link.address);
      if (silent.length > 0) {
        const who = `sentinel ${silent.join(", ")}`;
        const what = `${who} does not answer and would bring the old primary back later`;
        const advice = 'start it, or stop it for good and take it out of "sentinels"';
        throw new ShoalError("CONFLICT", `Cannot switch group ${id}: ${what}: ${advice}`);
      }
      if (this.#named(name)?.failoverUnderWay === true)
        throw new ShoalError(
          "CONFLICT",
          `Cannot switch group ${id}: the sentinels are replacing its primary`,
        );
      await this.#parts.state.confirmLeading();
      await Promise.all(this.#links.map((link) => link.remove(name)));
      return await work();
    } finally {
      this.#aside.delete(id);
      this.#problems.delete(id);
      await this.#run();
    }
  }

  /** Has them replace a primary that answers but must not stay; who took over comes back. */
  async replace(group: TopologyGroup): Promise<string> {
    const { id } = group;
    const name = this.#nameOf(group);
    await this.#look();
    const link = this.#links.find(({ sight }) => sight?.has(name) === true);
    if (link === undefined)
      throw new ShoalError(
        "CONFLICT",
        `Cannot replace the primary of group ${id}: no sentinel watches over it`,
      );
    if (this.#named(name)?.failoverUnderWay !== true) {
      await this.#parts.state.confirmLeading();
      await link.failOver(name);
    }
    const untilMs = this.#env.clock.nowMs() + REPLACE_MS;
    while (this.#env.clock.nowMs() < untilMs) {
      await this.#look();
      const to = serverMeant(group, this.#named(name)?.addr ?? primaryOf(group).addr);
      if (to !== null && to !== primaryOf(group).addr) return to;
      await pause(this.#env.timers, ASK_AGAIN_MS);
    }
    const why = `the sentinels have not done it within ${REPLACE_MS} ms`;
    throw new ShoalError("TIMEOUT", `Cannot replace the primary of group ${id}: ${why}`);
  }

  /** Whether they name another primary than the topology, as of the last answers. */
  haveReplaced(group: TopologyGroup): boolean {
    const named = this.#aside.has(group.id) ? null : this.#named(this.#nameOf(group));
    return named !== null && serverMeant(group, named.addr) !== primaryOf(group).addr;
  }

  /** Whether a switch of this group that was begun may be theirs. @throws ShoalError when nobody can say */
  async watchOver(group: TopologyGroup): Promise<boolean> {
    await this.#look();
    if (this.#links.some((link) => link.sight !== null)) return this.#named(this.#nameOf(group)) !== null;
    throw new ShoalError("UNREACHABLE", `Cannot finish the switch of group ${group.id}: no sentinel answers`);
  }

  /**
   * Asked before `addr` is made a replica: a server that has just been promoted is no stray.
   * @throws ShoalError CONFLICT: it may be the primary that sentinels have made a moment ago
   */
  async confirmReplica(id: string, addr: string): Promise<void> {
    const group = this.#parts.state.topology?.groups.find((one) => one.id === id);
    const seen = observationOf(this.#parts.health.observations, addr);
    if (group?.history === undefined || seen.state !== "up" || seen.role !== "primary") return;
    if (seen.replicationIdBefore !== group.history.id) return;
    await this.#look();
    const named = this.#named(this.#nameOf(group));
    const settled = named !== null && !named.failoverUnderWay;
    if (settled && serverMeant(group, named.addr) === primaryOf(group).addr) return;
    const why = "the sentinels may have made it the primary a moment ago";
    throw new ShoalError("CONFLICT", `Cannot make ${addr} a replica of group ${id}: ${why}`);
  }

  #poke(): void {
    if (this.#turning !== null) this.#again = true;
    else void this.#run();
  }

  /** One turn at a time; one that is asked for in the middle of another comes after it. */
  async #run(): Promise<void> {
    while (this.#turning !== null) await this.#turning;
    const turn = this.#turn().catch((error) => {
      this.#env.log.warn("sentinels-not-told", { reason: errorTextOf(error) });
    });
    this.#turning = turn.finally(() => (this.#turning = null));
    await this.#turning;
    if (!this.#again) return;
    this.#again = false;
    this.#poke();
  }

  async #turn(): Promise<void> {
    const { state } = this.#parts;
    if (!state.leading || state.topology === null) {
      this.#problems.clear();
      return;
    }
    await this.#look();
    this.#noteAnswers();
    // What is said now rests on the topology as it is after the answers, and on our leading still.
    const { topology } = state;
    if (!state.leading || topology === null) return;
    for (const id of this.#problems.keys())
      if (!topology.groups.some((group) => group.id === id)) this.#problems.delete(id);
    for (const group of topology.groups) {
      this.#follow(group);
      void this.#guard.tell(group);
    }
    await Promise.all(this.#links.map((link) => this.#configure(link, topology)));
    await this.#forgetting.turn(topology, this.#aside);
  }

  async #look(): Promise<void> {
    const { topology } = this.#parts.state;
    const names = (topology?.groups ?? []).map((group) => this.#nameOf(group));
    await Promise.all(this.#links.map((link) => link.look(names)));
  }

  #noteAnswers(): void {
    const { downAfterMs } = this.#options.settings;
    for (const { address, sight, failure, answeredMs } of this.#links) {
      const silentMs = this.#env.clock.nowMs() - answeredMs;
      if (silentMs >= downAfterMs && !this.#lost.has(address)) {
        this.#lost.add(address);
        this.#parts.events.add("sentinel-lost", { sentinel: address, reason: failure });
      } else if (sight !== null && this.#lost.delete(address)) {
        this.#parts.events.add("sentinel-back", { sentinel: address });
      }
    }
  }

  /** Begins to carry over what they say about one group; or finds a reason why there is nothing to. */
  #follow(group: TopologyGroup): void {
    const { id } = group;
    if (group.switch !== undefined || this.#aside.has(id) || this.#following.has(id)) return;
    const named = this.#named(this.#nameOf(group));
    const to = named === null ? null : serverMeant(group, named.addr);
    if (named !== null && to === null) {
      const what = `the sentinels name ${named.addr} as primary of group ${id}, which is none of its servers`;
      const advice = `SENTINEL REMOVE ${this.#nameOf(group)} there has them follow the topology`;
      this.#problems.set(id, `${what}: ${advice}`);
      return;
    }
    if (to === null || to === primaryOf(group).addr) {
      this.#noteIdle(group);
      return;
    }
    if (this.#env.clock.nowMs() < (this.#retryAtMs.get(id) ?? 0)) return;
    this.#following.add(id);
    void this.#carryOver(group, to).finally(() => this.#following.delete(id));
  }

  async #carryOver(group: TopologyGroup, to: string): Promise<void> {
    const { id } = group;
    try {
      const seen = await this.#parts.health.look(to);
      if (seen.state !== "up" || seen.role !== "primary") {
        const is = seen.state === "up" ? "is a replica" : "does not answer";
        // They are at it: one that is promoted has its connections cut, or has died again.
        this.#problems.set(id, `the sentinels name ${to} as primary of group ${id}, but it ${is}`);
        return;
      }
      await this.#takeOver(id, to, `the sentinels have made ${to} the primary`);
      this.#problems.delete(id);
      this.#told.delete(id);
    } catch (error) {
      this.#retryAtMs.set(id, this.#env.clock.nowMs() + RETRY_MS);
      const advice = `\`shoal failover ${id} --to ${to} --force\` overrules it`;
      const problem = `the sentinels have made ${to} the primary: ${errorTextOf(error)}: ${advice}`;
      if (this.#parts.state.leading) this.#noteRefusal(id, problem);
    }
  }

  /**
   * An event when it is so for the second time: a server that has just been promoted may be slow to answer.
   */
  #noteRefusal(id: string, problem: string): void {
    const again = this.#problems.get(id) === problem;
    this.#problems.set(id, problem);
    if (!again || this.#told.get(id) === problem) return;
    this.#told.set(id, problem);
    this.#parts.events.add("failover-refused", { group: id, reason: problem });
  }

  /** They agree with the topology. Whether they could do something about a primary that is down. */
  #noteIdle(group: TopologyGroup): void {
    const { addr } = primaryOf(group);
    const seen = observationOf(this.#parts.health.observations, addr);
    const { downAfterMs, failoverTimeoutMs, quorum } = this.#options.settings;
    const count = this.#links.length;
    const answering = count - this.#lost.size;
    const needed = Math.max(quorum, Math.floor(count / 2) + 1);
    const who = `${addr} of group ${group.id} is down`;
    let problem: string | null = null;
    if (seen.state === "down" && answering < needed) {
      problem = `${who}, and ${answering} of ${count} sentinels answer, ${needed} are needed to replace it`;
    } else if (seen.state === "down") {
      const silentMs = this.#env.clock.nowMs() - seen.sinceMs;
      const name = this.#nameOf(group);
      if (silentMs > 2 * downAfterMs + failoverTimeoutMs)
        problem = `${who}, and the sentinels don't replace it: ask them (SENTINEL CKQUORUM ${name})`;
    }
    if (problem === null) this.#problems.delete(group.id);
    else this.#problems.set(group.id, problem);
  }

  async #configure(link: SentinelLink, topology: ClusterTopology): Promise<void> {
    const { sight, signedIn, address } = link;
    if (sight === null) return;
    const { settings } = this.#options;
    const named = (name: string): NamedPrimary | null => this.#named(name);
    const effects = planMonitoring({ topology, settings, sight, named, aside: this.#aside, signedIn });
    if (effects.length === 0) return;
    // A leader of the past that wakes up here would have them watch over the servers of its time.
    await this.#parts.state.confirmLeading();
    for (const effect of effects) {
      try {
        await link.carryOut(effect);
        this.#parts.events.add("sentinel-told", { sentinel: address, name: effect.name, what: effect.kind });
      } catch (error) {
        this.#env.log.warn("sentinel-not-told", { sentinel: address, reason: errorTextOf(error) });
      }
    }
  }

  #named(name: string): NamedPrimary | null {
    return namedPrimary(
      this.#links.map((link) => link.sight),
      name,
    );
  }

  #nameOf(group: TopologyGroup): string {
    return monitorName(this.#parts.state.topology?.cluster ?? "", group.id);
  }
}
