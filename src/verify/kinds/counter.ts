/**
 * INCR: what a retry after a lost reply would count twice (L12). The first write sets a base of the key's
 * own, so that the value of another counter is not mistaken for this one's.
 */
import type { Reply } from "../../redis/reply-decoder.ts";
import { type Kind, mix } from "./kind.ts";

const BASE_STEP = 1_000_000;

export const counterKind: Kind = {
  name: "counter",
  writes: 2000,
  names: (key) => [key],
  write: (key, n) => [n === 1 ? ["INCRBY", key, String(valueAt(key, 1))] : ["INCR", key]],
  answer: valueAt,
  read: (key) => ["GET", key],
  matches: (key, n, reply) => reply === (n === 0 ? null : String(valueAt(key, n))),
  explain(key, n, reply) {
    if (reply === null) return null;
    const base = Math.floor(Number(reply) / BASE_STEP) * BASE_STEP;
    if (Number(reply) === 2 * valueAt(key, 1)) return { fault: "duplicated", count: 1 };
    // INCR made it anew: all that was counted before is gone.
    if (base === 0) return { fault: "lost", count: n };
    if (base !== baseOf(key)) return { fault: "crossed", count: 1 };
    const ahead = Number(reply) - valueAt(key, n);
    return ahead > 0 ? { fault: "duplicated", count: ahead } : null;
  },
};

function valueAt(key: string, n: number): Reply & number {
  return baseOf(key) + n;
}

function baseOf(key: string): number {
  return ((mix(key, 0) % 1_000_000) + 1) * BASE_STEP;
}
