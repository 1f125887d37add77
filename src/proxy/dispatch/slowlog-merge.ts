/**
 * SLOWLOG GET over all groups: newest first, each entry with the server that was slow.
 *
 *   server: [id, time, µs, [words], address, name]
 *   client: [id * 4096 + group's number, time, µs, [words], address, "g1 host:port"]
 *
 * The address is that of the proxy's own connection at the server, and its name is empty: the name's place
 * tells what the reader wants to know, the server. Times are whole seconds; of the entries of one second
 * those that went to one group come first, because the others (FLUSHALL, this SLOWLOG itself) are there once
 * per group.
 */
import * as c from "../../commands/command.ts";
import { commandByName } from "../../commands/command-lookup.ts";
import { array, bulk, integer } from "../../resp/reply-writer.ts";
import { GROUP_NUMBER_MAX } from "../../topology/cluster-map.ts";
import { argument, type Call, parseInteger } from "./call.ts";
import { listOf } from "./fleet-values.ts";
import type { Gather, Merge } from "./gather.ts";
import { valueOf } from "./merges.ts";

/** How many entries SLOWLOG GET shows when it is not told. */
const DEFAULT_COUNT = 10;
const GROUPS = BigInt(GROUP_NUMBER_MAX + 1);

interface Entry {
  readonly id: bigint;
  readonly timeS: number;
  readonly durationUs: number;
  readonly words: readonly string[];
  readonly address: string;
  readonly name: string;
}

/** The merge for one call of SLOWLOG GET. */
export function mergeSlowlog(call: Call): Merge {
  const wanted = call.request.argc > 2 ? parseInteger(argument(call, 2)) : DEFAULT_COUNT;
  return (gather) => {
    const error = gather.errorText(false);
    if (error !== null) return error;
    const entries = entriesOf(gather).sort(newestFirst);
    // A count that is no number was an error at every server; -1 asks for all.
    const count = wanted === null || wanted < 0 ? entries.length : wanted;
    return array(entries.slice(0, count).map(encode));
  };
}

function entriesOf(gather: Gather): Entry[] {
  const { plane, session } = gather;
  const entries: Entry[] = [];
  for (const part of gather.parts) {
    const group = plane.slots.map?.groups.find((each) => each.id === part.group);
    const upstream = session.lane.groups.find((each) => each.target.group === part.group);
    for (const item of listOf(valueOf(part))) {
      const [id, timeS, durationUs, words, address, name] = listOf(item);
      entries.push({
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
