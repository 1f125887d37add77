/** Shoal and Redis Cluster, each over three redis-servers of which two hold everything at first. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { join } from "node:path";
import { fetchStatus } from "../../src/contract/client.ts";
import { addGroup, drainGroup, rebalance } from "../../src/contract/group-client.ts";
import { fetchMoves } from "../../src/contract/move-client.ts";
import { systemHttpClient } from "../../src/platform/http/http-client.ts";
import { until } from "../../test/support/until.ts";
import { freePort } from "../../test/support/redis-process.ts";
import { type Served, Workbench } from "../macro/workbench.ts";
import { openCluster, openProxy } from "./entrance.ts";
import { type Movable, sleep } from "./measure.ts";
import { RespPipe } from "./resp-pipe.ts";

const SHOAL = join(import.meta.dirname, "../../bin/shoal");
const READY_MS_MAX = 30_000;
/** How often the end of a move is looked for. */
const MOVE_POLL_MS = 50;
const CLUSTER_SLOTS = 16384;

export async function startShoal(bench: Workbench): Promise<Movable> {
  const servers = await startServers(bench, []);
  const [controlPort, proxyPort] = [await freePort(), await freePort()];
  const folder = bench.makeFolder("shoal");
  const groups = servers.slice(0, 2).flatMap((server, i) => {
    return ["[[cluster.groups]]", `id = "g${i + 1}"`, `primary = "127.0.0.1:${server.port}"`];
  });
  const store = ["[store]", 'kind = "sqlite"', `path = ${JSON.stringify(join(folder, "shoal.db"))}`];
  const cluster = ["[cluster]", 'name = "bench"', "slots = 1024", ...groups];
  const head = ['id = "c1"', `listen = "127.0.0.1:${controlPort}"`, ...store, ...cluster];
  const controllerFile = bench.writeFile("controller.toml", head.join("\n"));
  await bench.serve("controller", controlPort, [SHOAL, "controller", "--config", controllerFile]);
  const target = { url: `http://127.0.0.1:${controlPort}`, token: null };
  const ready = async (count: number): Promise<void> => {
    const check = async (): Promise<boolean> => {
      const { groups: seen } = await fetchStatus(systemHttpClient, target);
      return seen.length === count && seen.every((group) => group.state === "ok");
    };
    await until(check, `${count} groups are served`, READY_MS_MAX);
  };
  await ready(2);
  const proxyLines = [
    'id = "p1"',
    `listen = "127.0.0.1:${proxyPort}"`,
    `controllers = ["${target.url}"]`,
    "workers = 1",
    `state_dir = ${JSON.stringify(folder)}`,
  ];
  const proxyFile = bench.writeFile("proxy.toml", proxyLines.join("\n"));
  await bench.serve("proxy", proxyPort, [SHOAL, "proxy", "--config", proxyFile]);
  const primary = `127.0.0.1:${servers[2].port}`;
  const { id } = await addGroup(systemHttpClient, target, { primary, replicas: [], adopt: false, slots: [] });
  await ready(3);
  const finished = async (): Promise<void> => {
    for (;;) {
      const { moves, refused } = await fetchMoves(systemHttpClient, target);
      if (refused.length > 0) throw new Error(`shoal: ${refused.length} keys were refused`);
      if (moves.length === 0) return;
      await sleep(MOVE_POLL_MS);
    }
  };
  return {
    name: "shoal",
    open: () => openProxy(proxyPort),
    keysOf: () => keysOf(servers),
    grow: async () => {
      await rebalance(systemHttpClient, target, { by: "slots", weights: {}, dryRun: false });
      await finished();
    },
    shrink: async () => {
      await drainGroup(systemHttpClient, target, id, { dryRun: false, undo: false });
      await finished();
    },
    stop: () => bench.close(),
  };
}

export async function startCluster(bench: Workbench): Promise<Movable> {
  const servers = await startServers(bench, ["--cluster-enabled", "yes"]);
  const [first, second, third] = servers;
  const half = CLUSTER_SLOTS / 2;
  await ask(first, ["CLUSTER", "ADDSLOTSRANGE", "0", String(half - 1)]);
  await ask(second, ["CLUSTER", "ADDSLOTSRANGE", String(half), String(CLUSTER_SLOTS - 1)]);
  for (const [epoch, server] of servers.entries()) {
    await ask(server, ["CLUSTER", "SET-CONFIG-EPOCH", String(epoch + 1)]);
  }
  for (const server of [second, third])
    await ask(first, ["CLUSTER", "MEET", "127.0.0.1", String(server.port)]);
  const joined = async (server: Served): Promise<boolean> => {
    const info = await ask(server, ["CLUSTER", "INFO"]);
    return info.includes("cluster_state:ok");
  };
  await until(
    async () => (await Promise.all(servers.map(joined))).every(Boolean),
    "the cluster is up",
    READY_MS_MAX,
  );
  // Every node must know every other one, or redis-cli refuses.
  const address = `127.0.0.1:${first.port}`;
  await until(
    async () => (await redisCli("check", address)).includes("All nodes agree"),
    "all nodes agree",
    READY_MS_MAX,
  );
  const owners = Array.from({ length: CLUSTER_SLOTS }, (_, slot) => (slot < half ? first.port : second.port));
  return {
    name: "redis cluster",
    open: () => openCluster(owners),
    keysOf: () => keysOf(servers),
    grow: async () => void (await redisCli("rebalance", address, "--cluster-use-empty-masters")),
    shrink: async () => {
      const id = (await ask(third, ["CLUSTER", "MYID"])).split("\r\n")[1];
      await redisCli("rebalance", address, "--cluster-weight", `${id}=0`);
    },
    stop: () => bench.close(),
  };
}

async function startServers(bench: Workbench, args: readonly string[]): Promise<Served[]> {
  const servers: Served[] = [];
  for (let i = 0; i < 3; i++) {
    const port = await clusterPort();
    const folder = bench.makeFolder(`server-${port}`);
    const program = Bun.which("redis-server") ?? "valkey-server";
    const fixed = [
      "--bind",
      "127.0.0.1",
      "--port",
      String(port),
      "--dir",
      folder,
      "--save",
      "",
      "--appendonly",
      "no",
    ];
    servers.push(await bench.serve("redis-server", port, [program, ...fixed, ...args]));
  }
  return servers;
}

/** The bus of Redis Cluster listens 10,000 above. */
async function clusterPort(): Promise<number> {
  for (;;) {
    const port = await freePort();
    if (port < 55_000) return port;
  }
}

async function keysOf(servers: readonly Served[]): Promise<number[]> {
  return Promise.all(servers.map(async (server) => Number((await ask(server, ["DBSIZE"])).slice(1))));
}

/** One command to one server; long answers come cut. */
async function ask(server: Served, words: readonly string[]): Promise<string> {
  const pipe = await RespPipe.open("127.0.0.1", server.port);
  try {
    const reply = await pipe.send(words);
    if (reply.startsWith("-")) throw new Error(`${words.join(" ")}: ${reply}`);
    return reply;
  } finally {
    pipe.close();
  }
}

async function redisCli(action: string, address: string, ...args: string[]): Promise<string> {
  try {
    return (
      await promisify(execFile)("redis-cli", ["--cluster", action, address, ...args], { maxBuffer: 1 << 26 })
    ).stdout;
  } catch (error) {
    const output = (error as { stdout?: string }).stdout ?? "";
    if (action === "check") return output;
    throw new Error(`redis-cli --cluster ${action} failed: ${output.slice(-500)}`, { cause: error });
  }
}
