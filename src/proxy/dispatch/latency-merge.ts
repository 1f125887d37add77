/**
 * LATENCY over all groups. Events of one name are one event, as if one server had had them all.
 *
 *   LATEST     per event: the latest time with its value, and the worst of all times
 *   HISTORY    the samples of all groups by time, the newest 160 as a server keeps them
 *   HISTOGRAM  calls added up; counts are cumulative, so at each bound all that lies below is added up. What
 *              goes to all groups is one call for its client: there the slowest group speaks for all
 *   RESET      how many events there were, each counted once
 *   GRAPH, DOCTOR   texts for people: one after the other, under the groups' names
 */
import * as c from "../../commands/command.ts";
import { commandByName } from "../../commands/command-lookup.ts";
import { array, bulk, errorReply, integer, map, type Protocol, verbatim } from "../../resp/reply-writer.ts";
import type { DataPlane } from "../data-plane.ts";
import { requestOf } from "./ask-groups.ts";
import { argument, type Call } from "./call.ts";
import { listOf, pairsOf } from "./fleet-values.ts";
import { askInWords, Gather, type Merge } from "./gather.ts";
import { valueOf } from "./merges.ts";

/** Samples that a server keeps per event (LATENCY_TS_LEN). */
const SAMPLES_MAX = 160;

interface Latest {
  timeS: number;
  latestMs: number;
  worstMs: number;
}

/** LATENCY LATEST. */
export const mergeLatest: Merge = (gather) => {
  const error = gather.errorText(false);
  if (error !== null) return error;
  const events = new Map<string, Latest>();
  for (const item of gather.parts.flatMap((part) => listOf(valueOf(part)))) {
    const [name, timeS, latestMs, worstMs] = listOf(item) as [string, number, number, number];
    const known = events.get(name) ?? { timeS: -1, latestMs: 0, worstMs: 0 };
    const newer = timeS > known.timeS || (timeS === known.timeS && latestMs > known.latestMs);
    if (newer) Object.assign(known, { timeS, latestMs });
    known.worstMs = Math.max(known.worstMs, worstMs);
    events.set(name, known);
  }
  const lines = [...events].map(([name, { timeS, latestMs, worstMs }]) =>
    array([bulk(name), integer(timeS), integer(latestMs), integer(worstMs)]),
  );
  return array(lines);
};

/** LATENCY HISTORY. */
export const mergeHistory: Merge = (gather) => {
  const error = gather.errorText(false);
  if (error !== null) return error;
  const samples = gather.parts
    .flatMap((part) => listOf(valueOf(part)) as [number, number][])
    .sort(([a], [b]) => a - b)
    .slice(-SAMPLES_MAX);
  return array(samples.map(([timeS, ms]) => array([integer(timeS), integer(ms)])));
};

interface HistogramPart {
  readonly calls: number;
  /** Cumulative counts by upper bound in µs. */
  readonly counts: readonly (readonly [number, number])[];
}

interface Histogram {
  calls: number;
  /** One per group. */
  readonly parts: HistogramPart[];
}

/** LATENCY HISTOGRAM. */
export const mergeHistogram: Merge = (gather) => {
  const error = gather.errorText(false);
  if (error !== null) return error;
  const { protocol } = gather.session.lane;
  const byCommand = new Map<string, Histogram>();
  for (const [name, value] of gather.parts.flatMap((part) => pairsOf(valueOf(part)))) {
    const fields = new Map(pairsOf(value));
    const known = byCommand.get(name) ?? { calls: 0, parts: [] };
    const calls = Number(fields.get("calls") ?? 0);
    known.calls += calls;
    const counts = pairsOf(fields.get("histogram_usec")).map(([bound, count]) => [
      Number(bound),
      Number(count),
    ]);
    known.parts.push({ calls, counts: counts as [number, number][] });
    byCommand.set(name, known);
  }
  const members = [...byCommand].map(([name, each]) => {
    const shown = commandByName(name)?.route === c.ROUTE_ALL_GROUPS ? slowest(each) : each;
    return [bulk(name), encodeHistogram(protocol, shown)] as const;
  });
  return map(protocol, members);
};

/** The group with the most calls, and of those the one that took longest. */
function slowest({ parts }: Histogram): Histogram {
  const part = parts.reduce((worst, each) => (weightOf(each) > weightOf(worst) ? each : worst));
  return { calls: part.calls, parts: [part] };
}

function weightOf({ calls, counts }: HistogramPart): number {
  const longestUs = counts.at(-1)?.[0] ?? 0;
  return calls * Number.MAX_SAFE_INTEGER + longestUs;
}

function encodeHistogram(protocol: Protocol, { calls, parts }: Histogram): string {
  const bounds = [...new Set(parts.flatMap(({ counts }) => counts.map(([bound]) => bound)))].sort(
    (a, b) => a - b,
  );
  const sums = bounds.map((bound) => parts.reduce((sum, { counts }) => sum + countBelow(counts, bound), 0));
  const pairs = bounds.map((bound, i) => [integer(bound), integer(sums[i])] as const);
  return map(protocol, [
    [bulk("calls"), integer(calls)],
    [bulk("histogram_usec"), map(protocol, pairs)],
  ]);
}

function countBelow(counts: readonly (readonly [number, number])[], bound: number): number {
  return counts.reduce((last, [each, count]) => (each <= bound ? count : last), 0);
}

/**
 * LATENCY RESET: what there was is asked right before, on the same connection, so that it can be counted
 * once.
 */
export function resetLatency(plane: DataPlane, call: Call): boolean {
  const { session, command, request } = call;
  const named = Array.from({ length: request.argc - 2 }, (_, i) => argument(call, i + 2));
  const gather = new Gather(plane, session, command, ({ parts }) => {
    const error = gather.errorText(true);
    if (error !== null) return error;
    const lists = parts.filter((_, i) => i % 2 === 0).flatMap((part) => listOf(valueOf(part)));
    const events = new Set(lists.map((item) => String(listOf(item)[0])));
    return integer(
      named.length === 0 ? events.size : [...events].filter((name) => named.includes(name)).length,
    );
  });
  const requests = [requestOf("LATENCY", "LATEST"), requestOf("LATENCY", "RESET", ...named)];
  askInWords(gather, session.lane.groups, requests);
  return true;
}

/**
 * Texts for people, one after the other under the groups' names. Errors are left out unless there is nothing
 * else.
 */
export const mergeTexts: Merge = (gather) => {
  const texts = gather.parts.flatMap((part) =>
    part.error === null ? [`Group ${part.group}:\n${String(valueOf(part))}`] : [],
  );
  if (texts.length === 0) return errorReply(gather.failed?.error ?? "ERR no group answered");
  return verbatim(gather.session.lane.protocol, texts.join("\n"));
};
