/**
 * What Sentinel calls a master, made of what a controller knows. Pure.
 *
 *   the cluster ──▶ its name (or `sentinel_name`) ──▶ a living proxy; the other proxies are its "replicas"
 *   each group  ──▶ its id                        ──▶ its primary; its replicas
 *
 * A client of a sharded Redis wants the first one: it reaches every key, and failovers of groups are the
 * proxies' business. The second is for tools that want one server; it reaches that group's share only. A
 * group that has the cluster's name has to do without one of its own.
 */
import { type ClusterTopology, primaryOf, replicasOf } from "../../topology/cluster-topology.ts";
import { type Observations, observationOf, replicaHealth } from "../../topology/group-health.ts";
import { type FleetProxy, pickProxy } from "./pick-proxy.ts";

export interface SentinelReplica {
  readonly addr: string;
  readonly down: boolean;
  readonly linkUp: boolean;
  readonly priority: number;
  /** Bytes of the replication stream; 0 for a proxy. */
  readonly offset: number;
  readonly runId: string;
}

export interface SentinelMaster {
  readonly name: string;
  readonly addr: string;
  readonly runId: string;
  /** It does not answer this controller (s_down). */
  readonly down: boolean;
  /** That it is down has been agreed and is being acted upon (o_down). */
  readonly agreedDown: boolean;
  /** Another one is taking over, planned or not. */
  readonly switching: boolean;
  readonly replicas: readonly SentinelReplica[];
}

/** What the masters are made of. */
export interface MasterSources {
  /** The name that stands for the whole cluster. */
  readonly clusterName: string;
  readonly topology: ClusterTopology | null;
  readonly observations: Observations;
  readonly proxies: readonly FleetProxy[];
}

/** The cluster first, then the groups in their order, as a client at `clientHost` sees them. */
export function mastersFor(sources: MasterSources, clientHost: string): SentinelMaster[] {
  const cluster = clusterMaster(sources, clientHost);
  const groups = groupMasters(sources);
  return cluster === null ? groups : [cluster, ...groups];
}

/** Null while no proxy has ever been seen. */
function clusterMaster({ clusterName, proxies }: MasterSources, clientHost: string): SentinelMaster | null {
  const chosen = pickProxy(proxies, clientHost);
  if (chosen === null) return null;
  const others = proxies.filter((proxy) => {
    return proxy !== chosen && (proxy.state === "serving" || proxy.state === "lost");
  });
  const down = chosen.state !== "serving";
  return {
    name: clusterName,
    addr: chosen.addr,
    runId: runIdOf(chosen.id),
    down,
    agreedDown: down,
    switching: false,
    replicas: others.map(({ id, addr, state }) => {
      const lost = state === "lost";
      return { addr, down: lost, linkUp: !lost, priority: 100, offset: 0, runId: runIdOf(id) };
    }),
  };
}

function groupMasters({ clusterName, topology, observations }: MasterSources): SentinelMaster[] {
  const groups = topology?.groups.filter((group) => group.id !== clusterName) ?? [];
  return groups.map((group) => {
    const { addr } = primaryOf(group);
    const seen = observationOf(observations, addr);
    return {
      name: group.id,
      addr,
      runId: seen.state === "up" ? seen.runId : "",
      down: seen.state === "down",
      agreedDown: group.switch?.kind === "failover",
      switching: group.switch !== undefined,
      replicas: replicasOf(group).map((replica) => {
        const now = observationOf(observations, replica.addr);
        const up = now.state === "up";
        return {
          addr: replica.addr,
          down: now.state === "down",
          linkUp: replicaHealth(group, replica, observations) === "online",
          priority: up ? now.priority : 100,
          offset: up ? now.offset : 0,
          runId: up ? now.runId : "",
        };
      }),
    };
  });
}

/**
 * Sentinels and servers are told apart by 40 hexadecimal digits. These are made of the name, so that every
 * controller says the same, also after a restart.
 */
export function runIdOf(name: string): string {
  let digits = "";
  for (let part = 0; part < 5; part++) {
    let hash = 0x811c9dc5 ^ part;
    for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
    hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
    digits += (hash >>> 0).toString(16).padStart(8, "0");
  }
  return digits;
}
