/**
 * `shoal down`: stops what runs on a folder. A living supervisor is asked to do it; what a killed one left
 * behind is found by run.json and stopped from here.
 */
import { type CommandRow, DIR_OPTION, type World } from "./command.ts";
import { ClusterFolder } from "./folder/cluster-folder.ts";
import { type PartRecord, readRunRecord, removeRunRecord } from "./folder/run-record.ts";
import { folderOption } from "./target.ts";
import { pollUntil } from "./up/poll.ts";
import { stopParts } from "./up/stop-parts.ts";
import { partName } from "./up/supervisor.ts";

/**
 * The supervisor's own bounds (proxies, controller, servers, each with the time for a SIGKILL) add up to
 * less.
 */
const SUPERVISOR_TIMEOUT_MS = 60_000;

export const downCommand: CommandRow = {
  name: "down",
  argument: "",
  summary: "Stop the cluster of a folder; its data stays",
  examples: [["shoal down", "proxies drain, then controller and servers stop"]],
  options: [DIR_OPTION],
  async run(world, options) {
    const folder = new ClusterFolder(folderOption(options));
    const stopped = await stopFolder(world, folder, options.json ? () => {} : world.print);
    if (options.json) {
      const parts = stopped.map(({ kind, id, address, process }) => ({
        kind,
        id,
        addr: address,
        pid: process.pid,
      }));
      world.print(JSON.stringify({ dir: folder.path, stopped: parts }, null, 2));
    } else if (stopped.length === 0) {
      world.print(`Nothing runs on ${folder.shown}.`);
    }
    return 0;
  },
};

/** What ran, and does not any more, comes back. */
async function stopFolder(
  world: World,
  folder: ClusterFolder,
  tell: (text: string) => void,
): Promise<PartRecord[]> {
  const { machine } = world;
  const before = (await readRunRecord(folder))?.parts.filter((part) => machine.isRunning(part.process)) ?? [];
  const supervisor = machine.lockHolder(folder.lockFile);
  const seen = new Set<PartRecord>();
  const tellGone = (part: PartRecord): void => {
    if (seen.has(part) || machine.isRunning(part.process)) return;
    seen.add(part);
    tell(`${partName(part)} (pid ${part.process.pid}) stopped`);
  };
  if (supervisor !== null && machine.signalProcess(supervisor, "SIGTERM")) {
    await pollUntil(SUPERVISOR_TIMEOUT_MS, () => {
      before.forEach(tellGone);
      return !machine.isRunning(supervisor);
    });
    before.forEach(tellGone);
  }
  await stopLeftovers(world, folder, tell);
  return before;
}

/**
 * Stops what a supervisor that is gone has left running on the folder. Call it with the folder's lock, or
 * when its holder has ended.
 */
export async function stopLeftovers(
  world: World,
  folder: ClusterFolder,
  tell: (text: string) => void,
): Promise<PartRecord[]> {
  const record = await readRunRecord(folder);
  if (record === null) return [];
  const stopped = await stopParts(world.machine, {
    parts: record.parts,
    atOnce: () => false,
    onStopped: (part, killed) => {
      tell(`${partName(part)} (pid ${part.process.pid}) ${killed ? "did not stop, killed" : "stopped"}`);
    },
  });
  removeRunRecord(folder);
  return stopped;
}
