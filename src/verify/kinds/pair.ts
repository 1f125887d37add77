/**
 * Two keys of one slot that only ever change together, by MULTI: a reader must never see one without the
 * other.
 */
import type { Kind } from "./kind.ts";

export const pairKind: Kind = {
  name: "pair",
  writes: 1000,
  names: (key) => [`${key}:a`, `${key}:b`],
  write: (key, n) => [
    ["SET", `${key}:a`, valueOf(key, n)],
    ["SET", `${key}:b`, valueOf(key, n)],
  ],
  answer: () => ["OK", "OK"],
  read: (key) => ["MGET", `${key}:a`, `${key}:b`],
  matches(key, n, reply) {
    const wanted = n === 0 ? null : valueOf(key, n);
    return Array.isArray(reply) && reply.length === 2 && reply[0] === wanted && reply[1] === wanted;
  },
  explain(_key, _n, reply) {
    return Array.isArray(reply) && reply[0] !== reply[1] ? { fault: "torn", count: 1 } : null;
  },
};

function valueOf(key: string, n: number): string {
  return `${key}|${n}|`;
}
