/**
 * Reads what a server says of its commands: one entry of COMMAND or COMMAND INFO, and of COMMAND DOCS.
 *
 * Used by the generator of the built-in table and, while running, for a command that the table does not know
 * (a module's, or one of a newer server): both must read the same thing out of the same reply. Takes decoded
 * replies of RESP2 (maps as flat arrays) and RESP3 (maps as Map or plain object, sets as Set or array), with
 * strings as strings or bytes.
 */
import { buildCommand, type NextId } from "./build-command.ts";
import type { BeginSearch, CommandData, FindKeys, KeySpecData } from "./command-data.ts";
import type { Command } from "./command.ts";

/** Servers before 7.0 send 6 or 7 fields: no tips, no key specifications, no subcommands. */
const FIELDS_WITH_KEY_SPECS = 9;

/**
 * One command of a COMMAND INFO reply as a `Command`, or null when the server does not know it either (or
 * says something that is no command entry).
 *
 * @param entry the decoded entry: an array, or null
 * @param nextId gives the command, and each of its subcommands, its id
 */
export function commandFromInfoReply(entry: unknown, nextId: NextId): Command | null {
  const data = dataFromInfoReply(entry);
  return data === null ? null : buildCommand(data, nextId);
}

/** One entry of COMMAND or COMMAND INFO as data, subcommands sorted by name; null when it is none. */
export function dataFromInfoReply(entry: unknown): CommandData | null {
  const fields = listOf(entry);
  if (fields.length < 6) return null;
  const flags = wordsOf(fields[2]);
  const subcommands = listOf(fields[9])
    .map(dataFromInfoReply)
    .filter((data) => data !== null)
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  return {
    name: textOf(fields[0]).toLowerCase(),
    arity: Number(fields[1]),
    flags,
    categories: wordsOf(fields[6]).map((category) => category.replace(/^@/, "")),
    tips: wordsOf(fields[7]),
    keySpecs:
      fields.length >= FIELDS_WITH_KEY_SPECS
        ? listOf(fields[8]).map(keySpecOf)
        : oldKeySpecs(flags, Number(fields[3]), Number(fields[4]), Number(fields[5])),
    subcommands,
    since: "",
    group: "",
    summary: "",
  };
}

/** `data` with what COMMAND DOCS says of it and its subcommands; `docs` is the value beside its name. */
export function withDocs(data: CommandData, docs: unknown): CommandData {
  const subcommandDocs = fieldOf(docs, "subcommands");
  const deprecatedSince = textOf(fieldOf(docs, "deprecated_since"));
  return {
    ...data,
    since: textOf(fieldOf(docs, "since")),
    group: textOf(fieldOf(docs, "group")),
    summary: textOf(fieldOf(docs, "summary")).trim(),
    ...(deprecatedSince === "" ? {} : { deprecatedSince }),
    subcommands: data.subcommands.map((sub) => withDocs(sub, fieldOf(subcommandDocs, sub.name))),
  };
}

/** The value beside `key` in a decoded map, whatever it was decoded to; undefined when it is not there. */
export function fieldOf(map: unknown, key: string): unknown {
  if (map instanceof Map) return map.get(key);
  if (Array.isArray(map)) {
    for (let i = 0; i + 1 < map.length; i += 2) if (textOf(map[i]) === key) return map[i + 1];
    return undefined;
  }
  return typeof map === "object" && map !== null ? (map as Record<string, unknown>)[key] : undefined;
}

/** Before 7.0 a command had one range of keys; "movablekeys" meant that it does not tell them all. */
function oldKeySpecs(flags: readonly string[], first: number, last: number, step: number): KeySpecData[] {
  const incomplete = flags.includes("movablekeys") ? ["incomplete"] : [];
  if (first === 0) return incomplete.length === 0 ? [] : [{ flags: incomplete, begin: null, find: null }];
  const lastKey = last < 0 ? last : last - first;
  return [{ flags: incomplete, begin: { index: first }, find: { lastKey, keyStep: step, limit: 0 } }];
}

function keySpecOf(spec: unknown): KeySpecData {
  return {
    flags: wordsOf(fieldOf(spec, "flags")),
    begin: beginOf(fieldOf(spec, "begin_search")),
    find: findOf(fieldOf(spec, "find_keys")),
  };
}

function beginOf(search: unknown): BeginSearch {
  const spec = fieldOf(search, "spec");
  switch (textOf(fieldOf(search, "type"))) {
    case "index":
      return { index: Number(fieldOf(spec, "index")) };
    case "keyword":
      return { keyword: textOf(fieldOf(spec, "keyword")), startFrom: Number(fieldOf(spec, "startfrom")) };
    default:
      return null;
  }
}

function findOf(find: unknown): FindKeys {
  const spec = fieldOf(find, "spec");
  const keyStep = Number(fieldOf(spec, "keystep"));
  switch (textOf(fieldOf(find, "type"))) {
    case "range":
      return { lastKey: Number(fieldOf(spec, "lastkey")), keyStep, limit: Number(fieldOf(spec, "limit")) };
    case "keynum":
      return {
        keyNumIndex: Number(fieldOf(spec, "keynumidx")),
        firstKey: Number(fieldOf(spec, "firstkey")),
        keyStep,
      };
    default:
      return null;
  }
}

/** Arrays and sets alike; all else is an empty list, as a missing field is. */
function listOf(value: unknown): unknown[] {
  if (Array.isArray(value)) return value;
  return value instanceof Set ? [...value] : [];
}

function wordsOf(value: unknown): string[] {
  return listOf(value).map(textOf);
}

function textOf(value: unknown): string {
  if (typeof value === "string") return value;
  return value instanceof Uint8Array ? new TextDecoder().decode(value) : "";
}
