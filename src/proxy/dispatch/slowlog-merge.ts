/**
 * SLOWLOG GET over all groups: newest first, each entry with the server that was slow.
 *
 *   server: [id, time, µs, [words], address, name]
 *   client: [id * 4096 + group's number, time, µs, [words], address, "g1 host:port"]
 *
 * The address is that of the proxy's own connection at the server, and its name is empty: the name's place
 * tells what the reader wants to know, the server. Times are whole seconds; of the entries of one second
 * those that went to one group come first. What went to all groups (FLUSHALL, this SLOWLOG itself) is there
 * once per group, and shown once: by the group that took longest.
 */
import * as c from "../../commands/command.ts";
import { commandByName } from "../../commands/command-lookup.ts";
import { array, bulk, integer } from "../../resp/reply-writer.ts";
import { GROUP_NUMBER_MAX } from "../../topology/cluster-map.ts";
import { type FanOut, requestOf } from "./ask-groups.ts";
import { argument, type Call, parseInteger } from "./call.ts";
import { listOf } from "./fleet-values.ts";
import { askInWords, Gather, type Merge } from "./gather.ts";
import { valueOf } from "./merges.ts";

/** How many entries SLOWLOG GET shows when it is not told. */
const DEFAULT_COUNT = 10;
const GROUPS = BigInt(GROUP_NUMBER_MAX + 1);

/** How far apart, in seconds, the servers may have begun one command. */
const SAME_COMMAND_S_MAX = 1;

interface Entry {
  readonly group: string;
  readonly id: bigint;
  readonly timeS: number;
  readonly durationUs: number;
  readonly words: readonly string[];
  readonly address: string;
  readonly name: string;
}

/** A command that went to all groups, and those that have logged it. */
interface Shown {
  entry: Entry;
  readonly groups: Set<string>;
}

/** The merge for one call of SLOWLOG GET. */
export function mergeSlowlog(call: Call): Merge {
  const wanted = call.request.argc > 2 ? parseInteger(argument(call, 2)) : DEFAULT_COUNT;
  return (gather) => {
    const error = gather.errorText(false);
    if (error !== null) return error;
    const entries = entriesOf(gather);
    // A count that is no number was an error at every server; -1 asks for all.
    const count = wanted === null || wanted < 0 ? entries.length : wanted;
    return array(entries.slice(0, count).map(encode));
  };
}

/** SLOWLOG LEN: how many entries GET would show. */
export const slowlogLength: FanOut = (plane, call) => {
  const { groups } = call.session.lane;
  if (groups.length === 1) return plane.dispatcher.sendTo(call, groups[0]);
  const gather = new Gather(plane, call.session, call.command, (all) => {
    return all.errorText(false) ?? integer(entriesOf(all).length);
  });
  askInWords(gather, groups, [requestOf("SLOWLOG", "GET", "-1")]);
  return true;
};

/** All entries, newest first. */
function entriesOf(gather: Gather): Entry[] {
  const entries = readEntries(gather);
  const everywhere = entries.filter(concernsAll);
  const single = entries.filter((entry) => !concernsAll(entry));
  return [...single, ...onceEach(everywhere)].sort(newestFirst);
}

/** The same words at about the same time at several groups are one command. */
function onceEach(entries: readonly Entry[]): Entry[] {
  const shown: Shown[] = [];
  const byWords = new Map<string, Shown[]>();
  for (const entry of entries) {
    const text = entry.words.join(" ");
    const alike = byWords.get(text) ?? [];
    byWords.set(text, alike);
    const same = alike.find(
      (each) =>
        !each.groups.has(entry.group) && Math.abs(each.entry.timeS - entry.timeS) <= SAME_COMMAND_S_MAX,
    );
    if (same === undefined) {
      const each = { entry, groups: new Set([entry.group]) };
      alike.push(each);
      shown.push(each);
      continue;
    }
    same.groups.add(entry.group);
    if (entry.durationUs > same.entry.durationUs) same.entry = entry;
  }
  return shown.map(({ entry }) => entry);
}

function readEntries(gather: Gather): Entry[] {
  const { plane, session } = gather;
  const entries: Entry[] = [];
  for (const part of gather.parts) {
    const group = plane.slots.map?.groups.find((each) => each.id === part.group);
    const upstream = session.lane.groups.find((each) => each.target.group === part.group);
    for (const item of listOf(valueOf(part))) {
      const [id, timeS, durationUs, words, address, name] = listOf(item);
      entries.push({
        group: part.group,
        id: BigInt(Number(id)) * GROUPS + BigInt(group?.number ?? 0),
        timeS: Number(timeS),
        durationUs: Number(durationUs),
        words: listOf(words).map(String),
        address: String(address ?? ""),
        name: name ? String(name) : `${part.group} ${upstream?.target.address ?? ""}`,
      });
    }
  }
  return entries;
}

function newestFirst(a: Entry, b: Entry): number {
  if (a.timeS !== b.timeS) return b.timeS - a.timeS;
  const [everywhereA, everywhereB] = [concernsAll(a), concernsAll(b)];
  if (everywhereA !== everywhereB) return everywhereA ? 1 : -1;
  return a.id > b.id ? -1 : 1;
}

function concernsAll({ words }: Entry): boolean {
  const name = words[0]?.toLowerCase() ?? "";
  const command = commandByName(`${name}|${words[1]?.toLowerCase() ?? ""}`) ?? commandByName(name);
  return command !== null && (command.route === c.ROUTE_ALL_GROUPS || command.route === c.ROUTE_PROXY);
}

function encode(entry: Entry): string {
  const { id, timeS, durationUs, words, address, name } = entry;
  const head = [integer(id), integer(timeS), integer(durationUs)];
  return array([...head, array(words.map(bulk)), bulk(address), bulk(name)]);
}
