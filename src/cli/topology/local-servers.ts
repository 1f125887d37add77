/** Servers of a demo cluster: its `shoal up` starts and stops them, whoever asks. */
import type { OptionValues, World } from "../command.ts";
import { ClusterFolder } from "../folder/cluster-folder.ts";
import { askSupervisor } from "../folder/request-box.ts";
import { folderOption } from "../target.ts";

/** Their addresses, the primary's first; they answer and are empty. @throws ShoalError UNREACHABLE, … */
export async function startLocalServers(
  world: World,
  options: OptionValues,
  group: string,
  count: number,
): Promise<readonly string[]> {
  const folder = new ClusterFolder(folderOption(options));
  const { addrs } = await askSupervisor(world, folder, { action: "start-servers", group, count });
  return addrs;
}

/** Stops those of `addrs` that belong to the folder; which these were comes back. Others are left alone. */
export async function stopLocalServers(
  world: World,
  options: OptionValues,
  addrs: readonly string[],
): Promise<readonly string[]> {
  if (options.control !== undefined) return [];
  const folder = new ClusterFolder(folderOption(options));
  const record = await folder.readRecord().catch(() => null);
  const ours = new Set((record?.groups ?? []).flatMap((group) => group.servers.map((one) => one.port)));
  const local = addrs.filter((addr) => {
    return addr.startsWith("127.0.0.1:") && ours.has(Number(addr.slice(addr.lastIndexOf(":") + 1)));
  });
  if (local.length === 0 || world.machine.lockHolder(folder.lockFile) === null) return [];
  return (await askSupervisor(world, folder, { action: "stop-servers", addrs: local })).addrs;
}
