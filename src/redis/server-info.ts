/** INFO's answer, read. Fields that a version does not have come out as null or their neutral value. */
import { ShoalError } from "../base/shoal-error.ts";

/** A replica as its primary sees it. */
export interface AttachedReplica {
  /** "host:port" as the replica announces itself. */
  readonly address: string;
  readonly online: boolean;
  readonly offset: number;
}

export interface ServerInfo {
  readonly version: string;
  readonly pid: number;
  /** Random, new with every start of the process. */
  readonly runId: string;
  readonly uptimeSec: number;
  readonly role: "primary" | "replica";
  /** "host:port" that a replica follows. */
  readonly follows: string | null;
  readonly linkUp: boolean;
  readonly syncing: boolean;
  /** Bytes of the replication stream: produced, for a primary; applied, for a replica. */
  readonly offset: number;
  readonly replicationId: string;
  /** The one before, of a replica that was made a primary: it has everything of that history up to then. */
  readonly replicationIdBefore: string;
  /** Up to where: what it had of that history when it was made a primary; -2 when it has none. */
  readonly offsetBefore: number;
  /** `replica-priority`: the lowest is promoted first, 0 never. */
  readonly priority: number;
  readonly loading: boolean;
  /** Every write is in a file before its answer goes out: the death of the process alone loses none. */
  readonly appendOnly: boolean;
  /** Over all databases. */
  readonly keys: number;
  readonly usedMemoryBytes: number;
  readonly replicas: readonly AttachedReplica[];
}

/** @throws ShoalError PROTOCOL when what makes an INFO is not there */
export function parseServerInfo(text: string): ServerInfo {
  const fields = parseInfoFields(text);
  const pid = Number(fields.get("process_id"));
  const role = fields.get("role");
  if (!Number.isInteger(pid) || pid < 1 || (role !== "master" && role !== "slave")) {
    throw new ShoalError("PROTOCOL", "Cannot read INFO: process_id or role is missing");
  }
  const isReplica = role === "slave";
  return {
    version: fields.get("valkey_version") ?? fields.get("redis_version") ?? "unknown",
    pid,
    runId: fields.get("run_id") ?? "",
    uptimeSec: numberOf(fields, "uptime_in_seconds"),
    role: isReplica ? "replica" : "primary",
    follows: isReplica ? `${fields.get("master_host")}:${fields.get("master_port")}` : null,
    linkUp: fields.get("master_link_status") === "up",
    syncing: fields.get("master_sync_in_progress") === "1",
    offset: numberOf(fields, isReplica ? "slave_repl_offset" : "master_repl_offset"),
    replicationId: fields.get("master_replid") ?? "",
    replicationIdBefore: fields.get("master_replid2") ?? "",
    // The server names the first byte that it lacks.
    offsetBefore: Number(fields.get("second_repl_offset") ?? -1) - 1,
    priority: Number(fields.get("slave_priority") ?? 100),
    loading: fields.get("loading") === "1",
    appendOnly: fields.get("aof_enabled") === "1",
    keys: countKeys(fields),
    usedMemoryBytes: numberOf(fields, "used_memory"),
    replicas: attachedReplicas(fields),
  };
}

/** `name:value` lines; section heads and empty lines are left out. */
export function parseInfoFields(text: string): Map<string, string> {
  const fields = new Map<string, string>();
  for (const line of text.split("\r\n")) {
    const colon = line.indexOf(":");
    if (colon > 0 && !line.startsWith("#")) fields.set(line.slice(0, colon), line.slice(colon + 1));
  }
  return fields;
}

function numberOf(fields: ReadonlyMap<string, string>, name: string): number {
  const value = Number(fields.get(name) ?? 0);
  return Number.isFinite(value) ? value : 0;
}

/** Sums `db0:keys=12,expires=0,…` up. */
function countKeys(fields: ReadonlyMap<string, string>): number {
  let keys = 0;
  for (const [name, value] of fields) {
    const match = /^db\d+$/.test(name) ? /\bkeys=(\d+)/.exec(value) : null;
    if (match !== null) keys += Number(match[1]);
  }
  return keys;
}

/** `slave0:ip=127.0.0.1,port=7001,state=online,offset=14,lag=0`. */
function attachedReplicas(fields: ReadonlyMap<string, string>): AttachedReplica[] {
  const replicas: AttachedReplica[] = [];
  for (const [name, value] of fields) {
    if (!/^slave\d+$/.test(name)) continue;
    const parts = new Map(value.split(",").map((part) => part.split("=", 2) as [string, string]));
    replicas.push({
      address: `${parts.get("ip")}:${parts.get("port")}`,
      online: parts.get("state") === "online",
      offset: Number(parts.get("offset") ?? 0),
    });
  }
  return replicas;
}
