/** SET with the write's number in the value, and now and then DEL: an older value that comes back is seen. */
import { type Kind, valueOf } from "./kind.ts";

/** Every so many writes the key is deleted. */
const DELETE_EVERY = 7;

export const registerKind: Kind = {
  name: "register",
  writes: 2000,
  names: (key) => [key],
  write: (key, n) => [isDelete(n) ? ["DEL", key] : ["SET", key, valueOf(key, n)]],
  answer: (_key, n) => (isDelete(n) ? 1 : "OK"),
  // What it was to delete was gone already.
  oddAnswer: (_key, _n, reply) => (reply === 0 ? "lost" : "reply"),
  read: (key) => ["GET", key],
  matches: (key, n, reply) => reply === (n === 0 || isDelete(n) ? null : valueOf(key, n)),
};

function isDelete(n: number): boolean {
  return n % DELETE_EVERY === 0;
}
