/** `shoal status`, put together from what the parts know. Pure. */
import type { ClusterStatus } from "../contract/schemas.ts";
import type { Member } from "../store/store.ts";
import {
  type ClusterTopology,
  type TopologyGroup,
  primaryOf,
  replicasOf,
} from "../topology/cluster-topology.ts";
import {
  type Observations,
  groupProtected,
  groupState,
  observationOf,
  replicaHealth,
  replicaLagBytes,
} from "../topology/group-health.ts";
import type { WiringProblem } from "../topology/wire-replicas.ts";
import type { KnownProxy } from "./proxy-registry.ts";

export interface StatusParts {
  readonly topology: ClusterTopology;
  readonly leaderId: string | null;
  readonly members: readonly Member[];
  readonly proxies: readonly KnownProxy[];
  readonly observations: Observations;
  readonly problems: readonly WiringProblem[];
  /** What keeps slots from being moved, and proxies from being fenced. */
  readonly moves?: readonly string[];
  readonly failover: { readonly problems: readonly string[]; readonly safeMode: readonly string[] };
}

/** Everything is as last observed; nothing is asked for here, so a status never waits for a frozen server. */
export function buildStatus(parts: StatusParts): ClusterStatus {
  const { topology, observations } = parts;
  return {
    cluster: topology.cluster,
    map: { version: topology.version, term: topology.term },
    controllers: parts.members.map(({ id, addr, pid }) => ({ id, addr, pid, leader: id === parts.leaderId })),
    proxies: parts.proxies.map(({ id, state, report }) => {
      const { addr, pid, workers, map } = report;
      return { id, addr, pid, state, workers, map };
    }),
    groups: topology.groups.map((group) => groupStatus(group, observations)),
    slots: { count: topology.slots, ranges: topology.ranges.map((range) => ({ ...range })) },
    safeMode: [...parts.failover.safeMode],
    problems: [
      ...parts.problems.map((problem) => problem.message),
      ...parts.failover.problems,
      ...(parts.moves ?? []),
      ...parts.failover.safeMode.map((reason) => `safe mode: ${reason}`),
    ],
  };
}

/** A group with its servers, each judged by topology/group-health.ts. */
function groupStatus(group: TopologyGroup, observations: Observations): ClusterStatus["groups"][number] {
  const primary = primaryOf(group).addr;
  return {
    id: group.id,
    state: groupState(group, observations),
    protected: groupProtected(group, observations),
    ...(group.switch === undefined ? {} : { switching: `${group.switch.kind} to ${group.switch.to}` }),
    primary: { addr: primary, pid: pidOf(observations, primary) },
    replicas: replicasOf(group).map((replica) => ({
      addr: replica.addr,
      pid: pidOf(observations, replica.addr),
      state: replicaHealth(group, replica, observations),
      lagBytes: replicaLagBytes(group, replica, observations),
    })),
  };
}

/** Null while it does not answer: the pid that it had may be another process's by now. */
function pidOf(observations: Observations, addr: string): number | null {
  const seen = observationOf(observations, addr);
  return seen.state === "up" ? seen.pid : null;
}
