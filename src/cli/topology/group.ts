/** `shoal group add`, `group remove`, `group list`; `group drain` is in rebalance.ts. */
import type { ControllerTarget } from "../../contract/client.ts";
import { addGroup, fetchGroups, fetchSlots, removeGroup } from "../../contract/group-client.ts";
import type { GroupAdded, GroupList } from "../../contract/group-schemas.ts";
import { formatSlotSpans, parseSlotSpans } from "../../topology/slot-ranges.ts";
import { type CommandRow, CONTROL_OPTION, DIR_OPTION, type OptionValues, type World } from "../command.ts";
import { HintedError } from "../hinted-error.ts";
import { formatBytes, formatTable } from "../print-table.ts";
import { Progress } from "../progress.ts";
import { controllerTarget } from "../target.ts";
import { awaitReplicas } from "./await-replicas.ts";
import { startLocalServers, stopLocalServers } from "./local-servers.ts";

/** Ranges of a group that its line names; `shoal slot list` has them all. */
const RANGES_SHOWN_MAX = 4;

/** One replica is what a group needs to survive its primary. */
const LOCAL_REPLICAS = 1;

/**
 * Comes back when every replica is in sync: only then does the group survive the loss of its primary, and
 * only then should slots move to it. `--json` prints {id, primary, replicas, inSync}.
 */
export const groupAddCommand: CommandRow = {
  name: "group add",
  argument: "[primary] [replica...]",
  summary: "Add a group of servers; `shoal rebalance` then gives it slots",
  examples: [
    ["shoal group add 10.0.0.7:6379 10.0.0.8:6379", "a primary and its replica, both empty"],
    ["shoal group add --local", "in a cluster of `shoal up`: starts the servers, too"],
    ["shoal group add 10.0.0.7:6379 --adopt --slots 0-99", "a primary that holds the keys of these slots"],
  ],
  options: [
    { flags: "--local", type: "flag", doc: "let the running `shoal up` start the servers" },
    {
      flags: "--replicas <number>",
      type: "int",
      min: 0,
      max: 10,
      doc: "with --local: replicas to start",
      shownDefault: String(LOCAL_REPLICAS),
    },
    {
      flags: "--adopt",
      type: "flag",
      doc: "servers with keys: the primary's are served, the replicas' are lost",
    },
    {
      flags: "--slots <range>",
      type: "text",
      doc: "slots that it serves at once: those of its primary's keys",
    },
    { flags: "--no-wait", type: "flag", doc: "come back before the replicas are in sync" },
    DIR_OPTION,
    CONTROL_OPTION,
  ],
  async run(world, options, addrs) {
    const target = await controllerTarget(world, options);
    checkAddresses(options, addrs);
    const added = options.local
      ? await addLocal(world, options, target)
      : await add(world, options, target, addrs);
    const wait = options.wait !== false;
    if (wait) await awaitReplicas(world, target, options, added.replicas);
    if (options.json) {
      world.print(JSON.stringify({ ...added, inSync: wait }, null, 2));
      return 0;
    }
    const replicas = added.replicas.length === 0 ? "no replica" : `replicas ${added.replicas.join(", ")}`;
    const state = added.replicas.length > 0 && wait ? ", in sync" : "";
    world.print(`Group ${added.id} is added: primary ${added.primary}, ${replicas}${state}.`);
    if (options.slots === undefined)
      world.print("It has no slots yet: `shoal rebalance` gives it its share.");
    return 0;
  },
};

/**
 * The servers of a demo cluster are stopped as well, because nobody else would ever stop them; those from
 * elsewhere are somebody's own. `--json` prints {id, servers, keysLeft, stopped}.
 */
export const groupRemoveCommand: CommandRow = {
  name: "group remove",
  argument: "<group>",
  summary: "Take a group out that owns no slots any more",
  examples: [["shoal group remove g2", "after `shoal group drain g2`; servers of `shoal up` are stopped"]],
  options: [DIR_OPTION, CONTROL_OPTION],
  async run(world, options, [group]) {
    const target = await controllerTarget(world, options);
    const removed = await removeGroup(world.http, target, group);
    const stopped = await stopLocalServers(world, options, removed.servers);
    if (options.json) {
      world.print(JSON.stringify({ ...removed, stopped }, null, 2));
      return 0;
    }
    const rest = removed.servers.filter((addr) => !stopped.includes(addr));
    const texts = [
      stopped.length === 0 ? "" : ` ${stopped.join(", ")} stopped.`,
      rest.length === 0
        ? ""
        : ` ${rest.join(", ")} ${rest.length === 1 ? "runs on, by itself" : "run on, by themselves"}.`,
    ];
    world.print(`Group ${removed.id} is removed.${texts.join("")}`);
    if ((removed.keysLeft ?? 0) > 0) {
      world.printError(
        `Note: its primary still held ${removed.keysLeft} keys, of slots that are not its own.`,
      );
    }
    return 0;
  },
};

/** `--json` prints {groups, nextGroup}; memory in bytes. */
export const groupListCommand: CommandRow = {
  name: "group list",
  argument: "",
  summary: "Show every group: state, servers, slots, keys, memory",
  examples: [["shoal group list", "a line for each"]],
  options: [DIR_OPTION, CONTROL_OPTION],
  async run(world, options) {
    const list = await fetchGroups(world.http, await controllerTarget(world, options));
    world.print(options.json ? JSON.stringify(list, null, 2) : formatGroups(list));
    return 0;
  },
};

/** What can't be meant is refused before any server is started. */
function checkAddresses(options: OptionValues, addrs: readonly string[]): void {
  const refuse = (what: string): never => {
    throw new HintedError(
      "INVALID_ARGUMENT",
      `Cannot add a group: ${what}`,
      "`shoal group add PRIMARY [REPLICA…]` takes servers that run, `shoal group add --local` starts some.",
    );
  };
  if (options.local && addrs.length > 0) refuse("--local starts servers of its own, and addresses are given");
  if (options.local && options.control !== undefined)
    refuse("--local needs the folder (--dir), not --control");
  if (options.local && (options.adopt || options.slots !== undefined))
    refuse("servers of --local hold no keys");
  if (!options.local && addrs.length === 0) refuse("no primary is given");
  if (!options.local && options.replicas !== undefined) refuse("--replicas goes with --local");
}

/** Servers that run already. */
async function add(
  world: World,
  options: OptionValues,
  target: ControllerTarget,
  [primary, ...replicas]: readonly string[],
): Promise<GroupAdded> {
  const slots =
    typeof options.slots === "string"
      ? parseSlotSpans(options.slots, (await fetchSlots(world.http, target)).count)
      : [];
  const adopt = options.adopt === true;
  return addGroup(world.http, target, { primary, replicas: [...replicas], adopt, slots });
}

/** Servers first, then the group; servers that the controller does not take are stopped again. */
async function addLocal(world: World, options: OptionValues, target: ControllerTarget): Promise<GroupAdded> {
  const { nextGroup } = await fetchGroups(world.http, target);
  const count = 1 + Number(options.replicas ?? LOCAL_REPLICAS);
  const progress = new Progress(world, `starting ${count} redis-servers`, options);
  let addrs: readonly string[];
  try {
    addrs = await startLocalServers(world, options, nextGroup, count);
  } finally {
    progress.end();
  }
  const [primary, ...replicas] = addrs;
  try {
    return await addGroup(world.http, target, { primary, replicas });
  } catch (error) {
    // What the controller says is the error; servers that could not be stopped are in run.json still.
    await stopLocalServers(world, options, addrs).catch(() => []);
    throw error;
  }
}

function formatGroups(list: GroupList): string {
  const rows = list.groups.map((group) => {
    const shown = formatSlotSpans(group.ranges.slice(0, RANGES_SHOWN_MAX));
    const more = group.ranges.length - RANGES_SHOWN_MAX;
    return [
      group.id,
      group.draining ? `${group.state}, draining` : group.state,
      group.primary,
      group.replicas.length === 0 ? "none" : group.replicas.join(" "),
      group.keys === null ? "-" : group.keys.toLocaleString("en"),
      group.memoryBytes === null ? "-" : formatBytes(group.memoryBytes),
      String(group.slots),
      more > 0 ? `${shown} … ${more} more` : shown,
    ];
  });
  const head = ["GROUP", "STATE", "PRIMARY", "REPLICAS", "KEYS", "DATA", "COUNT", "SLOTS"];
  return formatTable([head, ...rows]);
}
