/**
 * A primary that takes no writes for the moment of a switchover, and how that ends whatever happens.
 *
 *   from 6.2 on   CLIENT PAUSE … WRITE            ends by itself after STOP_WRITES_MS, or by CLIENT UNPAUSE
 *   before that   STORE writes-stopped ──▶ min-replicas-to-write 1000000 ──▶ … ──▶ as it was ──▶ STORE
 *                 writes-resumed                  ends when the leader, or the next one, undoes it
 *
 * Invariant: as long as a switch is decided and not given up in the store, nobody lets the primary write.
 */
import { ShoalError, errorCodeOf } from "../../base/shoal-error.ts";
import type { Env } from "../../env/env.ts";
import type { RedisServer } from "../../redis/redis-server.ts";
import type { TopologyGroup } from "../../topology/cluster-topology.ts";
import { type Observations, observationOf } from "../../topology/group-health.ts";
import type { ClusterState } from "../cluster-state.ts";
import type { Switcher } from "./switcher.ts";

export interface StoppedWritesParts {
  readonly state: ClusterState;
  readonly switcher: Switcher;
}

/**
 * The primary writes again after so long, should we die in the middle. Longer than the lease by default: the
 * next leader shall find it as we have left it.
 */
export const STOP_WRITES_MS = 10_000;

/**
 * So much of that must be left before each step that can't be taken back in an instant: what is still to be
 * done before the old primary follows takes two commands and a write to the store.
 */
export const STOPPED_MS_MIN = 4000;

/** More than any server has: it takes no writes then. */
const REPLICAS_NEVER = "1000000";

/**
 * The primary takes no writes any more; until when, by the monotonic clock, comes back. Servers before 6.2
 * know no pause of writes alone, so those answer with an error instead of waiting, until somebody says that
 * they may go on: what it was before is stored first. @throws ShoalError
 */
export async function stopWrites(
  env: Pick<Env, "clock">,
  { state }: StoppedWritesParts,
  primary: RedisServer,
): Promise<number> {
  // Its pause begins later than this, so it ends later than we think.
  const untilMs = env.clock.nowMs() + STOP_WRITES_MS;
  try {
    await primary.command(["CLIENT", "PAUSE", String(STOP_WRITES_MS), "WRITE"]);
    return untilMs;
  } catch (error) {
    if (errorCodeOf(error) !== "SERVER_REPLY") throw error;
  }
  const name = "min-replicas-to-write";
  const settings = await primary.configGet("min-replicas-*");
  if (settings.get("min-replicas-max-lag") === "0") {
    const why = "it can't pause writes, and min-replicas-max-lag is 0";
    throw new ShoalError("CONFLICT", `Cannot stop the writes of ${primary.address}: ${why}`);
  }
  await state.change({ type: "writes-stopped", addr: primary.address, before: settings.get(name) ?? "0" });
  await primary.configSet(name, REPLICAS_NEVER);
  return Infinity;
}

/**
 * Servers whose writes a switchover has stopped by a setting, and left so: its leader died, or the server did
 * not answer. To be undone where nobody can write what a switch would miss: at the primary, and at a server
 * that follows one.
 */
export function writesToResume(group: TopologyGroup, observations: Observations): string[] {
  const stopped = group.servers.filter(({ addr, role, writesStopped }) => {
    const seen = observationOf(observations, addr);
    return (
      writesStopped !== undefined && seen.state === "up" && (role === "primary" || seen.role === "replica")
    );
  });
  return stopped.map(({ addr }) => addr);
}

/** What {@link stopWrites} has done is undone, whoever did it. @throws ShoalError */
export async function resumeWrites(
  { state, switcher }: StoppedWritesParts,
  id: string,
  addr: string,
): Promise<void> {
  const server = switcher.group(id).servers.find((one) => one.addr === addr);
  if (server === undefined) return;
  if (server.writesStopped !== undefined) {
    await switcher.server(addr).configSet("min-replicas-to-write", server.writesStopped);
    await state.change({ type: "writes-resumed", addr });
    return;
  }
  try {
    await switcher.server(addr).command(["CLIENT", "UNPAUSE"]);
  } catch (error) {
    // It can't pause, so it has not.
    if (errorCodeOf(error) !== "SERVER_REPLY") throw error;
  }
}

/** A pause that is about to end protects nothing any more. @throws ShoalError CONFLICT */
export function stillStopped(env: Pick<Env, "clock">, id: string, untilMs: number): void {
  if (untilMs - env.clock.nowMs() >= STOPPED_MS_MIN) return;
  const why = `it has taken so long that its primary is about to take writes again`;
  throw new ShoalError("CONFLICT", `Cannot switch group ${id} over: ${why}; the primary stays`);
}
