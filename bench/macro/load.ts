/** One run of redis-benchmark against one target, with what it cost the processes behind it. */
import { spawn } from "node:child_process";
import { cpuNsBetween, readCpu } from "./process-meter.ts";
import type { Target } from "./targets.ts";

/** Keys are random among so many. */
export const KEYS = 100_000;
export const VALUE_BYTES = 32;

/** redis-benchmark spins for ever when a connection is cut under it. */
const LOAD_MS_MAX = 60_000;

const ARGUMENTS_SHOWN_MAX = 20;

export type Operation = "SET" | "GET" | "MGET";

/** A point of the comparison. */
export interface Point {
  readonly operation: Operation;
  readonly clients: number;
  /** Requests that each client sends at once. */
  readonly pipeline: number;
}

/** Latencies are milliseconds; what a request costs is microseconds of CPU time. */
export interface Sample {
  readonly requestsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** User and system time of the proxy process; 0 for the bare server. */
  readonly proxyCpuUs: number;
  /** The same, of all its redis-servers together. */
  readonly serverCpuUs: number;
}

/** Keys of one MGET. */
export const MGET_KEYS = 100;

/** Runs `requests` requests and measures. */
export async function measure(target: Target, point: Point, requests: number): Promise<Sample> {
  const pids = [...(target.proxyPid === null ? [] : [target.proxyPid]), ...target.serverPids];
  const before = pids.map(readCpu);
  const csv = await runRedisBenchmark(argumentsFor(target, point, requests));
  const cpuUs = pids.map((pid, index) => cpuNsBetween(before[index], readCpu(pid)) / 1000 / requests);
  const proxyCpuUs = target.proxyPid === null ? 0 : (cpuUs.shift() as number);
  const serverCpuUs = cpuUs.reduce((sum, each) => sum + each, 0);
  return { ...parseCsv(csv), proxyCpuUs, serverCpuUs };
}

/** The mean of each value. */
export function meanOf(samples: readonly Sample[]): Sample {
  const of = (key: keyof Sample): number =>
    samples.reduce((sum, sample) => sum + sample[key], 0) / samples.length;
  return {
    requestsPerSecond: of("requestsPerSecond"),
    p50Ms: of("p50Ms"),
    p99Ms: of("p99Ms"),
    proxyCpuUs: of("proxyCpuUs"),
    serverCpuUs: of("serverCpuUs"),
  };
}

function argumentsFor(target: Target, point: Point, requests: number): string[] {
  const { operation, clients, pipeline } = point;
  const load = ["-c", String(clients), "-P", String(pipeline), "-n", String(requests)];
  const data = ["-r", String(KEYS), "-d", String(VALUE_BYTES)];
  const common = ["-h", "127.0.0.1", "-p", String(target.port), "--csv", ...load, ...data];
  if (operation !== "MGET") return [...common, "-t", operation.toLowerCase()];
  return [...common, "MGET", ...Array.from({ length: MGET_KEYS }, () => "key:__rand_int__")];
}

function runRedisBenchmark(args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn("redis-benchmark", args, { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    let errors = "";
    child.stdout.on("data", (chunk) => (output += chunk));
    child.stderr.on("data", (chunk) => (errors += chunk));
    child.once("error", (error) => reject(new Error(`Cannot run redis-benchmark: ${error.message}`)));
    const timer = setTimeout(() => child.kill("SIGKILL"), LOAD_MS_MAX);
    child.once("close", (status, signal) => {
      clearTimeout(timer);
      const words = args.slice(0, ARGUMENTS_SHOWN_MAX).join(" ");
      const end = signal === "SIGKILL" ? `did not finish within ${LOAD_MS_MAX} ms` : `ended with ${status}`;
      if (status === 0) resolve(output);
      else reject(new Error(`redis-benchmark ${words} ${end}: ${errors.trim()}`));
    });
  });
}

/**
 * A header line, then one line: "SET","65789.48", average, minimum, p50, p95, p99, maximum (milliseconds).
 */
function parseCsv(text: string): Pick<Sample, "requestsPerSecond" | "p50Ms" | "p99Ms"> {
  const line = text.trim().split("\n").at(-1) ?? "";
  const fields = [...line.matchAll(/"([^"]*)"/g)].map((match) => Number(match[1]));
  const [, requestsPerSecond, , , p50Ms, , p99Ms] = fields;
  if (!(requestsPerSecond > 0)) throw new Error(`Cannot read what redis-benchmark printed: ${text}`);
  return { requestsPerSecond, p50Ms, p99Ms };
}
