/**
 * What an `up` shall start: the folder's record, if it has one, and the options that were given.
 *
 *   no record            options over defaults, free server ports are chosen
 *   never came to serve  the same: nobody can have written to it, its parts are removed
 *   record               groups, replicas, slots stay (another number is an error); the rest may change
 */
import { ShoalError } from "../../base/shoal-error.ts";
import { SLOT_COUNTS } from "../../topology/cluster-map.ts";
import type { OptionValues, World } from "../command.ts";
import {
  type ClusterFolder,
  type ClusterRecord,
  FOLDER_FORMAT,
  type FreeOptions,
  type GroupRecord,
} from "../folder/cluster-folder.ts";
import { HintedError } from "../hinted-error.ts";
import type { Machine } from "../machine.ts";

/** Everything runs on this machine and talks to this machine. */
export const HOST = "127.0.0.1";

export const UP_DEFAULTS = {
  groups: 3,
  replicas: 1,
  slots: SLOT_COUNTS[0],
  serverPort: 16400,
  proxies: 2,
  workers: 1,
  port: 19000,
  controlPort: 18080,
  sentinelPort: 0,
  io: "auto",
} as const;

export interface ClusterPlan {
  readonly record: ClusterRecord;
  /** Whether the cluster is made by this start. */
  readonly isNew: boolean;
}

/**
 * Decides, writes nothing but the removal of parts that never served.
 * @throws ShoalError CONFLICT, ADDRESS_IN_USE, INVALID_ARGUMENT, LIMIT
 */
export async function planCluster(
  world: World,
  folder: ClusterFolder,
  options: OptionValues,
): Promise<ClusterPlan> {
  const old = await folder.readRecord();
  if (old !== null && old.served) {
    checkAgainst(folder, old, options);
    const record = { ...old, ...freeOptions(options, old) };
    await checkPorts(world.machine, record);
    return { record, isNew: false };
  }
  const free = freeOptions(options, UP_DEFAULTS);
  await checkOwnPorts(world.machine, free);
  if (old !== null) await folder.removeParts();
  const record = {
    format: FOLDER_FORMAT,
    createdBy: world.version,
    cluster: "shoal",
    served: false,
    slots: slotCount(options),
    groups: await dealPorts(world.machine, options, free),
    ...free,
  };
  return { record, isNew: true };
}

/** "p1", "p2", … with their ports. */
export function proxiesOf(record: FreeOptions): Array<{ id: string; port: number }> {
  return Array.from({ length: record.proxies }, (_, i) => ({ id: `p${i + 1}`, port: record.port + i }));
}

function freeOptions(options: OptionValues, fallback: FreeOptions): FreeOptions {
  const pick = <Name extends keyof FreeOptions>(name: Name): FreeOptions[Name] => {
    return (options[name] as FreeOptions[Name] | undefined) ?? fallback[name];
  };
  return {
    proxies: pick("proxies"),
    workers: pick("workers"),
    port: pick("port"),
    controlPort: pick("controlPort"),
    sentinelPort: pick("sentinelPort") ?? 0,
    io: pick("io"),
  };
}

/** Options that would need data to move are not taken silently, and not ignored either. */
function checkAgainst(folder: ClusterFolder, record: ClusterRecord, options: OptionValues): void {
  const has = {
    groups: record.made?.groups ?? record.groups.length,
    replicas: record.made?.replicas ?? record.groups[0].servers.length - 1,
    slots: record.slots,
    serverPort: record.made?.serverPort ?? record.groups[0].servers[0].port,
  };
  for (const [name, value] of Object.entries(has)) {
    const given = options[name];
    if (given === undefined || Number(given) === value) continue;
    const flag = name === "serverPort" ? "server-port" : name;
    throw new HintedError(
      "CONFLICT",
      `Cannot start ${folder.shown} with --${flag} ${given}: it was made with --${flag} ${value}`,
      `Leave --${flag} out, or make another cluster with --dir.`,
    );
  }
}

function slotCount(options: OptionValues): number {
  return options.slots === undefined ? UP_DEFAULTS.slots : Number(options.slots);
}

async function dealPorts(machine: Machine, options: OptionValues, free: FreeOptions): Promise<GroupRecord[]> {
  const groups = Number(options.groups ?? UP_DEFAULTS.groups);
  const perGroup = Number(options.replicas ?? UP_DEFAULTS.replicas) + 1;
  const from = Number(options.serverPort ?? UP_DEFAULTS.serverPort);
  const taken = new Set([
    free.controlPort,
    free.sentinelPort ?? 0,
    ...proxiesOf(free).map((proxy) => proxy.port),
  ]);
  const ports = await machine.findFreePorts(HOST, from, groups * perGroup, taken);
  return Array.from({ length: groups }, (_, group) => ({
    id: `g${group + 1}`,
    servers: Array.from({ length: perGroup }, (_, server) => ({
      id: `g${group + 1}-${server + 1}`,
      port: ports[group * perGroup + server],
    })),
  }));
}

async function checkPorts(machine: Machine, record: ClusterRecord): Promise<void> {
  await checkOwnPorts(machine, record);
  for (const { servers } of record.groups) {
    for (const server of servers) {
      const hint = "The folder's servers keep their ports. Stop what has the port, then start again.";
      await checkPort(machine, `redis-server ${server.id}`, server.port, hint);
    }
  }
}

async function checkOwnPorts(machine: Machine, free: FreeOptions): Promise<void> {
  const proxies = proxiesOf(free);
  if (free.port + free.proxies > 65536) {
    throw new ShoalError(
      "INVALID_ARGUMENT",
      `Cannot start ${free.proxies} proxies from port ${free.port} on: 65535 is the last`,
    );
  }
  const { controlPort, sentinelPort = 0 } = free;
  const shared = proxies.find(({ port }) => port === controlPort || port === sentinelPort);
  if (shared !== undefined || sentinelPort === controlPort) {
    const who = shared === undefined ? "the controller's API" : `proxy ${shared.id}`;
    const port = shared?.port ?? controlPort;
    const other = port === sentinelPort ? "Sentinel clients" : "the controller";
    throw new HintedError(
      "INVALID_ARGUMENT",
      `Cannot give port ${port} to both ${who} and ${other}`,
      "Choose another --port, --control-port or --sentinel-port.",
    );
  }
  for (const { id, port } of proxies)
    await checkPort(machine, `proxy ${id}`, port, "Choose another one with --port.");
  await checkPort(machine, "the controller", controlPort, "Choose another one with --control-port.");
  if (sentinelPort !== 0) {
    const hint = "Choose another one with --sentinel-port.";
    await checkPort(machine, "the controller for Sentinel clients", sentinelPort, hint);
  }
}

async function checkPort(machine: Machine, what: string, port: number, hint: string): Promise<void> {
  try {
    await machine.checkAddressFree(HOST, port);
  } catch (error) {
    if (!(error instanceof ShoalError)) throw error;
    throw new HintedError(error.code, `Cannot start ${what}: ${error.message}`, hint, error);
  }
}
