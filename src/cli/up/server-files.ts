/** The redis-servers of a cluster: which program, which configuration. */
import { accessSync, constants } from "node:fs";
import { mkdir } from "node:fs/promises";
import { delimiter, join, resolve } from "node:path";
import type { ClusterFolder, ServerRecord } from "../folder/cluster-folder.ts";
import { writeFileAtomically } from "../folder/cluster-folder.ts";
import { HintedError } from "../hinted-error.ts";
import { HOST } from "./cluster-plan.ts";
import type { PartPlan } from "./supervisor.ts";

const PROGRAMS = ["redis-server", "valkey-server"] as const;

/** Absolute path of the program. @throws ShoalError START_FAILED */
export function findServerBinary(given: string | null, searchPath: string): string {
  if (given !== null) {
    const path = resolve(given);
    if (isProgram(path)) return path;
    throw new HintedError("START_FAILED", `Cannot run ${given}: no such program`, "Check --server-binary.");
  }
  for (const program of PROGRAMS) {
    for (const folder of searchPath.split(delimiter)) {
      if (folder !== "" && isProgram(join(folder, program))) return join(folder, program);
    }
  }
  throw new HintedError(
    "START_FAILED",
    `Cannot start a server: neither ${PROGRAMS.join(" nor ")} is on the PATH`,
    "Install one (Debian, Ubuntu: apt-get install redis-server), or name one with --server-binary.",
  );
}

/** Writes the server's configuration and tells how to start it. @throws ShoalError DISK */
export async function planServer(
  folder: ClusterFolder,
  server: ServerRecord,
  binary: string,
): Promise<PartPlan> {
  const cwd = folder.serverFolder(server.id);
  await mkdir(cwd, { recursive: true });
  await writeFileAtomically(join(cwd, "redis.conf"), serverConfig(server.port));
  return {
    kind: "server",
    id: server.id,
    address: `${HOST}:${server.port}`,
    command: binary,
    args: ["redis.conf"],
    cwd,
    // It logs to its output, so that what it says before it has read its configuration is kept as well.
    logFile: join(cwd, "redis.log"),
  };
}

/**
 * Only what servers since 5.0 know. Nothing about replication: who follows whom is the controller's to say.
 */
function serverConfig(port: number): string {
  return [
    "# Written anew by each `shoal up`.",
    `bind ${HOST}`,
    `port ${port}`,
    "daemonize no",
    "dir .",
    "# Every write is in the file within a second, whatever happens to the process.",
    "appendonly yes",
    "appendfsync everysec",
    'save ""',
    "# A replica starts to copy at once, not after 5 s; one that was away for a while needs no full copy.",
    "repl-diskless-sync yes",
    "repl-diskless-sync-delay 0",
    "repl-backlog-size 16mb",
    "",
  ].join("\n");
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
