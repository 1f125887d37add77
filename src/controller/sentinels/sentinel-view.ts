/**
 * What sentinels say, read and weighed. Pure.
 *
 * Each has a view of its own; the one with the highest configuration epoch is in force, because an epoch is
 * given by a majority and to one failover only (redis.io, "Sentinel: configuration epochs").
 */
import { parseAddress } from "../../topology/cluster-map.ts";
import { type TopologyGroup, primaryOf } from "../../topology/cluster-topology.ts";
import { type Observations, observationOf, sameAddress } from "../../topology/group-health.ts";
import { type Reply, ReplyError } from "../../redis/reply-decoder.ts";

/** One group as one sentinel sees it. */
export interface MonitoredGroup {
  /** "host:port" of the primary; during a failover already the new one. */
  readonly addr: string;
  readonly epoch: number;
  readonly quorum: number;
  readonly downAfterMs: number;
  readonly failoverTimeoutMs: number;
  readonly parallelSyncs: number;
  readonly otherSentinels: number;
  /** Between the choice of a replica and the moment at which all others follow it. */
  readonly failoverUnderWay: boolean;
}

/** By name; null: this sentinel does not answer. */
export type SentinelSight = ReadonlyMap<string, MonitoredGroup> | null;

/** Who is primary of a group, by the sentinel that knows best. */
export interface NamedPrimary {
  readonly addr: string;
  readonly epoch: number;
  /** Any of them is in the middle of replacing it. */
  readonly failoverUnderWay: boolean;
}

/**
 * The name that a group has at the sentinels. Groups have no dots, so the last one ends the cluster's name.
 */
export function monitorName(cluster: string, group: string): string {
  return `${cluster}.${group}`;
}

/** Null: no sentinel that answers knows the group. */
export function namedPrimary(sights: readonly SentinelSight[], name: string): NamedPrimary | null {
  const views = sights.flatMap((sight) => sight?.get(name) ?? []);
  if (views.length === 0) return null;
  const [best] = views.toSorted((a, b) => b.epoch - a.epoch);
  const failoverUnderWay = views.some((view) => view.failoverUnderWay);
  return { addr: best.addr, epoch: best.epoch, failoverUnderWay };
}

/**
 * The server of the group that a sentinel means: by address, or, where the topology has names and the
 * sentinel their addresses, by port alone when only one server has it. Null: none of them.
 */
export function serverMeant(group: TopologyGroup, addr: string): string | null {
  const same = group.servers.find((server) => sameAddress(server.addr, addr));
  if (same !== undefined) return same.addr;
  const port = parseAddress(addr).port;
  const named = group.servers.filter((server) => {
    const own = parseAddress(server.addr);
    return own.port === port && !/^[\d.]+$|:/.test(own.host);
  });
  return named.length === 1 ? named[0].addr : null;
}

/**
 * Addresses among those that a sentinel would promote which it must forget: servers that are none of the
 * group any more, and replicas that have gone without being copies of the group's present history. Sentinel
 * goes by the offset alone, so when the primary died next, one that came back with old data could be taken
 * (loss mode L5). Asked for only while the primary lives: a sentinel that forgets learns anew from it.
 */
export function toForget(
  group: TopologyGroup,
  observations: Observations,
  listed: readonly string[],
): string[] {
  const { history } = group;
  const primary = primaryOf(group).addr;
  return listed.filter((addr) => {
    const meant = serverMeant(group, addr);
    if (meant === null) return true;
    const server = group.servers.find((one) => one.addr === meant);
    if (server === undefined || server.role === "primary") return false;
    if (history !== undefined && server.syncedTo === history.id) return false;
    const seen = observationOf(observations, meant);
    // One that follows is listed by the primary itself, and would be known again at once.
    if (seen.state === "up") return seen.follows === null || !sameAddress(seen.follows, primary);
    return seen.state === "down";
  });
}

/** SENTINEL MASTERS, and SENTINEL GET-MASTER-ADDR-BY-NAME of each that is asked for. */
export function readMasters(
  masters: Reply,
  names: readonly string[],
  addrs: readonly Reply[],
): SentinelSight {
  if (!Array.isArray(masters)) return null;
  const sight = new Map<string, MonitoredGroup>();
  for (const row of masters) {
    const fields = readFields(row);
    const number = (name: string): number => Number(fields.get(name) ?? 0);
    const name = fields.get("name") ?? "";
    const current = addrs[names.indexOf(name)];
    const addr =
      Array.isArray(current) && current.length === 2
        ? `${String(current[0])}:${String(current[1])}`
        : `${fields.get("ip")}:${fields.get("port")}`;
    sight.set(name, {
      addr,
      epoch: number("config-epoch"),
      quorum: number("quorum"),
      downAfterMs: number("down-after-milliseconds"),
      failoverTimeoutMs: number("failover-timeout"),
      parallelSyncs: number("parallel-syncs"),
      otherSentinels: number("num-other-sentinels"),
      failoverUnderWay: (fields.get("flags") ?? "").split(",").includes("failover_in_progress"),
    });
  }
  return sight;
}

/** SENTINEL REPLICAS: their addresses. */
export function readReplicas(reply: Reply): string[] {
  if (!Array.isArray(reply)) return [];
  return reply.map(readFields).map((fields) => `${fields.get("ip")}:${fields.get("port")}`);
}

/** name, value, name, value … */
function readFields(row: Reply): Map<string, string> {
  const fields = new Map<string, string>();
  if (!Array.isArray(row) || row instanceof ReplyError) return fields;
  for (let i = 0; i + 1 < row.length; i += 2) fields.set(String(row[i]), String(row[i + 1]));
  return fields;
}
