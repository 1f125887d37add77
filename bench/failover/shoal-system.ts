/**
 * Shoal as it would be installed on machines: three groups, a controller on a machine of its own, and a proxy
 * on the side of each server of the group that is hit. Clients are dealt out over the three proxies, so when
 * a primary is cut off there are clients on both sides: a third of them talk to the proxy that is cut off
 * with it.
 */
import { Redis } from "ioredis";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fetchStatus } from "../../src/contract/client.ts";
import type { ClusterStatus } from "../../src/contract/schemas.ts";
import { systemHttpClient } from "../../src/platform/http/http-client.ts";
import { slotOf } from "../../src/routing/slot-of.ts";
import { until } from "../../test/support/until.ts";
import type { Fleet, FleetServer } from "./fleet.ts";
import { IoredisDriver } from "./ioredis-driver.ts";
import type { FailoverOptions, SystemName } from "./options.ts";
import { HEAL_MS_MAX, type System, startServers } from "./system.ts";

const SHOAL = join(import.meta.dirname, "../../bin/shoal");
const SLOTS = 1024;
/** What does not listen on loopback wants one. */
const TOKEN = "of-this-benchmark-only";
/** Members of each group; the first group is hit. */
const GROUP_SIZES = [3, 2, 2];

export async function startShoal(
  fleet: Fleet,
  basePort: number,
  options: FailoverOptions,
  name: SystemName,
): Promise<System> {
  const servers = await startServers(fleet, 7);
  const members = servers.slice(0, GROUP_SIZES[0]);
  const control = `${fleet.watchersAddress}:${basePort + 20}`;
  writeFileSync(join(fleet.folder, "controller.toml"), controllerFile(control, servers, options, name));
  fleet.startWatcher("controller", [SHOAL, "controller", "--config", "controller.toml"]);
  const entrances = members.map((member, i) => {
    const entrance = { host: fleet.addSide(member), port: basePort + 30 + i };
    startProxy(fleet, member, `p${i + 1}`, entrance, control);
    return entrance;
  });
  const awaitWhole = async (): Promise<void> => {
    const check = async (): Promise<boolean> => {
      return isWhole(await fetchStatus(systemHttpClient, { url: `http://${control}`, token: TOKEN }));
    };
    await until(check, `${name} is whole`, HEAL_MS_MAX);
  };
  await awaitWhole();
  let opened = 0;
  const connect = (): Redis => {
    return new Redis({ ...entrances[opened++ % entrances.length], password: TOKEN });
  };
  return {
    name,
    fleet,
    members,
    driver: new IoredisDriver(name, connect),
    holds: (tag) => slotOf(Buffer.from(tag), 0, tag.length, SLOTS - 1) < SLOTS / 3,
    awaitWhole,
  };
}

/** Every group has its copies, every proxy serves by the map of now. */
function isWhole(status: ClusterStatus): boolean {
  const { groups, proxies, map } = status;
  return (
    groups.length === GROUP_SIZES.length &&
    groups.every((group) => group.state === "ok" && group.protected === true) &&
    groups.every((group) => group.replicas.every((replica) => replica.state === "online")) &&
    proxies.length === GROUP_SIZES[0] &&
    proxies.every((proxy) => proxy.state === "serving" && proxy.map?.version === map.version)
  );
}

function startProxy(
  fleet: Fleet,
  member: FleetServer,
  id: string,
  { host, port }: { host: string; port: number },
  control: string,
): void {
  const folder = join(fleet.folder, id);
  mkdirSync(folder);
  const lines = [
    `id = "${id}"`,
    `listen = "${host}:${port}"`,
    `requirepass = "${TOKEN}"`,
    `controllers = ["http://${control}"]`,
    `controller_token = "${TOKEN}"`,
    "workers = 1",
    `state_dir = ${JSON.stringify(folder)}`,
  ];
  const file = join(folder, "proxy.toml");
  writeFileSync(file, `${lines.join("\n")}\n`);
  fleet.startAtSide(member, id, [SHOAL, "proxy", "--config", file]);
}

function controllerFile(
  control: string,
  servers: readonly FleetServer[],
  options: FailoverOptions,
  name: SystemName,
): string {
  const left = [...servers];
  const groups = GROUP_SIZES.flatMap((size, i) => {
    const [primary, ...replicas] = left.splice(0, size).map(({ addr }) => addr);
    return [
      "[[cluster.groups]]",
      `id = "g${i + 1}"`,
      `primary = "${primary}"`,
      `replicas = ${JSON.stringify(replicas)}`,
    ];
  });
  const lines = [
    'id = "c1"',
    `listen = "${control}"`,
    `token = "${TOKEN}"`,
    `down_after_ms = ${options.downAfterMs}`,
    "[store]",
    'kind = "sqlite"',
    'path = "shoal.db"',
    "[cluster]",
    'name = "bench"',
    `slots = ${SLOTS}`,
    ...groups,
    ...(name === "shoal-acks" ? ["[cluster.options]", 'acks = "replica"'] : []),
  ];
  return `${lines.join("\n")}\n`;
}
