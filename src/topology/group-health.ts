/**
 * How servers and groups are doing, judged from what was observed. Pure: what is a fault and what is not is
 * decided here, once, for status, metrics and the repairs alike.
 */
import type { GroupState } from "./cluster-map.ts";
import { type TopologyGroup, type TopologyServer, primaryOf, replicasOf } from "./cluster-topology.ts";

/** What was last seen of a server. */
export type ServerObservation =
  | { readonly state: "unknown" }
  /**
   * suspect: it has not answered, but not yet for `down_after_ms`. `sinceMs`: its last answer, by the
   * monotonic clock.
   */
  | { readonly state: "suspect" | "down"; readonly reason: string; readonly sinceMs: number }
  | {
      readonly state: "up";
      readonly pid: number;
      readonly runId: string;
      readonly role: "primary" | "replica";
      /** "host:port" that it follows; null for a primary. */
      readonly follows: string | null;
      readonly linkUp: boolean;
      readonly syncing: boolean;
      /** Bytes of the replication stream that it has produced or applied. */
      readonly offset: number;
      /** Of a replica: its primary's. Offsets can be compared only where it is the same. */
      readonly replicationId: string;
      /** Of a replica that was made a primary: the one up to then. */
      readonly replicationIdBefore: string;
      /** The lowest is promoted first, 0 never. */
      readonly priority: number;
      /** Replicas that it counts as online. */
      readonly attached: number;
      readonly loading: boolean;
      /** What it has answered survives the death of its process. */
      readonly appendOnly: boolean;
      /** Over all databases. */
      readonly keys: number;
    };

export type UpObservation = Extract<ServerObservation, { state: "up" }>;

export type Observations = ReadonlyMap<string, ServerObservation>;

/** The words are explained at the contract's replicaStateSchema. */
export type ReplicaHealth =
  | "online"
  | "syncing"
  | "connecting"
  | "unwired"
  | "loading"
  | "suspect"
  | "down"
  | "unknown";

const UNKNOWN: ServerObservation = { state: "unknown" };

export function observationOf(observations: Observations, addr: string): ServerObservation {
  return observations.get(addr) ?? UNKNOWN;
}

/** Whether two addresses mean one server: names of the loopback are the same. */
export function sameAddress(a: string, b: string): boolean {
  return normalise(a) === normalise(b);
}

export function replicaHealth(
  group: TopologyGroup,
  replica: TopologyServer,
  observations: Observations,
): ReplicaHealth {
  const seen = observationOf(observations, replica.addr);
  if (seen.state !== "up") return seen.state;
  if (seen.loading) return "loading";
  if (seen.follows === null || !sameAddress(seen.follows, primaryOf(group).addr)) return "unwired";
  if (seen.syncing) return "syncing";
  return seen.linkUp ? "online" : "connecting";
}

/**
 * Primary's offset minus the replica's, never below zero (they are not read at one moment); null when not
 * known.
 */
export function replicaLagBytes(
  group: TopologyGroup,
  replica: TopologyServer,
  observations: Observations,
): number | null {
  const primary = observationOf(observations, primaryOf(group).addr);
  const seen = observationOf(observations, replica.addr);
  if (primary.state !== "up" || seen.state !== "up") return null;
  if (replicaHealth(group, replica, observations) !== "online") return null;
  return Math.max(0, primary.offset - seen.offset);
}

/**
 * ok and degraded both serve. A primary that is some other server's replica cannot take writes: that is down.
 */
export function groupState(group: TopologyGroup, observations: Observations): GroupState {
  const primary = observationOf(observations, primaryOf(group).addr);
  if (primary.state !== "up") return primary.state;
  if (primary.loading || primary.role !== "primary") return "down";
  const allOnline = replicasOf(group).every(
    (server) => replicaHealth(group, server, observations) === "online",
  );
  return allOnline ? "ok" : "degraded";
}

/**
 * Whether the group would survive the loss of its primary: a replica is in sync with it. "online" alone does
 * not say so, because a replica is online from the moment on at which it begins to catch up.
 */
export function groupProtected(group: TopologyGroup, observations: Observations): boolean {
  return replicasOf(group).some((server) => {
    const synced = group.history !== undefined && server.syncedTo === group.history.id;
    return synced && replicaHealth(group, server, observations) === "online";
  });
}

function normalise(address: string): string {
  return address.replace(/^(localhost|\[?::1\]?):/, "127.0.0.1:");
}
