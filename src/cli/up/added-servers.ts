/**
 * Servers that come and go while `shoal up` runs: for `shoal group add --local`, `group remove`, `server
 * remove`.
 *
 *   start-servers ─▶ free ports ─▶ shoal.json ─▶ redis-servers (run.json) ─PONG─▶ addresses
 *   stop-servers ─▶ SIGTERM … ─▶ out of run.json and shoal.json
 *
 * They stand in shoal.json before they run, so that the next `up` on the folder starts them as well. A
 * request that is made again, because the asker was killed in between, gets the same servers.
 */
import { ShoalError } from "../../base/shoal-error.ts";
import type { World } from "../command.ts";
import type { ClusterFolder, ClusterRecord, GroupRecord } from "../folder/cluster-folder.ts";
import type { SupervisorAnswer, SupervisorRequest } from "../folder/request-box.ts";
import { HOST, proxiesOf } from "./cluster-plan.ts";
import { pollUntil } from "./poll.ts";
import { probe } from "./probe.ts";
import { findServerBinary, planServer } from "./server-files.ts";
import type { Supervisor } from "./supervisor.ts";

const START_TIMEOUT_MS = 30_000;

export interface AddedServersOptions {
  readonly world: World;
  readonly folder: ClusterFolder;
  readonly supervisor: Supervisor;
  /** `--server-binary` of this `up`. */
  readonly serverBinary: string | null;
}

/** @throws ShoalError START_FAILED, TIMEOUT, DISK, CONFLICT */
export function handleRequest(
  options: AddedServersOptions,
  request: SupervisorRequest,
): Promise<SupervisorAnswer> {
  switch (request.action) {
    case "start-servers":
      return startServers(options, request.group, request.count);
    case "stop-servers":
      return stopServers(options, request.addrs);
    default:
      throw new ShoalError("UNSUPPORTED", "Cannot do that: this `shoal up` is of another version");
  }
}

async function startServers(
  options: AddedServersOptions,
  id: string,
  count: number,
): Promise<SupervisorAnswer> {
  const { folder, supervisor, world } = options;
  const record = await recordOf(folder);
  const binary = findServerBinary(options.serverBinary, world.variables["PATH"] ?? "");
  const known = record.groups.find((group) => group.id === id && group.servers.length === count);
  const group = known ?? (await dealServers(world, record, id, count));
  if (known === undefined) {
    const others = record.groups.filter((other) => other.id !== id);
    await folder.writeRecord(withGroups(record, [...others, group]));
  }
  for (const server of group.servers) {
    if (!supervisor.isRunning(server.id)) await supervisor.start(await planServer(folder, server, binary));
  }
  for (const server of group.servers) {
    const answers = async (): Promise<boolean> => (await probe(HOST, server.port)) === "serving";
    if (await pollUntil(START_TIMEOUT_MS, answers)) continue;
    const log = `${folder.serverFolder(server.id)}/redis.log`;
    const why = `no answer on ${HOST}:${server.port} within ${START_TIMEOUT_MS} ms`;
    throw new ShoalError("TIMEOUT", `Cannot start redis-server ${server.id}: ${why}; its log is ${log}`);
  }
  return { addrs: group.servers.map((server) => `${HOST}:${server.port}`) };
}

async function stopServers(
  options: AddedServersOptions,
  addrs: readonly string[],
): Promise<SupervisorAnswer> {
  const { folder, supervisor } = options;
  const record = await recordOf(folder);
  const isMeant = (port: number): boolean => addrs.includes(`${HOST}:${port}`);
  const stopped = record.groups.flatMap((group) => group.servers.filter((server) => isMeant(server.port)));
  for (const server of stopped) await supervisor.stopPart(server.id);
  const groups = record.groups
    .map((group) => ({ ...group, servers: group.servers.filter((server) => !isMeant(server.port)) }))
    .filter((group) => group.servers.length > 0);
  await folder.writeRecord(withGroups(record, groups));
  return { addrs: stopped.map((server) => `${HOST}:${server.port}`) };
}

/** Ports behind those of the first servers, and none that anything of the folder has. */
async function dealServers(
  world: World,
  record: ClusterRecord,
  id: string,
  count: number,
): Promise<GroupRecord> {
  const ports = record.groups.flatMap((group) => group.servers.map((server) => server.port));
  const taken = new Set([...ports, record.controlPort, ...proxiesOf(record).map((proxy) => proxy.port)]);
  const free = await world.machine.findFreePorts(HOST, Math.min(...ports), count, taken);
  return { id, servers: free.map((port, index) => ({ id: `${id}-${index + 1}`, port })) };
}

/** Keeps what the folder was made with: `up` compares its options with that, and not with what came since. */
function withGroups(record: ClusterRecord, groups: readonly GroupRecord[]): ClusterRecord {
  const made = record.made ?? {
    groups: record.groups.length,
    replicas: record.groups[0].servers.length - 1,
    serverPort: record.groups[0].servers[0].port,
  };
  return { ...record, made, groups };
}

async function recordOf(folder: ClusterFolder): Promise<ClusterRecord> {
  const record = await folder.readRecord();
  if (record !== null) return record;
  throw new ShoalError("CONFLICT", `Cannot change the servers of ${folder.shown}: its shoal.json is gone`);
}
