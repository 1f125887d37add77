/**
 * MEMORY STATS over all groups: bytes and counts are added up, shares and ratios are computed anew where
 * their parts are in the reply, and the worst of all where they are not; the databases' own numbers (db.0 …)
 * are added up too.
 */
import { bulk, integer, map, type Protocol } from "../../resp/reply-writer.ts";
import { double, pairsOf, scalar } from "./fleet-values.ts";
import type { Merge } from "./gather.ts";
import { valueOf } from "./merges.ts";

/**
 * Floating-point fields as [dividend, divisor, factor], made of the sums. The rest of them are the worst of
 * all.
 */
const QUOTIENTS: Readonly<Record<string, readonly [string, string, number]>> = {
  "peak.percentage": ["total.allocated", "peak.allocated", 100],
  "allocator-fragmentation.ratio": ["allocator.active", "allocator.allocated", 1],
  "allocator-rss.ratio": ["allocator.resident", "allocator.active", 1],
};

/** Whole numbers that are no sums: [dividend, divisor]. */
const AVERAGES: Readonly<Record<string, readonly [string, string]>> = {
  "keys.bytes-per-key": ["dataset.bytes", "keys.count"],
};

function isDouble(name: string): boolean {
  return name === "fragmentation" || name.endsWith(".percentage") || name.endsWith(".ratio");
}

/** MEMORY STATS. */
export const mergeMemoryStats: Merge = (gather) => {
  const error = gather.errorText(false);
  if (error !== null) return error;
  const columns = new Map<string, unknown[]>();
  for (const [name, value] of gather.parts.flatMap((part) => pairsOf(valueOf(part)))) {
    columns.set(name, [...(columns.get(name) ?? []), value]);
  }
  const sums = new Map([...columns].map(([name, values]) => [name, sumOf(values)]));
  const { protocol } = gather.session.lane;
  const members = [...columns].map(
    ([name, values]) => [bulk(name), field(protocol, name, values, sums)] as const,
  );
  return map(protocol, members);
};

function sumOf(values: readonly unknown[]): number {
  return values.reduce<number>((sum, value) => sum + (Number(value) || 0), 0);
}

function field(
  protocol: Protocol,
  name: string,
  values: readonly unknown[],
  sums: ReadonlyMap<string, number>,
): string {
  if (name.startsWith("db.")) return databaseField(protocol, values);
  if (isDouble(name)) {
    const [dividend, divisor, factor] = QUOTIENTS[name] ?? ["", "", 1];
    const below = sums.get(divisor) ?? 0;
    const worst = Math.max(...values.map(Number));
    return double(protocol, below === 0 ? worst : ((sums.get(dividend) ?? 0) / below) * factor);
  }
  if (Object.hasOwn(AVERAGES, name)) {
    const [dividend, divisor] = AVERAGES[name];
    const below = sums.get(divisor) ?? 0;
    return integer(below === 0 ? 0 : Math.floor((sums.get(dividend) ?? 0) / below));
  }
  return values.every((value) => typeof value === "number")
    ? integer(sums.get(name) ?? 0)
    : scalar(values[0]);
}

function databaseField(protocol: Protocol, values: readonly unknown[]): string {
  const sums = new Map<string, number>();
  for (const [name, value] of values.flatMap(pairsOf)) sums.set(name, (sums.get(name) ?? 0) + Number(value));
  return map(
    protocol,
    [...sums].map(([name, sum]) => [bulk(name), integer(sum)] as const),
  );
}
