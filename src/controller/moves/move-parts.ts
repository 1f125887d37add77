/** What the parts of the mover share: who they are handed, and how they wait. */
import { ShoalError } from "../../base/shoal-error.ts";
import type { RedisEnv, ServerConnectionOptions } from "../../redis/server-connection.ts";
import { parseAcks, strictest } from "../../topology/acks-rule.ts";
import { type ClusterTopology, primaryOf } from "../../topology/cluster-topology.ts";
import { observationOf } from "../../topology/group-health.ts";
import type { ClusterState } from "../cluster-state.ts";
import type { EventLog } from "../events.ts";
import type { Health } from "../health.ts";
import type { ProxyLogins } from "../logins/proxy-logins.ts";
import type { ProxyRegistry } from "../proxy-registry.ts";

export interface MoveOptions {
  /** How long slots may be locked for the proxies to acknowledge it. */
  readonly lockTimeoutMs: number;
  /** A call of MIGRATE shall take no longer; a key that alone does is moved alone. */
  readonly callMs: number;
  /** A key that would block its servers for longer is not moved, unless that is forced. */
  readonly blockLimitMs: number;
  /** While the 99th percentile of the source's latency is over it, keys are moved more slowly. */
  readonly latencyBoundMs: number;
  /** For connecting to a server, and for each short command. */
  readonly serverTimeoutMs: number;
  readonly credentials: ServerConnectionOptions["credentials"];
}

export interface MoveParts {
  readonly env: RedisEnv;
  readonly state: ClusterState;
  readonly health: Health;
  readonly events: EventLog;
  readonly proxies: ProxyRegistry;
  readonly logins: ProxyLogins;
  readonly options: MoveOptions;
}

/** @throws ShoalError CONFLICT while there is no cluster */
export function topologyOf(parts: MoveParts): ClusterTopology {
  const { topology } = parts.state;
  if (topology === null) throw new ShoalError("CONFLICT", "Cannot move slots: there is no cluster yet");
  return topology;
}

/** "host:port" of the group's primary by the newest topology. @throws ShoalError NOT_FOUND */
export function primaryAddr(parts: MoveParts, groupId: string): string {
  const group = topologyOf(parts).groups.find(({ id }) => id === groupId);
  if (group === undefined)
    throw new ShoalError("NOT_FOUND", `Cannot move slots: there is no group ${groupId}`);
  return primaryOf(group).addr;
}

/** Why nothing may be moved from or to the group now, or null. */
export function hindrance(parts: MoveParts, groupId: string): string | null {
  const addr = primaryAddr(parts, groupId);
  const held = parts.state.map?.groups.find(({ id }) => id === groupId)?.held === true;
  if (held) return `group ${groupId} is being switched over`;
  const seen = observationOf(parts.health.observations, addr);
  if (seen.state !== "up") return `${addr}, primary of group ${groupId}, does not answer`;
  if (seen.loading) return `${addr}, primary of group ${groupId}, loads its data`;
  return seen.role === "primary" ? null : `${addr} of group ${groupId} is no primary now`;
}

/**
 * How many replicas shall have a moved key before it counts as moved. By the option `acks` of the cluster,
 * whose strictest rule counts, and then it is waited for; without, one if there is any, as far as it keeps
 * up.
 */
export function replicasWanted(parts: MoveParts, groupId: string): { count: number; strict: boolean } {
  const need = strictest(parseAcks(String(parts.state.map?.options["acks"] ?? "async")));
  if (need !== null) return { count: need.replicas, strict: true };
  const seen = observationOf(parts.health.observations, primaryAddr(parts, groupId));
  return { count: seen.state === "up" && seen.attached > 0 ? 1 : 0, strict: false };
}

export function sleep(parts: Pick<MoveParts, "env">, ms: number): Promise<void> {
  return new Promise((resolve) => void parts.env.timers.after(ms, resolve));
}
