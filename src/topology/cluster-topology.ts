/**
 * The topology: what the store holds and the controller decides about. The map that proxies get is derived
 * from it ({@link deriveMap}); it says more than the map, because proxies need not know how things came to
 * be.
 *
 * Invariants, checked by {@link validateTopology}: an address stands for one server of one group; every group
 * has exactly one primary; the derived map is valid; versions only grow, and so do terms.
 */
import { ShoalError } from "../base/shoal-error.ts";
import { type ClusterMap, type SlotRange, parseAddress, validateMap } from "./cluster-map.ts";

/** Written into every stored topology; what has another number was written by another Shoal. */
export const TOPOLOGY_FORMAT = 1;

/** One redis-server process. */
export interface TopologyServer {
  /** "host:port". */
  readonly addr: string;
  readonly role: "primary" | "replica";
  /**
   * Whether it has been seen to be a full copy of its group. What such a server holds is the group's, so it
   * may be synchronised again after a restart; the data of one that never was may be somebody's own.
   */
  readonly joined: boolean;
}

export interface TopologyGroup {
  readonly id: string;
  /** In it for ever: SCAN cursors carry it. */
  readonly number: number;
  readonly servers: readonly TopologyServer[];
}

export interface ClusterTopology {
  readonly format: typeof TOPOLOGY_FORMAT;
  readonly cluster: string;
  /** Grows by one with each change; the map has the same. */
  readonly version: number;
  /** The term of the leader that wrote it. */
  readonly term: number;
  readonly slots: number;
  readonly groups: readonly TopologyGroup[];
  readonly ranges: readonly SlotRange[];
  readonly options: Readonly<Record<string, string | number | boolean>>;
  /** The number that the next group gets; numbers are never used again. */
  readonly nextGroupNumber: number;
}

/** @throws ShoalError INVALID_ARGUMENT when it has none */
export function primaryOf(group: TopologyGroup): TopologyServer {
  const primary = group.servers.find((server) => server.role === "primary");
  if (primary === undefined) {
    throw new ShoalError("INVALID_ARGUMENT", `Cannot use group ${group.id}: it has no primary`);
  }
  return primary;
}

export function replicasOf(group: TopologyGroup): readonly TopologyServer[] {
  return group.servers.filter((server) => server.role === "replica");
}

/** Every server of the cluster with its group. */
export function* allServers(
  topology: ClusterTopology,
): Generator<{ group: TopologyGroup; server: TopologyServer }> {
  for (const group of topology.groups) for (const server of group.servers) yield { group, server };
}

/** The map that proxies are given for this topology. */
export function deriveMap(topology: ClusterTopology): ClusterMap {
  return {
    cluster: topology.cluster,
    version: topology.version,
    term: topology.term,
    hash: "crc32",
    slots: topology.slots,
    groups: topology.groups.map((group) => ({
      id: group.id,
      number: group.number,
      primary: primaryOf(group).addr,
      replicas: replicasOf(group).map((server) => server.addr),
    })),
    ranges: topology.ranges,
    options: topology.options,
  };
}

/** @throws ShoalError INVALID_ARGUMENT that names the first thing that is wrong */
export function validateTopology(topology: ClusterTopology): void {
  const owners = new Map<string, string>();
  for (const { group, server } of allServers(topology)) {
    parseAddress(server.addr);
    const owner = owners.get(server.addr);
    if (owner !== undefined) {
      const where = owner === group.id ? `twice in group ${owner}` : `in groups ${owner} and ${group.id}`;
      throw new ShoalError("INVALID_ARGUMENT", `Cannot use server ${server.addr}: it stands ${where}`);
    }
    owners.set(server.addr, group.id);
  }
  for (const group of topology.groups) {
    const primaries = group.servers.filter((server) => server.role === "primary").length;
    if (primaries !== 1) {
      throw new ShoalError(
        "INVALID_ARGUMENT",
        `Cannot use group ${group.id}: it has ${primaries} primaries, not 1`,
      );
    }
  }
  validateMap(deriveMap(topology));
}

/** @throws ShoalError STORE when the text is not a topology that this version can read */
export function parseStoredTopology(text: string): ClusterTopology {
  let topology: ClusterTopology;
  try {
    topology = JSON.parse(text) as ClusterTopology;
  } catch (error) {
    throw new ShoalError("STORE", "Cannot read the stored topology: it is not JSON", error);
  }
  if (topology?.format !== TOPOLOGY_FORMAT) {
    const found = String(topology?.format);
    const message = `Cannot read the stored topology: format ${found}, this Shoal knows ${TOPOLOGY_FORMAT}`;
    throw new ShoalError("STORE", message);
  }
  validateTopology(topology);
  return topology;
}
