/** SADD of new members and, once there are many, SREM of the oldest: a member that comes back shows too. */
import type { Kind } from "./kind.ts";

/** Members before the first is taken out again. */
const MEMBERS = 40;

export const setKind: Kind = {
  name: "set",
  writes: 400,
  names: (key) => [key],
  write(key, n) {
    const { added, removed } = countsAt(n);
    const isRemove = countsAt(n - 1).removed < removed;
    return [isRemove ? ["SREM", key, memberOf(key, removed)] : ["SADD", key, memberOf(key, added)]];
  },
  answer: () => 1,
  // The member was there before it was added, or gone before it was taken out.
  oddAnswer: (_key, n) => (countsAt(n - 1).removed < countsAt(n).removed ? "lost" : "duplicated"),
  read: (key) => ["SMEMBERS", key],
  matches(key, n, reply) {
    const { added, removed } = countsAt(n);
    if (!Array.isArray(reply) || reply.length !== added - removed) return false;
    const there = new Set(reply);
    for (let i = removed + 1; i <= added; i++) if (!there.has(memberOf(key, i))) return false;
    return true;
  },
  explain(key, n, reply) {
    if (!Array.isArray(reply)) return null;
    const { added, removed } = countsAt(n);
    const there = new Set(reply);
    let lost = 0;
    for (let i = removed + 1; i <= added; i++) if (!there.has(memberOf(key, i))) lost++;
    // An acknowledged removal that is undone is a lost write as well.
    for (let i = 1; i <= removed; i++) if (there.has(memberOf(key, i))) lost++;
    return lost > 0 ? { fault: "lost", count: lost } : null;
  },
};

/** How many members have been added, and taken out again, by write `n`. */
function countsAt(n: number): { added: number; removed: number } {
  if (n <= MEMBERS) return { added: n, removed: 0 };
  const removed = Math.ceil((n - MEMBERS) / 2);
  return { added: n - removed, removed };
}

function memberOf(key: string, i: number): string {
  return `${key}|${i}|`;
}
