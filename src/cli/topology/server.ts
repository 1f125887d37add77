/** `shoal server add`, `server remove`, `server list`. */
import { addServer, fetchServers, removeServer, setZone } from "../../contract/group-client.ts";
import type { ServerList } from "../../contract/group-schemas.ts";
import { type CommandRow, CONTROL_OPTION, DIR_OPTION } from "../command.ts";
import { formatBytes, formatTable } from "../print-table.ts";
import { controllerTarget } from "../target.ts";
import { awaitReplicas } from "./await-replicas.ts";
import { stopLocalServers } from "./local-servers.ts";

/**
 * Comes back when the server is in sync with its primary; the controller goes on wiring it when nobody waits.
 * `--json` prints {group, addr, primary, version, keysReplaced, inSync}.
 */
export const serverAddCommand: CommandRow = {
  name: "server add",
  argument: "<group> <address>",
  summary: "Add a replica to a group; comes back when it is in sync",
  examples: [
    ["shoal server add g1 10.0.0.7:6379", "an empty server becomes a replica of g1's primary"],
    ["shoal server add g1 10.0.0.7:6379 --adopt", "the keys that it holds are replaced by the group's"],
  ],
  options: [
    { flags: "--adopt", type: "flag", doc: "a server with keys of its own: they are lost" },
    { flags: "--no-wait", type: "flag", doc: "come back before it is in sync" },
    DIR_OPTION,
    CONTROL_OPTION,
  ],
  async run(world, options, [group, addr]) {
    const target = await controllerTarget(world, options);
    const added = await addServer(world.http, target, { group, addr, adopt: options.adopt === true });
    const wait = options.wait !== false;
    if (wait) await awaitReplicas(world, target, options, [addr]);
    if (options.json) {
      world.print(JSON.stringify({ ...added, inSync: wait }, null, 2));
      return 0;
    }
    const replaced = added.keysReplaced === 0 ? "" : `; its own ${added.keysReplaced} keys are replaced`;
    const state = wait ? "is in sync with" : "is being wired to";
    world.print(`Server ${addr} is in group ${group}: it ${state} its primary ${added.primary}${replaced}.`);
    if (!wait) world.print("`shoal server list` shows how far it is.");
    return 0;
  },
};

/**
 * A replica only: a primary goes by `shoal failover` or with its group. `--json` prints {group, addr,
 * detached, notes, stopped}.
 */
export const serverRemoveCommand: CommandRow = {
  name: "server remove",
  argument: "<address>",
  summary: "Take a replica out of its group; it keeps its keys and follows nobody any more",
  examples: [["shoal server remove 10.0.0.7:6379", "one that `shoal up` started is stopped as well"]],
  options: [DIR_OPTION, CONTROL_OPTION],
  async run(world, options, [addr]) {
    const target = await controllerTarget(world, options);
    const removed = await removeServer(world.http, target, addr);
    const stopped = await stopLocalServers(world, options, [removed.addr]);
    if (options.json) {
      world.print(JSON.stringify({ ...removed, stopped }, null, 2));
      return 0;
    }
    const also = stopped.length > 0 ? " and is stopped" : "";
    world.print(`Server ${removed.addr} is out of group ${removed.group}${also}.`);
    for (const note of removed.notes) world.printError(`Note: ${note}`);
    return 0;
  },
};

/** Zones are names of the cluster's owner; a proxy has its own in proxy.toml. */
export const serverZoneCommand: CommandRow = {
  name: "server zone",
  argument: "<address> [zone]",
  summary: "Say where a server stands, for reads from the nearest one",
  examples: [
    ["shoal server zone 10.0.0.7:6379 eu-1a", "proxies with zone eu-1a prefer it (option read_from=nearest)"],
    ["shoal server zone 10.0.0.7:6379", "not known any more"],
  ],
  options: [DIR_OPTION, CONTROL_OPTION],
  async run(world, options, [addr, zone = ""]) {
    const answer = await setZone(world.http, await controllerTarget(world, options), { addr, zone });
    if (options.json) world.print(JSON.stringify(answer, null, 2));
    else world.print(zone === "" ? `Server ${addr} has no zone.` : `Server ${addr} is in zone ${zone}.`);
    return 0;
  },
};

/** `--json` prints {servers, problems}; sizes and lags in bytes. */
export const serverListCommand: CommandRow = {
  name: "server list",
  argument: "",
  summary: "Show every server: group, role, state, keys, memory, how far behind",
  examples: [["shoal server list", "a line for each"]],
  options: [DIR_OPTION, CONTROL_OPTION],
  async run(world, options) {
    const list = await fetchServers(world.http, await controllerTarget(world, options));
    world.print(options.json ? JSON.stringify(list, null, 2) : formatServers(list));
    return 0;
  },
};

/** A line per server, below it what keeps a group from being whole. */
function formatServers(list: ServerList): string {
  const rows = list.servers.map((server) => [
    server.addr,
    server.group,
    server.role,
    server.sync === null ? server.state : `${server.state} (${formatBytes(server.sync.readBytes)})`,
    server.lagBytes === null ? "-" : formatBytes(server.lagBytes),
    server.keys === null ? "-" : server.keys.toLocaleString("en"),
    server.memoryBytes === null ? "-" : formatBytes(server.memoryBytes),
    server.version ?? "-",
    server.zone,
  ]);
  const head = ["SERVER", "GROUP", "ROLE", "STATE", "LAG", "KEYS", "DATA", "VERSION", "ZONE"];
  const problems = list.problems.map((problem) => problem.message);
  const table = formatTable([head, ...rows]);
  return problems.length === 0 ? table : `${table}\n\n${["PROBLEMS", ...problems].join("\n")}`;
}
