/**
 * Masters, replicas and Sentinels as the fields that clients read, in sentinel.c's order and words
 * (addReplySentinelRedisInstance). What has no meaning here has the value of a Sentinel at rest: clients look
 * fields up by name and fail on those that are missing.
 */
import { type Protocol, array, bulk, map } from "../../resp/reply-writer.ts";
import { parseAddress } from "../../topology/cluster-map.ts";
import type { SentinelMaster, SentinelReplica } from "./sentinel-master.ts";
import { runIdOf } from "./sentinel-master.ts";
import type { SentinelPeer } from "./sentinel-peers.ts";

/** What is the same for all instances. */
export interface InstanceSettings {
  readonly downAfterMs: number;
  readonly quorum: number;
  /** Other controllers with a Sentinel face. */
  readonly otherSentinels: number;
  /** The version of the map: grows with each change, as Sentinel's epoch does. */
  readonly epoch: number;
}

type Fields = ReadonlyArray<readonly [name: string, value: string | number]>;

export function masterReply(protocol: Protocol, master: SentinelMaster, settings: InstanceSettings): string {
  const flags = flagsOf("master", {
    s_down: master.down,
    o_down: master.agreedDown,
    failover_in_progress: master.switching,
  });
  return fieldsReply(protocol, [
    ["name", master.name],
    ...instanceFields(master.addr, master.runId, flags, settings),
    ["info-refresh", 0],
    ["role-reported", "master"],
    ["role-reported-time", 0],
    ["config-epoch", settings.epoch],
    ["num-slaves", master.replicas.length],
    ["num-other-sentinels", settings.otherSentinels],
    ["quorum", settings.quorum],
    ["failover-timeout", 180_000],
    ["parallel-syncs", 1],
  ]);
}

export function replicaReply(
  protocol: Protocol,
  replica: SentinelReplica,
  master: SentinelMaster,
  settings: InstanceSettings,
): string {
  const { host, port } = parseAddress(master.addr);
  return fieldsReply(protocol, [
    ["name", replica.addr],
    ...instanceFields(replica.addr, replica.runId, flagsOf("slave", { s_down: replica.down }), settings),
    ["info-refresh", 0],
    ["role-reported", "slave"],
    ["role-reported-time", 0],
    ["master-link-down-time", 0],
    ["master-link-status", replica.linkUp ? "ok" : "err"],
    ["master-host", host],
    ["master-port", port],
    ["slave-priority", replica.priority],
    ["slave-repl-offset", replica.offset],
    ["replica-announced", 1],
  ]);
}

/** Of one whose address is known. */
export function peerReply(
  protocol: Protocol,
  { id, up }: SentinelPeer,
  addr: string,
  settings: InstanceSettings,
): string {
  const runId = runIdOf(id);
  return fieldsReply(protocol, [
    ["name", runId],
    ...instanceFields(addr, runId, flagsOf("sentinel", { s_down: !up }), settings),
    ["last-hello-message", 0],
    ["voted-leader", "?"],
    ["voted-leader-epoch", 0],
  ]);
}

function instanceFields(addr: string, runId: string, flags: string, settings: InstanceSettings): Fields {
  const { host, port } = parseAddress(addr);
  return [
    ["ip", host],
    ["port", port],
    ["runid", runId],
    ["flags", flags],
    ["link-pending-commands", 0],
    ["link-refcount", 1],
    ["last-ping-sent", 0],
    ["last-ok-ping-reply", 0],
    ["last-ping-reply", 0],
    ["down-after-milliseconds", settings.downAfterMs],
  ];
}

function flagsOf(kind: string, states: Readonly<Record<string, boolean>>): string {
  return [kind, ...Object.keys(states).filter((state) => states[state])].join(",");
}

function fieldsReply(protocol: Protocol, fields: Fields): string {
  return map(
    protocol,
    fields.map(([name, value]) => [bulk(name), bulk(String(value))] as const),
  );
}

/** `["127.0.0.1", "19000"]`, the answer that every client asks for. */
export function addressReply(addr: string): string {
  const { host, port } = parseAddress(addr);
  return array([bulk(host), bulk(String(port))]);
}
