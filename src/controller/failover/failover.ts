/**
 * Watches over the primaries and has a dead one replaced. Decides; switcher.ts and switchover.ts carry out.
 *
 *   observation, votes, every TICK_MS ──▶ per group: ┬ a switch is stored, unfinished ──▶ go on with it
 *                                                     ├ primary down, agreed, no safe mode ──▶ failOver
 *                                                     ├ primary is another process ──▶ judgeRestart
 *                                                     └ else nothing
 *   `shoal failover` ──▶ switchGroup ──▶ switchOver | failOver
 *
 * One thing per group at a time, groups side by side. Only a leader acts, and a new one waits GRACE_MS for
 * the reports that its judgement rests on; what its predecessor had begun it goes on with at once.
 */
import { ShoalError, errorCodeOf, errorTextOf } from "../../base/shoal-error.ts";
import type { FailoverAnswer, FailoverBody } from "../../contract/failover-routes.ts";
import type { Env, Timer } from "../../env/env.ts";
import { agreeOnDown, proxiesReach } from "../../topology/agreement.ts";
import { type SwitchRecord, type TopologyGroup, primaryOf } from "../../topology/cluster-topology.ts";
import { type UpObservation, groupProtected, observationOf } from "../../topology/group-health.ts";
import { acksAll, acksOf, isTrustedPrimary, judgeRestart } from "../../topology/promotion.ts";
import type { ClusterState } from "../cluster-state.ts";
import type { EventLog } from "../events.ts";
import type { Health } from "../health.ts";
import type { ProxyRegistry } from "../proxy-registry.ts";
import type { Sentinels } from "../sentinels/sentinels.ts";
import type { Service } from "../service.ts";
import type { Observers } from "./observers.ts";
import { SafeMode } from "./safe-mode.ts";
import { resumeWrites, writesToResume } from "./stopped-writes.ts";
import type { SwitchNews } from "./switch-news.ts";
import type { FailoverCause, LastSeen, Switcher } from "./switcher.ts";
import { finishSwitchover, switchOver } from "./switchover.ts";

/** How late a decision may come after what it rests on. */
const TICK_MS = 50;

/** A leader's first seconds, in which the proxies find it. */
const GRACE_MS = 2000;

/** Pause after a switch that could not be made. */
const RETRY_MS = 500;

export interface FailoverOptions {
  readonly automatic: boolean;
  /** Observers that have to agree; 0: the majority. */
  readonly quorum: number;
  /** See FleetView of topology/agreement.ts. */
  readonly safeModeGroups: number;
}

export interface FailoverParts {
  readonly id: string;
  readonly state: ClusterState;
  readonly health: Health;
  readonly events: EventLog;
  readonly proxies: ProxyRegistry;
  readonly observers: Observers;
  readonly switcher: Switcher;
  readonly news: SwitchNews;
  /** Whose failovers are followed; null: they are our own. */
  readonly sentinels: Sentinels | null;
}

type Cause = Omit<FailoverCause, "acknowledgedLost">;

export class Failover implements Service {
  readonly #env: Pick<Env, "clock" | "timers" | "log">;
  readonly #parts: FailoverParts;
  readonly #options: FailoverOptions;
  readonly #busy = new Map<string, Promise<unknown>>();
  readonly #retryAtMs = new Map<string, number>();
  /** Per group: why nothing is done about it. */
  readonly #problems = new Map<string, string>();
  /** Per primary: what it was when it was still trusted. */
  readonly #last = new Map<string, LastSeen>();
  readonly #protected = new Map<string, boolean>();
  readonly #safeMode: SafeMode;
  #leadingSinceMs: number | null = null;
  #timer: Timer | null = null;

  constructor(env: Pick<Env, "clock" | "timers" | "log">, parts: FailoverParts, options: FailoverOptions) {
    this.#env = env;
    this.#parts = parts;
    this.#options = options;
    this.#safeMode = new SafeMode(env, parts, options.safeModeGroups);
    parts.health.onObserved(() => this.#remember());
    parts.sentinels?.onTakeOver((id, to, reason) => this.#takeOver(id, to, reason));
  }

  async run(): Promise<void> {
    this.#parts.news.start();
    this.#timer = this.#env.timers.every(TICK_MS, () => this.#turn());
  }

  async drain(): Promise<void> {
    this.#timer?.cancel();
    await Promise.allSettled(this.#busy.values());
  }

  async stop(): Promise<void> {
    this.#timer?.cancel();
  }

  /** For status: one sentence each. */
  get problems(): readonly string[] {
    return [...this.#problems.values(), ...(this.#parts.sentinels?.problems ?? [])];
  }

  get safeMode(): readonly string[] {
    return this.#safeMode.reasons;
  }

  /** What `shoal failover` asks for. @throws ShoalError NOT_LEADER, NOT_FOUND, CONFLICT */
  async switchGroup(id: string, { to, force = false, by }: FailoverBody): Promise<FailoverAnswer> {
    const { state, switcher, health } = this.#parts;
    if (!state.leading)
      throw new ShoalError("NOT_LEADER", `Cannot switch group ${id}: this controller follows`);
    const group = switcher.group(id);
    if (this.#busy.has(id) || group.switch !== undefined)
      throw new ShoalError("CONFLICT", `Cannot switch group ${id}: a switch of it is under way`);
    const from = primaryOf(group).addr;
    const startedMs = this.#env.clock.nowMs();
    const asked = by === undefined ? "asked for" : `asked for by ${by}`;
    const work = async (): Promise<FailoverAnswer> => {
      await switcher.fresh([from]);
      const seen = observationOf(health.observations, from);
      const trusted = seen.state === "up" && isTrustedPrimary(group, seen);
      if (to === from) return this.#keepPrimary(group, force);
      let heldMs: number | null = null;
      let record: SwitchRecord;
      if (trusted || !force) {
        const planned = () => switchOver(this.#env, this.#parts, id, { to, reason: asked });
        ({ record, heldMs } = await this.#alone(group, planned));
      } else {
        const cause = { reason: `${asked}, with force`, forced: true, to, replaceLiving: true };
        record = await this.#alone(group, () => this.#failOver(group, cause));
      }
      const durationMs = Math.round(this.#env.clock.nowMs() - startedMs);
      const { kind, lostBytesMax } = record;
      return { group: id, kind, from, to: record.to, durationMs, heldMs, lostBytesMax };
    };
    return this.#occupy(id, work());
  }

  /** `work` is a switch of our own: no sentinel may have an opinion meanwhile. */
  #alone<Value>(group: TopologyGroup, work: () => Promise<Value>): Promise<Value> {
    const { sentinels } = this.#parts;
    return sentinels === null ? work() : sentinels.aside(group, work);
  }

  /** Sentinels have made `to` the primary: the same steps, of which the promotion is done already. */
  async #takeOver(id: string, to: string, reason: string): Promise<void> {
    if (this.#busy.has(id)) return;
    const cause = { reason, forced: false, to, replaceLiving: true };
    await this.#occupy(id, this.#failOver(this.#parts.switcher.group(id), cause));
  }

  /** A person says that the primary which was started again is right, whatever its replicas hold. */
  async #keepPrimary(group: TopologyGroup, force: boolean): Promise<FailoverAnswer> {
    const { addr } = primaryOf(group);
    const seen = observationOf(this.#parts.health.observations, addr);
    if (seen.state !== "up" || isTrustedPrimary(group, seen))
      throw new ShoalError(
        "CONFLICT",
        `Cannot switch group ${group.id} to ${addr}: it is its primary already`,
      );
    if (!force) {
      const why = "what its replicas hold would be replaced; --force says that it may";
      throw new ShoalError("CONFLICT", `Cannot keep ${addr} as primary of group ${group.id}: ${why}`);
    }
    await this.#trust(group, seen, "forced");
    const none = { durationMs: 0, heldMs: null, lostBytesMax: null };
    return { group: group.id, kind: "failover", from: addr, to: addr, ...none };
  }

  #turn(): void {
    const { state } = this.#parts;
    const { topology } = state;
    if (!state.leading || topology === null) {
      this.#leadingSinceMs = null;
      this.#problems.clear();
      this.#protected.clear();
      return;
    }
    this.#leadingSinceMs ??= this.#env.clock.nowMs();
    // Sentinels have a mind of their own.
    if (this.#parts.sentinels === null) this.#safeMode.judge(topology.groups);
    for (const id of this.#problems.keys()) {
      if (!topology.groups.some((group) => group.id === id)) this.#problems.delete(id);
    }
    for (const group of topology.groups) {
      this.#noteProtected(group);
      if (this.#busy.has(group.id) || this.#env.clock.nowMs() < (this.#retryAtMs.get(group.id) ?? 0))
        continue;
      if (group.switch === undefined) this.#judge(group);
      else this.#begin(group, () => this.#finish(group));
      const [stopped] = writesToResume(group, this.#parts.health.observations);
      if (stopped !== undefined && group.switch === undefined && !this.#busy.has(group.id))
        this.#begin(group, () => resumeWrites(this.#parts, group.id, stopped));
    }
  }

  #judge(group: TopologyGroup): void {
    const { observers, health, sentinels } = this.#parts;
    const { addr } = primaryOf(group);
    const seen = observationOf(health.observations, addr);
    // What they have done comes by takeOver; nothing is to be judged about the one that they have replaced.
    if (sentinels?.haveReplaced(group) === true) return;
    if (seen.state === "up" && seen.role === "primary" && !isTrustedPrimary(group, seen)) {
      this.#judgeRestarted(group);
      return;
    }
    if (seen.state !== "down" || this.#inGrace()) {
      if (seen.state === "up") this.#problems.delete(group.id);
      return;
    }
    if (sentinels !== null) return;
    const who = `${addr} of group ${group.id}`;
    const votes = observers.votesOn(addr);
    const { agreed, down, needed, voices, counted } = agreeOnDown(votes, this.#options.quorum);
    const advice = `\`shoal failover ${group.id} --force\` promotes all the same`;
    if (!this.#options.automatic) {
      this.#refuse(group, `${who} is down, and failover is manual: ${advice}`);
    } else if (!agreed) {
      const count = `${down} of ${voices} ${counted} see it so, ${needed} are needed`;
      this.#refuse(
        group,
        `${addr} of group ${group.id} is down for this controller, but ${count}: ${advice}`,
      );
    } else if (proxiesReach(votes)) {
      const proxies = votes.filter((vote) => vote.kind === "proxy" && vote.view === "up");
      const names = proxies.map((vote) => vote.observer).join(", ");
      const what = `is down for the controllers, but proxies still reach it (${names})`;
      this.#refuse(group, `${who} ${what}: look at the network; ${advice}`);
    } else if (this.#safeMode.reasons.length > 0) {
      this.#refuse(group, `${who} is down, and safe mode keeps it so: ${advice}`);
    } else if (this.#safeMode.surveyed(this.#parts.state.topology?.groups ?? [])) {
      // The look that failed names the server, and so does the event.
      const silence = seen.reason.replace(/^Cannot send \S+ to \S+: (?:not sent: )?/, "");
      const reason = `it does not answer: ${silence} (${down} of ${voices} ${counted} agree)`;
      this.#begin(group, () => this.#failOver(group, { reason, forced: false, replaceLiving: false }));
    }
  }

  /**
   * Another process answers at the primary's address: what it has read from its files may be old, or
   * nothing.
   */
  #judgeRestarted(group: TopologyGroup): void {
    const { state, health } = this.#parts;
    const { addr } = primaryOf(group);
    const seen = observationOf(health.observations, addr);
    if (seen.state !== "up") return;
    const verdict = judgeRestart(group, seen, health.observations, acksOf(state.topology?.options["acks"]));
    if (verdict.action === "wait") {
      if (verdict.why !== null) this.#refuse(group, `group ${group.id}: ${verdict.why}`);
    } else if (verdict.action === "trust") {
      this.#begin(group, () => this.#trust(group, seen, "no replica has more"));
    } else if (!this.#options.automatic) {
      this.#keepByHand(group, seen);
    } else {
      const reason = `${addr} was started again: what it has read may be older than what its replicas hold`;
      this.#parts.events.add("primary-restarted", { group: group.id, primary: addr, keys: seen.keys });
      this.#begin(group, async () => {
        const to = await this.#parts.sentinels?.replace(group);
        await this.#failOver(group, { reason, forced: false, to, replaceLiving: true });
      });
    }
  }

  /** Who wants no failover wants a restart to be one; but an empty primary is never what anybody wants. */
  #keepByHand(group: TopologyGroup, seen: UpObservation): void {
    if (seen.keys > 0 && !seen.loading) {
      this.#begin(group, () => this.#trust(group, seen, "failover is manual"));
      return;
    }
    const { id } = group;
    const { addr } = primaryOf(group);
    const what = `${addr} of group ${id} came back ${seen.loading ? "and is loading" : "empty"}`;
    const advice = `\`shoal failover ${id} --force\` promotes a replica, --to ${addr} --force keeps it`;
    this.#refuse(group, `${what}, and failover is manual: ${advice}`);
  }

  async #trust(group: TopologyGroup, { replicationId, runId }: UpObservation, why: string): Promise<void> {
    await this.#parts.state.change({ type: "primary-trusted", group: group.id, id: replicationId, runId });
    this.#problems.delete(group.id);
    this.#parts.events.add("primary-trusted", { group: group.id, primary: primaryOf(group).addr, why });
  }

  /**
   * A switch that somebody has begun and not finished: a leader before us, or we ourselves before an error.
   */
  async #finish(group: TopologyGroup): Promise<void> {
    const { switcher, sentinels } = this.#parts;
    const plan = group.switch;
    if (plan === undefined) return;
    if (plan.kind === "switchover") {
      await finishSwitchover(this.#env, this.#parts, group.id, plan);
      return;
    }
    const seen = await switcher.fresh([plan.from, plan.to]);
    const living = observationOf(seen, plan.from);
    const to = observationOf(seen, plan.to);
    const promoted = to.state === "up" && to.role === "primary";
    const restarted = living.state === "up" && !isTrustedPrimary(group, living);
    const forced = plan.forced === true;
    if (sentinels !== null && !promoted && (await sentinels.watchOver(group))) {
      // It was theirs, and the one that they had made is gone: so they make another one.
      await switcher.abandon(group.id);
      return;
    }
    const replaceLiving = restarted || forced || sentinels !== null;
    const cause = { reason: plan.reason, forced, replaceLiving };
    await this.#failOver(group, { ...cause, ...(forced ? { to: plan.to } : {}) });
  }

  async #failOver(group: TopologyGroup, cause: Cause): Promise<SwitchRecord> {
    const { switcher, news, state } = this.#parts;
    const startedMs = this.#env.clock.nowMs();
    const last = this.#last.get(primaryOf(group).addr) ?? null;
    const acks = state.topology?.options["acks"];
    // Sentinels don't cut replicas off first: another one may have confirmed writes of the old primary.
    const everyCopyHasIt = this.#parts.sentinels === null || acksOf(acks) >= group.servers.length - 1;
    const acknowledgedLost = acksAll(acks) && !cause.forced && everyCopyHasIt ? 0 : null;
    const record = await switcher.failOver(group.id, { ...cause, acknowledgedLost }, last);
    this.#problems.delete(group.id);
    news.done(record, { durationMs: Math.round(this.#env.clock.nowMs() - startedMs) });
    return record;
  }

  /** Runs `work` as the one thing that happens to the group. */
  #begin(group: TopologyGroup, work: () => Promise<unknown>): void {
    const { id } = group;
    this.#occupy(id, work()).catch((error) => {
      this.#retryAtMs.set(id, this.#env.clock.nowMs() + RETRY_MS);
      const refused = errorCodeOf(error) === "CONFLICT";
      const advice = `\`shoal failover ${id} --to ADDRESS --force\` overrules it`;
      const hopeless = group.servers.length === 1;
      const text = errorTextOf(error);
      if (!this.#parts.state.leading) this.#env.log.warn("switch-failed", { group: id, reason: text });
      else
        this.#refuse(group, refused && !hopeless && !text.endsWith("is back") ? `${text}: ${advice}` : text);
    });
  }

  #occupy<Value>(id: string, work: Promise<Value>): Promise<Value> {
    const done = work.finally(() => this.#busy.delete(id));
    this.#busy.set(id, done);
    return done;
  }

  /** An event when it begins to be so, not at every turn. */
  #refuse(group: TopologyGroup, problem: string): void {
    if (this.#problems.get(group.id) === problem) return;
    this.#problems.set(group.id, problem);
    this.#parts.events.add("failover-refused", { group: group.id, reason: problem });
  }

  #inGrace(): boolean {
    return this.#env.clock.nowMs() - (this.#leadingSinceMs ?? 0) < GRACE_MS;
  }

  /** Groups without a replica at all are none that could lose their protection. */
  #noteProtected(group: TopologyGroup): void {
    const now = groupProtected(group, this.#parts.health.observations);
    const before = this.#protected.get(group.id);
    this.#protected.set(group.id, now);
    if (before === undefined || before === now) return;
    this.#parts.events.add(now ? "group-protected" : "group-unprotected", { group: group.id });
  }

  /** The primaries as they are while they are trusted: a dead one can't be asked any more. */
  #remember(): void {
    const { state, health } = this.#parts;
    for (const group of state.topology?.groups ?? []) {
      const { addr } = primaryOf(group);
      const seen = observationOf(health.observations, addr);
      if (seen.state !== "up" || !isTrustedPrimary(group, seen) || this.#last.get(addr)?.seen === seen)
        continue;
      this.#last.set(addr, { seen, atMs: this.#env.clock.wallMs() });
    }
  }
}
