/**
 * What the placeholders of the templates stand for.
 *
 *   keys: {a}s1     tag, type letter, number; all keys of one call have one tag, so that they are in one
 *   slot;
 *                   the tags lie in all three groups.   Plain keys p0 … p9 are strings, in slots of their
 *                   own.
 */
import { createHash } from "node:crypto";
import type { SeededRandom } from "./seeded-random.ts";

const TAGS = ["a", "b", "c", "d", "e", "f"];
const TYPES = ["s", "h", "l", "t", "z", "x", "p", "g"];
const KEYS_PER_TYPE = 3;
const MEMBERS = ["a", "b", "c", "d", "e", "one", "two", "3", "4", "-5", "1.5", "", "\xff\x00\r\n"];
const VALUES = ["v", "1", "10", "-3", "3.14", "hello world", "", "\r\n$-1\r\n", "\x00\xff", "x".repeat(70)];
const FLOATS = ["1", "2", "2.5", "-1.25", "3e2", "0", "inf", "-inf", "1e-7"];
const SCORES = ["1", "(1", "2.5", "(3", "-inf", "+inf", "0", "x"];
const LEX = ["-", "+", "[a", "(a", "[c", "(one", "x"];
const COORDINATES = ["13.361389", "15.087269", "37.502669", "38.115556", "0", "-10.5", "91"];

/**
 * Scripts that are only run by EVAL, and those that are loaded: a server keeps both, but EVAL tells one
 * group only.
 */
const SCRIPTS = [
  "return KEYS[1]",
  "return redis.call('set', KEYS[1], ARGV[1])",
  "return redis.call('get', KEYS[1])",
  "return {1, 2, {3, 'x', {}}, false, true, 3.7}",
  "return redis.error_reply('MY error text')",
  "return redis.status_reply('FINE')",
  "return redis.call('lpush', KEYS[1], unpack(ARGV))",
  "return redis.pcall('incr', KEYS[1])",
  "redis.setresp(3); return redis.call('hgetall', KEYS[1])",
  "return redis.call('nosuchcommand', KEYS[1])",
  "return {#KEYS, #ARGV, ARGV[1]}",
  "return redis.sha1hex(ARGV[1] or '')",
  "return (",
  "error('thrown')",
];
const LOADED = SCRIPTS.filter((script) => script !== "return (").map((script) => `${script} -- loaded`);
const SHAS = LOADED.map((script) => createHash("sha1").update(script, "latin1").digest("hex"));

const ANY_KEY_PLAIN_COUNT = 10;

export class Vocabulary {
  readonly #random: SeededRandom;
  readonly #type: string;
  readonly #dumps: readonly string[];
  #tag = "a";
  #streamId = 10;

  /** `type`: the letter of the keys that $k stands for; `dumps`: payloads for RESTORE. */
  constructor(random: SeededRandom, type: string, dumps: readonly string[]) {
    this.#random = random;
    this.#type = type;
    this.#dumps = dumps;
  }

  /** Before each call: the tag of its keys. */
  nextCall(): void {
    this.#tag = this.#random.pick(TAGS);
  }

  /** A word that looks like a key of the present call. */
  strangeKey(): string {
    return `{${this.#tag}}strange`;
  }

  /** The word for `$letter`. */
  word(letter: string): string {
    const random = this.#random;
    const make = this.#words[letter];
    if (make === undefined) throw new Error(`no word for $${letter}`);
    return make(random);
  }

  readonly #words: Readonly<Record<string, (random: SeededRandom) => string>> = {
    /** A key of the family's type; now and then of another. */
    k: (random) => this.#key(random.chance(0.04) ? random.pick(TYPES) : this.#type),
    /** A key of any type, of the call's tag. */
    x: (random) => this.#key(random.pick(TYPES)),
    /** What SORT can sort. */
    y: (random) => this.#key(random.pick(["l", "z", "h"])),
    /** A pattern for SORT in the call's slot. */
    q: () => `{${this.#tag}}s*`,
    /** Any key, whatever its slot. */
    a: (random) => {
      if (random.chance(0.4)) return `p${random.int(ANY_KEY_PLAIN_COUNT)}`;
      return `{${random.pick(TAGS)}}${random.pick(TYPES)}${random.int(KEYS_PER_TYPE)}`;
    },
    v: (random) => (random.chance(0.005) ? "big".repeat(7000) : random.pick(VALUES)),
    m: (random) => random.pick(MEMBERS),
    f: (random) => random.pick(FLOATS),
    i: (random) => String(random.int(14) - 5),
    u: (random) => String(random.int(12)),
    t: (random) => String(100 + random.int(3) * 1000),
    r: (random) => random.pick(SCORES),
    l: (random) => random.pick(LEX),
    w: (random) => random.pick(COORDINATES),
    g: (random) => random.pick(["g1", "g2"]),
    c: (random) => random.pick(["alice", "bob"]),
    /** The id of a new entry: mostly higher than all before. */
    j: (random) => (random.chance(0.9) ? `${++this.#streamId}-${random.pick(["1", "*"])}` : "5-5"),
    /** The id of an old entry, perhaps. */
    o: (random) => `${Math.max(1, this.#streamId - random.int(20))}-${random.pick(["0", "1"])}`,
    e: (random) => random.pick(SCRIPTS),
    z: (random) => random.pick(LOADED),
    h: (random) => random.pick(SHAS),
    d: (random) => random.pick(this.#dumps),
  };

  #key(type: string): string {
    return `{${this.#tag}}${type}${this.#random.int(KEYS_PER_TYPE)}`;
  }
}

/** Commands that fill a keyspace: a key of each type for each tag. */
export function prelude(): string[][] {
  return TAGS.flatMap((tag) => [
    ["SET", `{${tag}}s0`, "5"],
    ["HSET", `{${tag}}h0`, "a", "1", "b", "two"],
    ["RPUSH", `{${tag}}l0`, "3", "1", "2"],
    ["SADD", `{${tag}}t0`, "a", "b", "c"],
    ["ZADD", `{${tag}}z0`, "1", "a", "2", "b", "2", "c"],
    ["XADD", `{${tag}}x0`, "1-1", "a", "1"],
    ["XGROUP", "CREATE", `{${tag}}x0`, "g1", "0"],
    ["PFADD", `{${tag}}p0`, "a", "b"],
    ["GEOADD", `{${tag}}g0`, "13.361389", "38.115556", "a", "15.087269", "37.502669", "b"],
    ["SET", `p${TAGS.indexOf(tag)}`, tag],
  ]);
}
