/**
 * A planned switch: nothing is lost, nobody gets an error, requests of the group wait for a moment.
 *
 *   refuse? ──▶ STORE switch-begun (the map says `held`) ──▶ proxies drain and acknowledge, up to HOLD_ACK_MS
 *     ──▶ the primary refuses writes ──▶ replica has its offset ──▶ REPLICAOF NO ONE ──▶ STORE promoted
 *     ──▶ map, proxies go on ──▶ the old primary follows ──▶ it may write again (and answers READONLY)
 *
 * Until the outcome is stored everything is taken back when it takes too long or fails: nobody has been told
 * of another primary, so the one that is stays, and what the replica has become is undone by the reconciler.
 * The writes are stopped at the primary itself, not only at the proxies: one that does not acknowledge (dead,
 * frozen, cut off) would otherwise write between the comparison of the offsets and the switch (loss mode L3).
 * They go on when the switch is given up in the store, never before. Rejected: the server's own FAILOVER. It
 * does the same, but only since 6.2, makes other replicas follow the old primary in a chain, and tells of its
 * outcome by INFO only.
 */
import { ShoalError, errorTextOf } from "../../base/shoal-error.ts";
import type { Env } from "../../env/env.ts";
import { pause } from "../../env/time-limit.ts";
import type { RedisServer } from "../../redis/redis-server.ts";
import {
  type GroupSwitch,
  type SwitchRecord,
  type TopologyGroup,
  primaryOf,
  replicasOf,
} from "../../topology/cluster-topology.ts";
import {
  type Observations,
  type UpObservation,
  observationOf,
  replicaHealth,
  replicaLagBytes,
} from "../../topology/group-health.ts";
import { chooseSuccessor } from "../../topology/promotion.ts";
import type { ClusterState } from "../cluster-state.ts";
import type { EventLog } from "../events.ts";
import type { ProxyRegistry } from "../proxy-registry.ts";
import { resumeWrites, stillStopped, stopWrites } from "./stopped-writes.ts";
import type { SwitchNews } from "./switch-news.ts";
import { type LastSeen, type Switcher, notTheChosen } from "./switcher.ts";

/**
 * Proxies that have not acknowledged the hold by then are not waited for: the primary refuses writes by
 * itself.
 */
export const HOLD_ACK_MS = 150;

/** A replica that has not caught up by then ends the switchover. */
export const CATCH_UP_MS = 1000;

/** A replica that is further behind is not even tried. */
export const LAG_BYTES_MAX = 1 << 20;

const POLL_MS = 2;

/** What a switchover came to. */
export interface SwitchoverOutcome {
  readonly record: SwitchRecord;
  /** How long the group's requests were held. */
  readonly heldMs: number;
}

/** What somebody wants. */
export interface SwitchoverOrder {
  /** Undefined: the best one. */
  readonly to: string | undefined;
  /** With who it was, as far as that is known. */
  readonly reason: string;
}

export interface SwitchoverParts {
  readonly id: string;
  readonly news: SwitchNews;
  readonly state: ClusterState;
  readonly events: EventLog;
  readonly proxies: ProxyRegistry;
  readonly switcher: Switcher;
}

/** @throws ShoalError CONFLICT in words; the primary stays then, unless the message says otherwise */
export async function switchOver(
  env: Pick<Env, "clock" | "timers" | "log">,
  parts: SwitchoverParts,
  id: string,
  { to, reason }: SwitchoverOrder,
): Promise<SwitchoverOutcome> {
  const { state, events, switcher, news } = parts;
  const group = switcher.group(id);
  const from = primaryOf(group).addr;
  const seen = await switcher.fresh(group.servers.map((server) => server.addr));
  const chosen = chooseForSwitchover(group, seen, to);
  const last: LastSeen = { seen: seen.get(from) as UpObservation, atMs: env.clock.wallMs() };
  const intent = { kind: "switchover", to: chosen, toRunId: runIdOf(seen, chosen), reason } as const;
  const plan = switcher.planFor(group, intent, last);
  const primary = switcher.server(from);
  const heldFromMs = env.clock.nowMs();
  const sinceHeldMs = (): number => Math.round(env.clock.nowMs() - heldFromMs);
  try {
    await state.change({ type: "switch-begun", group: id, plan });
    events.add("switchover-begun", { group: id, from, to: chosen, controller: parts.id, reason });
    await Promise.all([holdAcknowledged(env, parts), switcher.admit(chosen, plan.link)]);
    const acknowledgedMs = sinceHeldMs();
    const stoppedUntilMs = await stopWrites(env, parts, primary);
    const offset = await caughtUp(env, primary, switcher.server(chosen), id);
    const caughtUpMs = sinceHeldMs();
    stillStopped(env, id, stoppedUntilMs);
    const taken = await switcher.takeOver(id, plan);
    stillStopped(env, id, stoppedUntilMs);
    // Nothing more is written to it, so what the replica has is everything.
    const settled = { ...plan, fromOffset: offset };
    const others = replicasOf(group).filter((server) => server.addr !== chosen);
    const inSync = others.filter(({ addr }) => sameOffset(seen, addr, offset)).map(({ addr }) => addr);
    const choice = { to: chosen, offset, inSync: [...inSync, from], refusals: [] };
    const record = await switcher.conclude(id, settled, choice, { taken, acknowledgedLost: 0 });
    const heldMs = sinceHeldMs();
    const times = { heldMs, acknowledgedMs, caughtUpMs };
    news.done(record, times);
    // Not before it follows, or a proxy that has missed everything could write to it.
    void followThenResume(env, parts, id, from, chosen);
    return { record, heldMs };
  } catch (error) {
    await giveUp(env, parts, id, plan, errorTextOf(error)).catch((second) => {
      env.log.warn("switchover-not-taken-back", { group: id, reason: errorTextOf(second) });
    });
    throw error;
  }
}

/**
 * A switchover that somebody has begun: a leader before us, or we ourselves before an error. Finished only
 * when the replica has taken over, as the process that was chosen, and the primary was not written to since
 * then; its pause may be over. Otherwise given up: nobody has been told of another primary, so the one that
 * is has everything; and if it does not answer, or was started again, that is judged like any such primary.
 * @throws ShoalError when the store does not take it
 */
export async function finishSwitchover(
  env: Pick<Env, "clock" | "timers" | "log">,
  parts: SwitchoverParts,
  id: string,
  plan: GroupSwitch,
): Promise<void> {
  const { news, switcher } = parts;
  const { from, to } = plan;
  let why = "it was interrupted";
  try {
    const seen = await switcher.fresh([from, to]);
    const group = switcher.group(id);
    if (switcher.isBack(group) && notTheChosen(group, plan, observationOf(seen, to)) === null) {
      const primary = switcher.server(from);
      const stoppedUntilMs = await stopWrites(env, parts, primary);
      const [old, next] = await Promise.all([primary.info(), switcher.server(to).info()]);
      const same = old.replicationId === next.replicationIdBefore && old.offset === next.offsetBefore;
      if (same) {
        await switcher.admit(to, plan.link);
        const taken = await switcher.takeOver(id, plan);
        stillStopped(env, id, stoppedUntilMs);
        const choice = { to, offset: old.offset, inSync: [from], refusals: [] };
        const settled = { ...plan, fromOffset: old.offset };
        news.done(await switcher.conclude(id, settled, choice, { taken, acknowledgedLost: 0 }));
        void followThenResume(env, parts, id, from, to);
        return;
      }
      why += `, and ${from} has gone on since ${to} took over`;
    }
  } catch (error) {
    why += `: ${errorTextOf(error)}`;
  }
  await giveUp(env, parts, id, plan, why);
}

/** Why a replica cannot take over as planned is said of the one that was named, or of all. */
function chooseForSwitchover(group: TopologyGroup, seen: Observations, to: string | undefined): string {
  const fail = (why: string): never => {
    throw new ShoalError("CONFLICT", `Cannot switch group ${group.id} over: ${why}`);
  };
  if (to !== undefined && !replicasOf(group).some((server) => server.addr === to)) {
    fail(
      `${to} is none of its replicas (${
        replicasOf(group)
          .map((one) => one.addr)
          .join(", ") || "it has none"
      })`,
    );
  }
  if (observationOf(seen, primaryOf(group).addr).state !== "up") {
    fail(
      `its primary ${primaryOf(group).addr} does not answer; --force has a replica take over all the same`,
    );
  }
  const choice = chooseSuccessor(group, seen, { acks: 0, to });
  if (choice.to === null) {
    const all = choice.refusals.filter(({ addr }) => to === undefined || addr === to);
    return fail(all.map(({ addr, reason }) => `${addr} ${reason}`).join("; ") || "it has no replica");
  }
  const server = group.servers.find((one) => one.addr === choice.to) as TopologyGroup["servers"][number];
  const health = replicaHealth(group, server, seen);
  if (health !== "online") return fail(`${choice.to} is ${health}, not in sync`);
  const lag = replicaLagBytes(group, server, seen) ?? 0;
  if (lag > LAG_BYTES_MAX)
    return fail(`${choice.to} is ${lag} bytes behind (at most ${LAG_BYTES_MAX} are waited for)`);
  return choice.to;
}

/** Every proxy that serves has drained the group, or the time is up. */
async function holdAcknowledged(
  env: Pick<Env, "clock" | "timers" | "log">,
  { state, proxies }: SwitchoverParts,
): Promise<void> {
  const version = state.map?.version ?? 0;
  const untilMs = env.clock.nowMs() + HOLD_ACK_MS;
  const missing = (): string[] => {
    const serving = proxies.all().filter((proxy) => proxy.state === "serving");
    return serving.filter(({ report }) => (report.map?.version ?? 0) < version).map((proxy) => proxy.id);
  };
  while (missing().length > 0 && env.clock.nowMs() < untilMs) await pause(env.timers, POLL_MS);
  if (missing().length > 0) env.log.warn("hold-not-acknowledged", { proxies: missing().join(" ") });
}

/** Waits until the replica has everything; the offset comes back. @throws ShoalError CONFLICT */
async function caughtUp(
  env: Pick<Env, "clock" | "timers">,
  primary: RedisServer,
  replica: RedisServer,
  id: string,
): Promise<number> {
  const untilMs = env.clock.nowMs() + CATCH_UP_MS;
  let behind = 0;
  do {
    const [wanted, has] = await Promise.all([primary.role(), replica.role()]);
    behind = wanted.offset - has.offset;
    if (behind === 0) return has.offset;
    await pause(env.timers, POLL_MS);
  } while (env.clock.nowMs() < untilMs);
  const why = `${replica.address} is still ${behind} bytes behind after ${CATCH_UP_MS} ms`;
  throw new ShoalError("CONFLICT", `Cannot switch group ${id} over: ${why}; the primary stays`);
}

function sameOffset(seen: Observations, addr: string, offset: number): boolean {
  const one = observationOf(seen, addr);
  return one.state === "up" && one.offset === offset;
}

function runIdOf(seen: Observations, addr: string): string | undefined {
  const one = observationOf(seen, addr);
  return one.state === "up" ? one.runId : undefined;
}

async function followThenResume(
  env: Pick<Env, "log">,
  parts: SwitchoverParts,
  id: string,
  from: string,
  to: string,
): Promise<void> {
  try {
    if (await parts.switcher.follow(id, from, to)) await resumeWrites(parts, id, from);
  } catch (error) {
    // The reconciler makes it follow; a pause ends by itself, and a setting is undone as one left behind.
    env.log.warn("wiring-failed", { server: from, primary: to, reason: errorTextOf(error) });
  }
}

/**
 * Gives a switchover up whose outcome is not stored, however far it has come. Where the store does not take
 * that, it may hold the outcome after all, so the primary's writes stay stopped: the switch is found
 * unfinished again, by us or by another leader. @throws ShoalError
 */
async function giveUp(
  env: Pick<Env, "log">,
  parts: SwitchoverParts,
  id: string,
  { from, to }: GroupSwitch,
  reason: string,
): Promise<void> {
  await parts.switcher.abandon(id);
  parts.events.add("switchover-ended", { group: id, to, reason });
  try {
    await resumeWrites(parts, id, from);
  } catch (error) {
    env.log.warn("writes-not-resumed", { server: from, reason: errorTextOf(error) });
  }
}
