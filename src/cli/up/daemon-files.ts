/** The controller and the proxies of a cluster: their configuration files and how to start them. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { stringify } from "smol-toml";
import {
  type ClusterFolder,
  type ClusterRecord,
  type GroupRecord,
  writeFileAtomically,
} from "../folder/cluster-folder.ts";
import { HOST } from "./cluster-plan.ts";
import type { PartPlan } from "./supervisor.ts";

const HEAD = "# Written anew by each `shoal up`.\n";

/** @throws ShoalError DISK */
export async function planController(
  folder: ClusterFolder,
  record: ClusterRecord,
  program: readonly string[],
): Promise<PartPlan> {
  const cwd = folder.controllerFolder;
  const address = `${HOST}:${record.controlPort}`;
  const config = {
    id: "c1",
    listen: address,
    ...((record.sentinelPort ?? 0) === 0 ? {} : { sentinel_listen: `${HOST}:${record.sentinelPort}` }),
    store: { kind: "sqlite", path: "shoal.db" },
    cluster: { name: record.cluster, slots: record.slots, groups: record.groups.map(groupConfig) },
  };
  await writeConfig(cwd, "controller.toml", config);
  return {
    kind: "controller",
    id: "c1",
    address,
    command: program[0],
    args: [...program.slice(1), "controller", "--config", "controller.toml"],
    cwd,
    logFile: join(cwd, "controller.log"),
  };
}

/** @throws ShoalError DISK */
export async function planProxy(
  folder: ClusterFolder,
  record: ClusterRecord,
  proxy: { readonly id: string; readonly port: number },
  program: readonly string[],
): Promise<PartPlan> {
  const cwd = folder.proxyFolder(proxy.id);
  const address = `${HOST}:${proxy.port}`;
  await writeConfig(cwd, "proxy.toml", {
    id: proxy.id,
    listen: address,
    workers: record.workers,
    io: record.io,
    controllers: [`http://${HOST}:${record.controlPort}`],
    state_dir: cwd,
    // Whoever can connect here can reach the servers without a password too, so refusing scripts of users
    // with limited rights, as a proxy does otherwise, would protect nothing.
    restricted_scripts: true,
  });
  return {
    kind: "proxy",
    id: proxy.id,
    address,
    command: program[0],
    args: [...program.slice(1), "proxy", "--config", "proxy.toml"],
    cwd,
    logFile: join(cwd, "proxy.log"),
  };
}

/** What the store is filled with once; from then on it says who is the primary. */
function groupConfig(group: GroupRecord): { id: string; primary: string; replicas: string[] } {
  const [primary, ...replicas] = group.servers.map((server) => `${HOST}:${server.port}`);
  return { id: group.id, primary, replicas };
}

async function writeConfig(folder: string, name: string, values: Record<string, unknown>): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFileAtomically(join(folder, name), `${HEAD}${stringify(values)}`);
}
