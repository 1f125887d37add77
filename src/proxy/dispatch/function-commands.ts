/**
 * FUNCTION LIST, DUMP, STATS and KILL, and SCRIPT KILL. (LOAD, DELETE, FLUSH and RESTORE go to all groups,
 * merged by the command table's word.)
 *
 * All groups have the same libraries. Where one has fewer, because it came back empty and nobody has called
 * a function there yet (function-repair.ts), the fullest answer is the right one.
 *
 * KILL and STATS go over connections of their own: the shared one stands behind the very script that is to
 * be ended.
 */
import type { Block } from "../../base/block-pool.ts";
import {
  array,
  bulk,
  errorReply,
  integer,
  map,
  nullReply,
  OK,
  type Protocol,
} from "../../resp/reply-writer.ts";
import type { DataPlane } from "../data-plane.ts";
import { askPrivately } from "./ask-groups.ts";
import type { Call } from "./call.ts";
import { listOf, pairsOf, scalar } from "./fleet-values.ts";
import { Gather, type Merge, type Part } from "./gather.ts";
import { valueOf } from "./merges.ts";

/** The longest of the replies, as it is. */
export const mergeFullest: Merge = (gather) => {
  const error = gather.errorText(false);
  if (error !== null) return error;
  const part = gather.parts.reduce((longest, each) => (each.length > longest.length ? each : longest));
  const block = part.block as Block;
  part.block = null;
  gather.finishWithBlock(block, part.length);
  return null;
};

/** One group's success is enough; else the first error that says more than that nothing runs. */
const mergeKill: Merge = (gather) => {
  const killed = gather.parts.find((part) => part.error === null);
  if (killed !== undefined) return OK;
  const telling = gather.parts.find((part) => !(part.error ?? "").startsWith("NOTBUSY")) ?? gather.parts[0];
  return errorReply(telling.error as string);
};

/** SCRIPT KILL, FUNCTION KILL. */
export function killScripts(plane: DataPlane, call: Call): boolean {
  const gather = new Gather(plane, call.session, call.command, mergeKill);
  // Database 0 and RESP2: a server that runs a script takes no SELECT.
  askPrivately(plane, gather, call, plane.slots.lane(0, 2).groups, "");
  gather.seal();
  return true;
}

/** FUNCTION STATS: the script that runs, wherever it does, and the fullest group's counts. */
export function functionStats(plane: DataPlane, call: Call): boolean {
  const { protocol } = call.session.lane;
  const gather = new Gather(plane, call.session, call.command, (all) => {
    const error = all.errorText(false);
    return error ?? mergeStats(protocol, all.parts);
  });
  askPrivately(plane, gather, call, plane.slots.lane(0, protocol).groups, "");
  gather.seal();
  return true;
}

function mergeStats(protocol: Protocol, parts: readonly Part[]): string {
  let running: string | null = null;
  const engines = new Map<string, Map<string, number>>();
  for (const part of parts) {
    const fields = new Map(pairsOf(valueOf(part)));
    running ??= runningScript(protocol, fields.get("running_script"));
    for (const [engine, counts] of pairsOf(fields.get("engines"))) {
      const known = engines.get(engine) ?? new Map<string, number>();
      for (const [name, count] of pairsOf(counts))
        known.set(name, Math.max(known.get(name) ?? 0, Number(count)));
      engines.set(engine, known);
    }
  }
  const encoded = [...engines].map(([engine, counts]) => {
    const pairs = [...counts].map(([name, count]) => [bulk(name), integer(count)] as const);
    return [bulk(engine), map(protocol, pairs)] as const;
  });
  return map(protocol, [
    [bulk("running_script"), running ?? nullReply(protocol)],
    [bulk("engines"), map(protocol, encoded)],
  ]);
}

function runningScript(protocol: Protocol, value: unknown): string | null {
  if (value === null || value === undefined) return null;
  const pairs = pairsOf(value).map(([name, each]) => {
    const encoded = Array.isArray(each)
      ? array(listOf(each).map((word) => bulk(String(word))))
      : scalar(each);
    return [bulk(name), encoded] as const;
  });
  return map(protocol, pairs);
}
