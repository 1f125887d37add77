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
import { type FleetView, agreeOnDown, proxiesReach, safeModeReasons } from "../../topology/agreement.ts";
import { type SwitchRecord, type TopologyGroup, primaryOf } from "../../topology/cluster-topology.ts";
import { type UpObservation, groupProtected, observationOf } from "../../topology/group-health.ts";
import { acksOf, isTrustedPrimary, judgeRestart } from "../../topology/promotion.ts";
import type { ClusterState } from "../cluster-state.ts";
import type { EventLog } from "../events.ts";
import type { Health } from "../health.ts";
import type { ProxyRegistry } from "../proxy-registry.ts";
import type { Service } from "../service.ts";
import type { Observers } from "./observers.ts";
import type { FailoverCause, LastSeen, Switcher } from "./switcher.ts";
import { switchOver } from "./switchover.ts";

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
  /** See {@link FleetView}. */
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
}

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
  #safeMode: readonly string[] = [];
  #leadingSinceMs: number | null = null;
  #timer: Timer | null = null;

  constructor(env: Pick<Env, "clock" | "timers" | "log">, parts: FailoverParts, options: FailoverOptions) {
    this.#env = env;
    this.#parts = parts;
    this.#options = options;
    parts.health.onObserved(() => this.#remember());
  }

  async run(): Promise<void> {
    for (const record of this.#parts.state.topology?.switches ?? []) this.#recall(record);
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
    return [...this.#problems.values()];
  }

  get safeMode(): readonly string[] {
    if (this.#parts.state.leading) return this.#safeMode;
    const { leader } = this.#parts.state;
    return leader === null ? ["no controller leads, so nobody replaces a primary: look at the store"] : [];
  }

  /** What `shoal failover` asks for. @throws ShoalError NOT_LEADER, NOT_FOUND, CONFLICT */
  async switchGroup(id: string, { to, force = false }: FailoverBody): Promise<FailoverAnswer> {
    const { state, switcher, health } = this.#parts;
    if (!state.leading)
      throw new ShoalError("NOT_LEADER", `Cannot switch group ${id}: this controller follows`);
    const group = switcher.group(id);
    if (this.#busy.has(id) || group.switch !== undefined)
      throw new ShoalError("CONFLICT", `Cannot switch group ${id}: a switch of it is under way`);
    const from = primaryOf(group).addr;
    const startedMs = this.#env.clock.nowMs();
    const work = async (): Promise<FailoverAnswer> => {
      await switcher.fresh([from]);
      const seen = observationOf(health.observations, from);
      const trusted = seen.state === "up" && isTrustedPrimary(group, seen);
      if (to === from) return this.#keepPrimary(group, force);
      let heldMs: number | null = null;
      let record: SwitchRecord;
      if (trusted || !force) {
        ({ record, heldMs } = await switchOver(this.#env, this.#parts, id, to));
      } else {
        const cause = { reason: "forced", forced: true, to, replaceLiving: true };
        record = await this.#failOver(group, cause);
      }
      const durationMs = Math.round(this.#env.clock.nowMs() - startedMs);
      const { kind, lostBytesMax } = record;
      return { group: id, kind, from, to: record.to, durationMs, heldMs, lostBytesMax };
    };
    return this.#occupy(id, work());
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
    this.#noteSafeMode(this.#fleetReasons(topology.groups));
    for (const id of this.#problems.keys()) {
      if (!topology.groups.some((group) => group.id === id)) this.#problems.delete(id);
    }
    for (const group of topology.groups) {
      this.#noteProtected(group);
      if (this.#busy.has(group.id) || this.#env.clock.nowMs() < (this.#retryAtMs.get(group.id) ?? 0))
        continue;
      if (group.switch === undefined) this.#judge(group);
      else this.#begin(group, () => this.#finish(group));
    }
  }

  #judge(group: TopologyGroup): void {
    const { observers, health } = this.#parts;
    const { addr } = primaryOf(group);
    const seen = observationOf(health.observations, addr);
    if (seen.state === "up" && seen.role === "primary" && !isTrustedPrimary(group, seen)) {
      this.#judgeRestarted(group);
      return;
    }
    if (seen.state !== "down" || this.#inGrace()) {
      if (seen.state === "up") this.#problems.delete(group.id);
      return;
    }
    const who = `${addr} of group ${group.id}`;
    const votes = observers.votesOn(addr);
    const { agreed, down, needed, observers: total } = agreeOnDown(votes, this.#options.quorum);
    const advice = `\`shoal failover ${group.id} --force\` promotes all the same`;
    if (!this.#options.automatic) {
      this.#refuse(group, `${who} is down, and failover is manual: ${advice}`);
    } else if (!agreed) {
      const count = `${down} of ${total} observers see it so, ${needed} are needed`;
      this.#refuse(
        group,
        `${addr} of group ${group.id} is down for this controller, but ${count}: ${advice}`,
      );
    } else if (proxiesReach(votes)) {
      const proxies = votes.filter((vote) => vote.kind === "proxy" && vote.view === "up");
      const names = proxies.map((vote) => vote.observer).join(", ");
      const what = `is down for the controllers, but proxies still reach it (${names})`;
      this.#refuse(group, `${who} ${what}: look at the network; ${advice}`);
    } else if (this.#safeMode.length > 0) {
      this.#refuse(group, `${who} is down, and safe mode keeps it so: ${advice}`);
    } else {
      // The look that failed names the server, and so does the event.
      const silence = seen.reason.replace(/^Cannot send \S+ to \S+: (?:not sent: )?/, "");
      const reason = `it does not answer: ${silence} (${down} of ${total} observers agree)`;
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
      this.#begin(group, () => this.#failOver(group, { reason, forced: false, replaceLiving: true }));
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
    const { switcher, events } = this.#parts;
    const plan = group.switch;
    if (plan === undefined) return;
    const seen = await switcher.fresh(group.servers.map((server) => server.addr));
    const to = observationOf(seen, plan.to);
    const promoted = to.state === "up" && to.role === "primary";
    if (plan.kind === "switchover") {
      if (promoted) {
        await switcher.promote(group.id, plan, { to: plan.to, offset: to.offset, inSync: [], refusals: [] });
        events.add("switchover-done", { group: group.id, from: plan.from, to: plan.to, lostBytesMax: 0 });
      } else if (to.state === "up" || switcher.isBack(group)) {
        await switcher.abandon(group.id);
        events.add("switchover-ended", { group: group.id, to: plan.to, reason: "it was interrupted" });
      }
      return;
    }
    const living = observationOf(seen, plan.from);
    const restarted = living.state === "up" && !isTrustedPrimary(group, living);
    const forced = plan.forced === true;
    const cause = { reason: plan.reason, forced, replaceLiving: restarted || forced };
    await this.#failOver(group, { ...cause, ...(forced ? { to: plan.to } : {}) });
  }

  async #failOver(group: TopologyGroup, cause: FailoverCause): Promise<SwitchRecord> {
    const { switcher, events, state, id } = this.#parts;
    const startedMs = this.#env.clock.nowMs();
    const last = this.#last.get(primaryOf(group).addr) ?? null;
    const record = await switcher.failOver(group.id, cause, last);
    const { from, to, lostBytesMax, reason, endedAtMs } = record;
    this.#problems.delete(group.id);
    const acks = acksOf(state.topology?.options["acks"]);
    events.add("failover-done", {
      group: group.id,
      from,
      to,
      controller: id,
      reason,
      durationMs: Math.round(this.#env.clock.nowMs() - startedMs),
      silentMs: last === null ? null : Math.round(endedAtMs - last.atMs),
      lostBytesMax,
      acknowledgedLost: acks > 0 && !cause.forced ? 0 : null,
    });
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

  #fleetReasons(groups: readonly TopologyGroup[]): string[] {
    const { health, proxies } = this.#parts;
    const states = groups.map((group) => observationOf(health.observations, primaryOf(group).addr).state);
    // A moment of silence everywhere is no reason to alarm anybody.
    if (!states.includes("down")) return [];
    const silent = states.filter((state) => state === "down" || state === "suspect");
    const all = proxies.all();
    const fleet: FleetView = {
      groups: groups.length,
      silentGroups: silent.length,
      safeModeGroups: this.#options.safeModeGroups,
      proxiesServing: all.filter((proxy) => proxy.state === "serving").length,
      proxiesLost: all.filter((proxy) => proxy.state === "lost").length,
    };
    return safeModeReasons(fleet);
  }

  #noteSafeMode(reasons: readonly string[]): void {
    const before = this.#safeMode;
    this.#safeMode = reasons;
    if (before.length === 0 && reasons.length > 0) {
      this.#parts.events.add("safe-mode", { reason: reasons.join("; ") });
    } else if (before.length > 0 && reasons.length === 0) {
      this.#parts.events.add("safe-mode-over");
    }
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

  /** Switches of the time before this process are events too. */
  #recall({ kind, group, from, to, reason, endedAtMs, startedAtMs, lostBytesMax }: SwitchRecord): void {
    const durationMs = endedAtMs - startedAtMs;
    const fields = { group, from, to, reason, durationMs, lostBytesMax };
    this.#parts.events.recall(endedAtMs, kind === "failover" ? "failover-done" : "switchover-done", fields);
  }
}
