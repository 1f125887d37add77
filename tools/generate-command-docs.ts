#!/usr/bin/env bun
/**
 * Writes docs/reference/commands.md from the command table: for each command whether it works through a
 * proxy, which way it goes, and what differs from one Redis server.
 *
 *   bun tools/generate-command-docs.ts            writes the file
 *   bun tools/generate-command-docs.ts --check    says whether it is up to date, by its exit status
 *
 * The ways are read from the same `Command`s that the proxy routes by, so that they can't be wrong; the
 * differences are written by hand (command-differences.ts), because no table has them.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { COMMANDS } from "../src/commands/command-lookup.ts";
import { TABLE_VERSION } from "../src/commands/command-table.generated.ts";
import * as c from "../src/commands/command.ts";
import { DIFFERENCES } from "./command-differences.ts";

const PATH = join(import.meta.dirname, "../docs/reference/commands.md");

/** Redis's groups in the order in which people look for them, with their titles. */
const GROUPS: readonly (readonly [string, string])[] = [
  ["string", "Strings"],
  ["bitmap", "Bitmaps"],
  ["hash", "Hashes"],
  ["list", "Lists"],
  ["set", "Sets"],
  ["sorted-set", "Sorted sets"],
  ["stream", "Streams"],
  ["geo", "Geo"],
  ["hyperloglog", "HyperLogLog"],
  ["generic", "Keys"],
  ["transactions", "Transactions"],
  ["scripting", "Scripts and functions"],
  ["pubsub", "Pub/Sub"],
  ["connection", "Connection"],
  ["server", "Server"],
  ["sentinel", "Sentinel"],
  ["cluster", "Redis Cluster"],
];

const MERGE_WORDS: Readonly<Record<number, string>> = {
  [c.MERGE_ALL_SUCCEEDED]: "the first error, else the first answer",
  [c.MERGE_ONE_SUCCEEDED]: "one success is enough",
  [c.MERGE_SUM]: "added up",
  [c.MERGE_MIN]: "the least",
  [c.MERGE_MAX]: "the most",
  [c.MERGE_LOGICAL_AND]: "what holds for all",
  [c.MERGE_LOGICAL_OR]: "what holds for one",
  [c.MERGE_CONCAT]: "end to end",
  [c.MERGE_BY_KEY]: "in the order of the keys",
  [c.MERGE_SCAN]: "one group after the other",
  [c.MERGE_RANDOM_KEY]: "one drawn by lot",
  [c.MERGE_INFO]: "one text",
};

/** The way of a command in words. */
function wayOf(command: c.Command): string {
  switch (command.route) {
    case c.ROUTE_KEY:
      if (command.firstKey > 0) return "the key's group";
      return (command.flags & c.FLAG_NO_MANDATORY_KEYS) !== 0
        ? "the keys' group, all in one slot; without keys the home group"
        : "the keys' group, all in one slot";
    case c.ROUTE_SPLIT:
      return `the keys' groups, cut by group: ${mergeOf(command)}`;
    case c.ROUTE_ALL_GROUPS:
      return `every group: ${mergeOf(command)}`;
    case c.ROUTE_ANY_GROUP:
      return "any group";
    case c.ROUTE_HOME_GROUP:
      return "the home group";
    case c.ROUTE_PROXY:
      return "the proxy";
    default:
      return "";
  }
}

function mergeOf(command: c.Command): string {
  return MERGE_WORDS[command.merge] ?? "merged as said beside";
}

function supportOf(command: c.Command): string {
  if (command.route === c.ROUTE_LATER) return "not yet";
  return command.route === c.ROUTE_REFUSED ? "refused" : "yes";
}

function differenceOf(command: c.Command): string {
  if (command.note !== "") return `${command.note[0].toUpperCase()}${command.note.slice(1)}.`;
  const bar = command.name.indexOf("|");
  const container =
    bar < 0 || command.name.endsWith("|help") ? undefined : DIFFERENCES[command.name.slice(0, bar)];
  return DIFFERENCES[command.name] ?? container ?? "";
}

/** The table's lines of one group; a container itself is left out, its words are what people call. */
function linesOf(group: string): string[] {
  const commands = COMMANDS.filter((command) => command.group === group && !isContainer(command));
  const rows = [...commands].sort((a, b) => (a.name < b.name ? -1 : 1));
  return rows.map((command) => {
    const name = command.name.toUpperCase().replace("|", " ");
    const cells = [name, command.since, supportOf(command), wayOf(command), differenceOf(command)];
    return `| ${cells.join(" | ")} |`;
  });
}

/** COMMAND is a command by itself as well. */
function isContainer(command: c.Command): boolean {
  return (command.flags & c.FLAG_CONTAINER) !== 0 && command.arity < -1;
}

/** The whole page. */
export function renderCommandDocs(): string {
  const commands = COMMANDS.filter((command) => !isContainer(command));
  const usable = commands.filter((command) => supportOf(command) === "yes");
  const known = new Set(GROUPS.map(([group]) => group));
  const others = [...new Set(COMMANDS.map((command) => command.group))].filter((group) => !known.has(group));
  const sections = [...GROUPS, ...others.map((group) => [group, group] as const)].flatMap(
    ([group, title]) => {
      const lines = linesOf(group);
      if (lines.length === 0) return [];
      const head = [
        "| command | since | works | goes to | differences from one server |",
        "| --- | --- | --- | --- | --- |",
      ];
      return [`## ${title}`, "", ...head, ...lines, ""];
    },
  );
  return [...introduction(usable.length, commands.length), ...sections].join("\n");
}

function introduction(usable: number, total: number): string[] {
  return [
    "# Commands",
    "",
    "Made by `tools/generate-command-docs.ts` from the command table; do not edit.",
    "",
    `${total} commands and subcommands of Redis ${TABLE_VERSION} (and some of later versions) are known;`,
    `${usable} work through a proxy. A command that is not here, of a module or a newer server, is looked up`,
    "at the servers when it first comes (`COMMAND INFO`) and routed by its key specifications.",
    "",
    "- **Slot.** Keys of one command must be in one slot, unless the table says that it is cut. Keys with a",
    "  common `{tag}` are. Otherwise the answer is a `CROSSSLOT` error that names two of the keys. With one",
    "  group every key is at home there, and nothing is cut.",
    "- **Group.** Commands go to the group's primary. The *home group* is the group of slot 0.",
    "- **Every group.** Sent to all primaries at once. If one fails, the answer is its error; if others have",
    "  carried out a write by then, the error says which. Inside MULTI some of them run and the others are",
    "  refused (see MULTI), except in a cluster of one group.",
    "- **The proxy.** Answered without a server, or with requests of the proxy's own; MONITOR and SLOWLOG",
    "  don't show it.",
    "",
  ];
}

function main(args: readonly string[]): void {
  const text = renderCommandDocs();
  if (args.includes("--check")) {
    process.exitCode = isUpToDate() ? 0 : 1;
    return;
  }
  mkdirSync(dirname(PATH), { recursive: true });
  writeFileSync(PATH, text);
}

/** Whether the file is what would be written now. */
export function isUpToDate(): boolean {
  try {
    return readFileSync(PATH, "utf8") === renderCommandDocs();
  } catch {
    return false;
  }
}

if (import.meta.main) main(process.argv.slice(2));
