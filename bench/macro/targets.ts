/**
 * What the load is pointed at: Shoal, nutcracker, and one redis-server with nothing in front of it.
 *
 *   redis-benchmark ─┬─▶ shoal (one worker) ─┬─▶ redis-server 1
 *                    ├─▶ nutcracker ─────────┼─▶ redis-server 2
 *                    └─▶ bare = redis-server 1
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { evenRanges, type ClusterMap } from "../../src/topology/cluster-map.ts";
import { until } from "../../test/support/until.ts";
import { freePort } from "../../test/support/redis-process.ts";
import type { Served, Workbench } from "./workbench.ts";

const SHOAL = join(import.meta.dirname, "../../bin/shoal");
const SLOTS = 1024;

export type TargetName = "shoal" | "portable" | "nutcracker" | "bare" | "replica" | "async";

export interface Target {
  readonly name: TargetName;
  readonly port: number;
  /** The process whose CPU and memory count: Shoal's worker, nutcracker; null for the bare server. */
  readonly proxyPid: number | null;
  /** The redis-servers that do its work. */
  readonly serverPids: readonly number[];
  stop(): Promise<void>;
}

/** A redis-server without persistence, in a folder of its own: one may lie around that has a dump to load. */
export async function startServer(bench: Workbench): Promise<Served> {
  const port = await freePort();
  const folder = bench.makeFolder(`server-${port}`);
  const program = Bun.which("redis-server") ?? "valkey-server";
  const network = ["--bind", "127.0.0.1", "--port", String(port)];
  const disk = ["--dir", folder, "--save", "", "--appendonly", "no"];
  return bench.serve("redis-server", port, [program, ...network, ...disk]);
}

export function bareTarget(server: Served): Target {
  return { name: "bare", port: server.port, proxyPid: null, serverPids: [server.pid], stop: server.stop };
}

/**
 * Shoal as it is run in production, with a fixed map: one worker, one group per server. `options`: the map's.
 */
export async function startShoal(
  bench: Workbench,
  servers: readonly Served[],
  name: "shoal" | "portable" | "replica" | "async" = "shoal",
  options: ClusterMap["options"] = {},
): Promise<Target> {
  const port = await freePort();
  const mapFile = bench.writeFile(`map-${port}.json`, JSON.stringify({ ...mapOf(servers), options }));
  const config = [
    `listen = "127.0.0.1:${port}"`,
    `map_file = ${JSON.stringify(mapFile)}`,
    "workers = 1",
    `io = "${name === "portable" ? "portable" : "auto"}"`,
  ];
  const file = bench.writeFile(`proxy-${port}.toml`, config.join("\n"));
  const master = await bench.serve(name, port, [SHOAL, "proxy", "--config", file]);
  let proxyPid = 0;
  await until(() => {
    const worker = childrenOf(master.pid).find((pid) => commandLineOf(pid).includes("worker"));
    proxyPid = worker ?? 0;
    return worker !== undefined;
  }, `shoal (pid ${master.pid}) has a worker`);
  return { name, port, proxyPid, serverPids: servers.map((server) => server.pid), stop: master.stop };
}

/** Where nutcracker is, or null. Debian puts it where only root's PATH leads. */
export function nutcrackerProgram(): string | null {
  return Bun.which("nutcracker", { PATH: `${process.env.PATH}:/usr/sbin:/usr/local/sbin` });
}

/** With its default buffers. Null when there is no nutcracker on this machine. */
export async function startNutcracker(bench: Workbench, servers: readonly Served[]): Promise<Target | null> {
  const program = nutcrackerProgram();
  if (program === null) return null;
  const port = await freePort();
  const config = [
    "bench:",
    `  listen: 127.0.0.1:${port}`,
    "  redis: true",
    "  hash: crc32a",
    "  distribution: modula",
    "  servers:",
    ...servers.map((server) => `   - 127.0.0.1:${server.port}:1`),
  ];
  const file = bench.writeFile(`nutcracker-${port}.yml`, `${config.join("\n")}\n`);
  // Its statistics listen on a fixed port of all interfaces unless told otherwise.
  const stats = ["--stats-addr=127.0.0.1", `--stats-port=${await freePort()}`];
  const served = await bench.serve("nutcracker", port, [program, "-c", file, ...stats]);
  const serverPids = servers.map((server) => server.pid);
  return { name: "nutcracker", port, proxyPid: served.pid, serverPids, stop: served.stop };
}

function mapOf(servers: readonly Served[]): ClusterMap {
  const groups = servers.map((server, index) => ({
    id: `g${index + 1}`,
    number: index + 1,
    primary: `127.0.0.1:${server.port}`,
    replicas: [],
  }));
  const ids = groups.map((group) => group.id);
  const ranges = evenRanges(SLOTS, ids);
  return { cluster: "bench", version: 1, term: 1, hash: "crc32", slots: SLOTS, groups, ranges, options: {} };
}

function childrenOf(pid: number): number[] {
  const threads = readdirSync(`/proc/${pid}/task`);
  const lists = threads.map((thread) => readFileSync(`/proc/${pid}/task/${thread}/children`, "utf8"));
  return lists.join(" ").split(" ").filter(Boolean).map(Number);
}

function commandLineOf(pid: number): string {
  return readFileSync(`/proc/${pid}/cmdline`, "utf8");
}
