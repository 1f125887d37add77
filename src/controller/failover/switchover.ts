/**
 * A planned switch: nothing is lost, nobody gets an error, requests of the group wait for a moment.
 *
 *   refuse? ──▶ STORE switch-begun (the map says `held`) ──▶ proxies drain and acknowledge, up to HOLD_ACK_MS
 *     ──▶ the primary refuses writes ──▶ replica has its offset ──▶ Switcher.promote ──▶ map, proxies go on
 *     ──▶ the old primary follows ──▶ it may write again (and answers READONLY)
 *
 * Until REPLICAOF NO ONE everything is taken back when it takes too long. The writes are stopped at the
 * primary itself, not only at the proxies: one that does not acknowledge (dead, frozen, cut off) would
 * otherwise write between the comparison of the offsets and the switch (loss mode L3). Rejected: the
 * server's own FAILOVER. It does the same, but only since 6.2, makes other replicas follow the old primary
 * in a chain, and tells of its outcome by INFO only.
 */
import { ShoalError, errorTextOf } from "../../base/shoal-error.ts";
import type { Env } from "../../env/env.ts";
import { pause } from "../../env/time-limit.ts";
import type { RedisServer } from "../../redis/redis-server.ts";
import {
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
import type { LastSeen, Switcher } from "./switcher.ts";

/**
 * Proxies that have not acknowledged the hold by then are not waited for: the primary refuses writes by
 * itself.
 */
export const HOLD_ACK_MS = 150;

/** A replica that has not caught up by then ends the switchover. */
export const CATCH_UP_MS = 1000;

/** A replica that is further behind is not even tried. */
export const LAG_BYTES_MAX = 1 << 20;

/** The primary writes again after so long, should we die in the middle. */
const STOP_WRITES_MS = 5000;

const POLL_MS = 2;

/** What a switchover came to. */
export interface SwitchoverOutcome {
  readonly record: SwitchRecord;
  /** How long the group's requests were held. */
  readonly heldMs: number;
}

export interface SwitchoverParts {
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
  to: string | undefined,
): Promise<SwitchoverOutcome> {
  const { state, events, switcher } = parts;
  const group = switcher.group(id);
  const from = primaryOf(group).addr;
  const seen = await switcher.fresh(group.servers.map((server) => server.addr));
  const chosen = chooseForSwitchover(group, seen, to);
  const last: LastSeen = { seen: seen.get(from) as UpObservation, atMs: env.clock.wallMs() };
  const plan = switcher.planFor(group, "switchover", chosen, "asked for", last);
  const primary = switcher.server(from);
  let resumeWrites = async (): Promise<void> => {};
  const heldFromMs = env.clock.nowMs();
  const sinceHeldMs = (): number => Math.round(env.clock.nowMs() - heldFromMs);
  try {
    await state.change({ type: "switch-begun", group: id, plan });
    events.add("switchover-begun", { group: id, from, to: chosen });
    await holdAcknowledged(env, parts);
    const acknowledgedMs = sinceHeldMs();
    resumeWrites = await stopWrites(primary);
    const offset = await caughtUp(env, primary, switcher.server(chosen), id);
    const caughtUpMs = sinceHeldMs();
    // Nothing more is written to it, so what the replica has is everything.
    const settled = { ...plan, fromOffset: offset };
    const others = replicasOf(group).filter((server) => server.addr !== chosen);
    const inSync = others.filter(({ addr }) => sameOffset(seen, addr, offset)).map(({ addr }) => addr);
    const record = await switcher.promote(id, settled, {
      to: chosen,
      offset,
      inSync: [...inSync, from],
      refusals: [],
    });
    const heldMs = sinceHeldMs();
    const times = { heldMs, acknowledgedMs, caughtUpMs };
    events.add("switchover-done", { group: id, from, to: chosen, lostBytesMax: 0, ...times });
    // Not before it follows, or a proxy that has missed everything could write to it.
    void followThenResume(env, switcher, id, from, chosen, resumeWrites);
    return { record, heldMs };
  } catch (error) {
    await takeBack(env, parts, id, chosen, resumeWrites, error);
    throw error;
  }
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

/**
 * The primary takes no writes any more; the way back comes back. Servers before 6.2 know no pause of writes
 * alone, so those answer with an error instead of waiting.
 */
async function stopWrites(primary: RedisServer): Promise<() => Promise<void>> {
  try {
    await primary.command(["CLIENT", "PAUSE", String(STOP_WRITES_MS), "WRITE"]);
    return async () => void (await primary.command(["CLIENT", "UNPAUSE"]));
  } catch (error) {
    if (!(error instanceof ShoalError) || error.code !== "SERVER_REPLY") throw error;
    const name = "min-replicas-to-write";
    const before = (await primary.configGet(name)).get(name) ?? "0";
    await primary.configSet(name, "1000000");
    return () => primary.configSet(name, before);
  }
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

async function followThenResume(
  env: Pick<Env, "log">,
  switcher: Switcher,
  id: string,
  from: string,
  to: string,
  resumeWrites: () => Promise<void>,
): Promise<void> {
  try {
    await switcher.follow(id, from, to);
    await resumeWrites();
  } catch (error) {
    // The reconciler makes it follow, and the pause ends by itself.
    env.log.warn("wiring-failed", { server: from, primary: to, reason: errorTextOf(error) });
  }
}

/**
 * Gives a switchover up that has not come to REPLICAOF NO ONE. Where the replica may have become a primary,
 * the switch stays in the topology and is finished like any that was interrupted.
 */
async function takeBack(
  env: Pick<Env, "log">,
  { events, switcher }: SwitchoverParts,
  id: string,
  to: string,
  resumeWrites: () => Promise<void>,
  error: unknown,
): Promise<void> {
  try {
    const seen = await switcher.fresh([to]);
    const found = observationOf(seen, to);
    if (found.state === "up" && found.role === "replica" && switcher.group(id).switch !== undefined) {
      await switcher.abandon(id);
    }
    await resumeWrites();
  } catch (second) {
    env.log.warn("switchover-not-taken-back", { group: id, reason: errorTextOf(second) });
  }
  events.add("switchover-ended", { group: id, to, reason: errorTextOf(error) });
}
