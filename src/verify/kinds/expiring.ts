/**
 * SET with PX, and without: the key must be there until its time is over, and not much longer. The server
 * counts from the moment at which the command runs, which lies between sending and answer; so between the
 * two deadlines both are right.
 */
import { type Kind, type When, mix, valueOf } from "./kind.ts";

/** How far the clocks of server and checker may drift apart within one time to live, in milliseconds. */
export const EXPIRY_TOLERANCE_MS = 100;

const TTL_MS_MIN = 30;
const TTL_MS_MAX = 2500;

export const expiringKind: Kind = {
  name: "expiring",
  writes: 500,
  names: (key) => [key],
  write: (key, n) => {
    const ttlMs = ttlOf(key, n);
    const set = ["SET", key, valueOf(key, n)];
    return [ttlMs === null ? set : [...set, "PX", String(ttlMs)]];
  },
  answer: () => "OK",
  read: (key) => ["GET", key],
  matches(key, n, reply, when) {
    const ttlMs = n === 0 ? null : ttlOf(key, n);
    if (reply !== null) return n > 0 && reply === valueOf(key, n) && !isOver(ttlMs, when);
    return n === 0 || (ttlMs !== null && mayBeOver(ttlMs, when));
  },
  explain(key, n, reply, when) {
    if (reply === null) return { fault: "lost", count: 1 };
    const livesOn = n > 0 && reply === valueOf(key, n) && isOver(ttlOf(key, n), when);
    return livesOn ? { fault: "expiry", count: 1 } : null;
  },
  // Long enough, half of the time, to see it go.
  restMs: (key, n) => (mix(key, n) % 2 === 0 ? 0 : (ttlOf(key, n) ?? 0) + 2 * EXPIRY_TOLERANCE_MS),
};

/** Null: without an end. */
function ttlOf(key: string, n: number): number | null {
  const dice = mix(key, n + 0x5000);
  return dice % 3 === 0 ? null : TTL_MS_MIN + (dice % (TTL_MS_MAX - TTL_MS_MIN));
}

/** Whether it must have gone before the read began. */
function isOver(ttlMs: number | null, when: When | null): boolean {
  return ttlMs !== null && when !== null && when.readFromMs > when.wroteToMs + ttlMs + EXPIRY_TOLERANCE_MS;
}

/** Whether it can have gone by the time the read ended. */
function mayBeOver(ttlMs: number, when: When | null): boolean {
  return when === null || when.readToMs >= when.wroteFromMs + ttlMs - EXPIRY_TOLERANCE_MS;
}
