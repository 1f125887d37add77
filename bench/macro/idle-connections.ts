/**
 * What connections cost that do nothing: their clients live in a process of their own, each makes one
 * request, then all stay open while the proxy's memory is read.
 */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { measure } from "./load.ts";
import { readRssBytes } from "./process-meter.ts";
import type { Target } from "./targets.ts";

export interface IdleMemory {
  readonly connections: number;
  readonly rssBeforeBytes: number;
  readonly rssAfterBytes: number;
  readonly bytesPerConnection: number;
}

/** A load before, so that what the program needs to run at all (compiled code, pools) is not counted. */
const WARM_UP = { point: { operation: "GET", clients: 50, pipeline: 1 }, requests: 60_000 } as const;
/** Memory is read when it has not changed by more than this for so long: a collector may still be at work. */
const STEADY_BYTES = 256 << 10;
const STEADY_READINGS = 8;
const READING_PERIOD_MS = 250;
const READINGS_MAX = 60;

/** Measures a proxy that was started for this and has served nothing else. */
export async function measureIdleConnections(target: Target, connections: number): Promise<IdleMemory> {
  const pid = target.proxyPid as number;
  await measure(target, WARM_UP.point, WARM_UP.requests);
  const rssBeforeBytes = await steadyRssBytes(pid);
  const clients = await openClients(target.port, connections);
  const rssAfterBytes = await steadyRssBytes(pid);
  clients.close();
  const bytesPerConnection = (rssAfterBytes - rssBeforeBytes) / connections;
  return { connections, rssBeforeBytes, rssAfterBytes, bytesPerConnection };
}

async function steadyRssBytes(pid: number): Promise<number> {
  let last = readRssBytes(pid);
  let steady = 0;
  for (let i = 0; i < READINGS_MAX && steady < STEADY_READINGS; i++) {
    await Bun.sleep(READING_PERIOD_MS);
    const now = readRssBytes(pid);
    steady = Math.abs(now - last) <= STEADY_BYTES ? steady + 1 : 0;
    last = now;
  }
  return last;
}

/** @throws Error when the clients' process ends before all its clients are served */
function openClients(port: number, connections: number): Promise<{ close(): void }> {
  const file = join(import.meta.dirname, "idle-clients.ts");
  const words = ["-c", 'ulimit -n "$(ulimit -Hn)"; exec "$@"', "sh", process.execPath, file];
  return new Promise((resolve, reject) => {
    const child = spawn("sh", [...words, String(port), String(connections)], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    child.stdout.once("data", () => resolve({ close: () => child.stdin.end() }));
    child.once("exit", (status) => reject(new Error(`The idle clients ended with status ${status}`)));
  });
}
