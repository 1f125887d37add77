/**
 * The four systems, each with one group (or shard) that is watched and hit: a primary and two replicas; in
 * Redis Cluster, of 6 nodes, one. Shoal and Redis Cluster have two more groups beside it: both are careful
 * when too much of a cluster is dead. Two replicas, because with acks=replica a group of two takes no writes
 * while one of them is away.
 */

import { Cluster, Redis } from "ioredis";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { until } from "../../test/support/until.ts";
import { clusterSlot } from "./cluster-slot.ts";
import { Fleet, type FleetServer } from "./fleet.ts";
import { IoredisDriver } from "./ioredis-driver.ts";
import type { FailoverOptions, SystemName } from "./options.ts";
import { startShoal } from "./shoal-system.ts";
import { HEAL_MS_MAX, type System, primaryOf, startServers } from "./system.ts";

export function startSystem(name: SystemName, basePort: number, options: FailoverOptions): Promise<System> {
  const fleet = new Fleet(basePort);
  const start = {
    sentinel: startSentinel,
    cluster: startCluster,
    shoal: startShoal,
    "shoal-acks": startShoal,
  };
  return start[name](fleet, basePort, options, name).catch(async (error: unknown) => {
    await fleet.close();
    throw error;
  });
}

async function startSentinel(
  fleet: Fleet,
  basePort: number,
  options: FailoverOptions,
  name: SystemName,
): Promise<System> {
  const members = await startServers(fleet, 3);
  const [primary, ...replicas] = members;
  for (const replica of replicas) await replica.client.replicaOf(primary.addr);
  const sentinels = [1, 2, 3].map((i) => ({ host: fleet.watchersAddress, port: basePort + 20 + i }));
  for (const { port } of sentinels) {
    const lines = [
      `bind ${fleet.watchersAddress}`,
      `port ${port}`,
      "protected-mode no",
      `dir ${fleet.folder}`,
      `sentinel monitor watched ${primary.host} ${primary.port} 2`,
      `sentinel down-after-milliseconds watched ${options.downAfterMs}`,
      "sentinel failover-timeout watched 10000",
    ];
    const file = join(fleet.folder, `sentinel-${port}.conf`);
    writeFileSync(file, `${lines.join("\n")}\n`);
    fleet.startWatcher(`sentinel-${port}`, ["redis-server", file, "--sentinel"]);
  }
  const system: System = {
    name,
    fleet,
    members,
    driver: new IoredisDriver(name, () => new Redis({ sentinels, name: "watched" })),
    holds: () => true,
    awaitWhole: async () => {
      await until(async () => follows(system), `${name} is whole`, HEAL_MS_MAX);
      await until(async () => sentinelsAgree(sentinels, system), "the sentinels know it", HEAL_MS_MAX);
    },
  };
  await system.awaitWhole();
  return system;
}

/** Each sentinel knows the primary of now, two other sentinels, and a replica that it holds to be good. */
async function sentinelsAgree(
  sentinels: ReadonlyArray<{ host: string; port: number }>,
  system: System,
): Promise<boolean> {
  const primary = await primaryOf(system);
  for (const address of sentinels) {
    const client = new Redis({ ...address, lazyConnect: true, retryStrategy: null });
    client.on("error", () => {});
    try {
      await client.connect();
      const [, port] = (await client.call("SENTINEL", "get-master-addr-by-name", "watched")) as string[];
      const others = (await client.call("SENTINEL", "sentinels", "watched")) as unknown[];
      const replicas = (await client.call("SENTINEL", "replicas", "watched")) as string[][];
      const good = replicas.filter((one) => one[one.indexOf("flags") + 1] === "slave");
      if (Number(port) !== primary.port || others.length !== 2 || good.length !== 2) return false;
    } finally {
      client.disconnect();
    }
  }
  return true;
}

async function startCluster(
  fleet: Fleet,
  _basePort: number,
  options: FailoverOptions,
  name: SystemName,
): Promise<System> {
  const args = ["--cluster-enabled", "yes", "--cluster-node-timeout", String(options.downAfterMs)];
  const servers = await startServers(fleet, 6, args);
  const addresses = [0, 2, 4, 1, 3, 5].map((i) => servers[i].addr);
  const create = ["--cluster", "create", ...addresses, "--cluster-replicas", "1", "--cluster-yes"];
  const creator = fleet.start("create", ["redis-cli", ...create]);
  await new Promise((resolve) => creator.once("exit", resolve));
  const nodes = servers.map(({ host, port }) => ({ host, port }));
  await until(async () => clusterIsWhole(servers), `${name} is whole`, HEAL_MS_MAX);
  // Which replica follows the first primary is redis-cli's choice.
  const first = servers[0];
  const roles = await Promise.all(servers.map((server) => server.client.role()));
  const replica = servers[roles.findIndex((role) => role.role === "replica" && role.follows === first.addr)];
  const id = String(await first.client.command(["CLUSTER", "MYID"]));
  const lines = String(await first.client.command(["CLUSTER", "NODES"])).split("\n");
  const slotsEnd = Number(
    lines
      .find((line) => line.startsWith(id))
      ?.split(" ")[8]
      .split("-")[1],
  );
  return {
    name,
    fleet,
    members: [first, replica],
    driver: new IoredisDriver(name, () => new Cluster(nodes)),
    holds: (tag) => clusterSlot(tag) <= slotsEnd,
    awaitWhole: () => until(async () => clusterIsWhole(servers), `${name} is whole`, HEAL_MS_MAX),
  };
}

/** Every node says so, and every primary has its replica. */
async function clusterIsWhole(servers: readonly FleetServer[]): Promise<boolean> {
  let primaries = 0;
  for (const server of servers) {
    const info = String(await server.client.command(["CLUSTER", "INFO"]));
    const nodes = String(await server.client.command(["CLUSTER", "NODES"]));
    if (!info.includes("cluster_state:ok") || /fail|handshake|disconnected/.test(nodes)) return false;
    const role = await server.client.role();
    if (role.role === "primary") primaries++;
    if (role.role === "primary" ? role.replicas !== 1 : role.link !== "connected") return false;
  }
  return primaries === 3;
}

async function follows(system: System): Promise<boolean> {
  const roles = await Promise.all(system.members.map((server) => server.client.role()));
  return roles.every((role) => {
    return role.role === "primary" ? role.replicas === roles.length - 1 : role.link === "connected";
  });
}
