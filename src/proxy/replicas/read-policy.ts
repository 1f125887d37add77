/** Where a session's reads may go, by the cluster's option and what the client has said itself. Pure. */
import type { ClusterMap } from "../../topology/cluster-map.ts";

/**
 * primary         never a replica
 * replica         never the primary: a read for which no replica is fit waits, then fails
 * prefer-replica  a replica that is fit, else the primary
 * nearest         whoever is fit and near: the proxy's zone first, then the shortest way
 */
export type ReadFrom = "primary" | "replica" | "prefer-replica" | "nearest";

export interface ReadPolicy {
  readonly from: ReadFrom;
  /** A replica that may lack writes of the last so many ms and no older ones is fit; 0: however old it is. */
  readonly maxStalenessMs: number;
}

/** What the map says for all sessions. */
export function readPolicyOf(map: ClusterMap): ReadPolicy {
  const from = String(map.options["read_from"] ?? "primary");
  const known = from === "replica" || from === "prefer-replica" || from === "nearest";
  return {
    from: known ? from : "primary",
    maxStalenessMs: Math.max(0, Number(map.options["max_staleness_ms"] ?? 0) || 0),
  };
}

/**
 * A session's own: READONLY asks for replicas where the cluster does not use them by itself, READWRITE for
 * the primary.
 */
export function effectivePolicy(cluster: ReadPolicy, said: "readonly" | "readwrite" | null): ReadPolicy {
  if (said === "readwrite") return { ...cluster, from: "primary" };
  if (said === "readonly" && cluster.from === "primary") return { ...cluster, from: "prefer-replica" };
  return cluster;
}
