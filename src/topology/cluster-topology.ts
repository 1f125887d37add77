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
import type { MovesRecord } from "./move-record.ts";
import type { ProxyLogin } from "./login-changes.ts";

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
  /** Somebody has said that the keys which it held when it was added may be replaced by its group's. */
  readonly adopted?: boolean;
  /**
   * The {@link GroupHistory.id} in which it was last seen in sync. Another one than the group's (or none):
   * it may lack what was written since, so it is not promoted (loss mode L5).
   */
  readonly syncedTo?: string;
  /**
   * It does not know the password that replicas sign in with now, so it can't reach the primary. Without this
   * mark one that is silent may follow unseen, and confirm writes. Taken away before it is told the password.
   */
  readonly shutOut?: boolean;
  /** Where it stands, as whoever runs it calls the place; of two equal replicas the nearer one is chosen. */
  readonly zone?: string;
  /**
   * `min-replicas-to-write` as it was before a switchover stopped this server's writes by it, which is how it
   * is done before Redis 6.2. Unlike a pause it does not end by itself, so it is kept until it is undone.
   */
  readonly writesStopped?: string;
}

/** One life of a group's data: offsets and copies can be compared only within it. */
export interface GroupHistory {
  /** The primary's replication id. */
  readonly id: string;
  /** The primary's process; another one at the same address has been started again since. */
  readonly runId: string;
  /** Its replication offset when it took over; 0 when it was the primary from the beginning. */
  readonly offset: number;
  /** The id before: a replica that had everything at the switch may still show it. */
  readonly previous?: string;
}

/** A switch that has been decided and is not finished: whoever leads goes on with it. */
export interface GroupSwitch {
  readonly kind: "failover" | "switchover";
  readonly from: string;
  readonly to: string;
  /** The process that was chosen; another one at its address has been started again, and may hold nothing. */
  readonly toRunId?: string;
  readonly reason: string;
  /** Wall clock: when it was decided, and when the old primary last answered. */
  readonly startedAtMs: number;
  readonly lastAnswerAtMs: number;
  /** The old primary's replication offset as last seen; null when it never was. */
  readonly fromOffset: number | null;
  /** The password of the group's replication from now on; see {@link TopologyGroup.link}. Secret. */
  readonly link?: string;
  /** A person has ordered it, whatever may be lost. */
  readonly forced?: boolean;
}

/** A switch that is over, for `shoal events` after a restart of the controller. */
export interface SwitchRecord {
  readonly group: string;
  readonly kind: "failover" | "switchover";
  readonly from: string;
  readonly to: string;
  readonly reason: string;
  readonly startedAtMs: number;
  readonly endedAtMs: number;
  /** Bytes of the replication stream that the new primary lacks at most; null when not known. */
  readonly lostBytesMax: number | null;
  /** Writes that were answered and are lost: 0, or null when there may be some. */
  readonly acknowledgedLost?: 0 | null;
  /** The controller that made it. */
  readonly controller?: string;
  /** Of a failover: from the old primary's last answer to the end; null when it never answered. */
  readonly silentMs?: number | null;
}

export interface TopologyGroup {
  readonly id: string;
  /** In it for ever: SCAN cursors carry it. */
  readonly number: number;
  readonly servers: readonly TopologyServer[];
  /** Its slots shall leave it, for its removal: a rebalance gives it none. */
  readonly draining?: boolean;
  /** None until a replica has been in sync for the first time. */
  readonly history?: GroupHistory;
  /**
   * The password that replicas sign in to their primary with. The user exists only in the memory of the
   * present primary's process: one that was started again has no replica until somebody has looked (loss
   * mode L6). Secret.
   */
  readonly link?: string;
  /** Proxies hold the group's requests: a switchover is under way. */
  readonly held?: boolean;
  readonly switch?: GroupSwitch;
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
  /** The last switches, oldest first. */
  readonly switches?: readonly SwitchRecord[];
  /** How many there ever were, by "group kind": of groups that are there. */
  readonly switchTotals?: Readonly<Record<string, number>>;
  /** Absent: no slot has ever been moved. */
  readonly moves?: MovesRecord;
  /** The users that proxies are at the servers; secret, never handed out whole. */
  readonly logins?: readonly ProxyLogin[];
}

/** What one event changes; version and term follow by themselves. */
export type TopologyChange = Partial<Omit<ClusterTopology, "format" | "cluster" | "version" | "term">>;

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

/** Left out where nobody has named a zone: most maps need none. */
function zonesOf(group: TopologyGroup): { zones?: Record<string, string> } {
  const zones = group.servers.flatMap(({ addr, zone = "" }) => (zone === "" ? [] : [[addr, zone]]));
  return zones.length === 0 ? {} : { zones: Object.fromEntries(zones) as Record<string, string> };
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
      ...zonesOf(group),
      ...(group.held === true ? { held: true } : {}),
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
