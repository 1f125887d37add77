/**
 * What a key can be, as a pure function of the number of its last write: state 0 is "no such key", write n
 * leads from state n-1 to state n, whatever the key. So the whole history of a key is one number, and any
 * reply can be asked: of which number are you the state?
 *
 *   write 1 … write n-1   write n          a read that began after n-1 was acknowledged and ended while n was
 *   ───────────────────▶ ────────▶         under way must be state n-1 or n; an older state is a loss, a
 *        state n-1        state n          younger one a write that was applied twice
 *
 * Rejected: keeping every acknowledged value and searching histories (as Knossos does): a key has one writer,
 * so nothing has to be searched, and hours of load need no memory.
 */
import type { Reply } from "../../redis/reply-decoder.ts";
import type { Words } from "../driver.ts";

/** When a write took effect, and when it was read, in milliseconds of one clock: each between two moments. */
export interface When {
  readonly wroteFromMs: number;
  readonly wroteToMs: number;
  readonly readFromMs: number;
  readonly readToMs: number;
}

/**
 * What can be wrong.
 *   lost        acknowledged writes whose effect is gone
 *   duplicated  a write that has been applied twice
 *   order       reads that go backwards, or elements in another order than they were written
 *   crossed     the value of another key
 *   torn        a transaction of which half is seen
 *   expiry      a key that lives on after its time
 *   reply       an answer that does not fit, although the data does
 *   phantom     a write that was refused, and is seen all the same
 *   corrupt     anything else that no history explains
 */
export type Fault =
  | "lost"
  | "duplicated"
  | "order"
  | "crossed"
  | "torn"
  | "expiry"
  | "reply"
  | "phantom"
  | "corrupt";

export interface Finding {
  readonly fault: Fault;
  /** How many writes are concerned. */
  readonly count: number;
  /** One sentence with the key and the values. */
  readonly text: string;
}

export interface Kind {
  readonly name: string;
  /** Writes until the key is checked, deleted and followed by a fresh one: bounds size and time. */
  readonly writes: number;
  /** The names that the key stands for in the server; more than one for a transaction. */
  names(key: string): readonly string[];
  /** Write number `n`, from 1; several commands are a transaction. */
  write(key: string, n: number): readonly Words[];
  /** What a server answers to write `n`. */
  answer(key: string, n: number): Reply;
  read(key: string): Words;
  /** Whether `reply` is what reads show after write `n`. `when` is null when it is not known. */
  matches(key: string, n: number, reply: Reply, when: When | null): boolean;
  /** What is wrong with a reply that state `n` does not explain, where the kind knows better; else null. */
  explain?(key: string, n: number, reply: Reply, when: When | null): Omit<Finding, "text"> | null;
  /** What another answer than {@link answer} to write `n` says, where reads no longer show it. */
  oddAnswer?(key: string, n: number, reply: Reply): Fault;
  /** How long the writer leaves the key alone after write `n`, in milliseconds. */
  restMs?(key: string, n: number): number;
}

/** A number from a key and a write: the same in each run, so that a seed is not needed to know a state. */
export function mix(key: string, n: number): number {
  let hash = 0x811c9dc5 ^ n;
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b);
  return (hash ^ (hash >>> 13)) >>> 0;
}

/** Value `n` of a key: whose it is, which one, and some padding so that sizes differ. */
export function valueOf(key: string, n: number): string {
  const dice = mix(key, n);
  const size = dice % 64 === 0 ? 20_000 : dice % 200;
  return `${key}|${n}|${"x".repeat(size)}`;
}
