/** Runs a command stream against both sides from an empty keyspace, and makes a failing one short. */
import { type DifferentialRig, type Mismatch, type Pair, type Words } from "./rig.ts";
import { SeededRandom } from "./streams/seeded-random.ts";
import { prelude } from "./streams/vocabulary.ts";

const BATCH_MAX = 60;
const DATABASES_LOOKED_AT = 3;
const SHRINK_TRIES_MAX = 120;

/** How to read a whole value, by what TYPE says. */
const READ_BY_TYPE: Readonly<Record<string, (key: string) => string[]>> = {
  string: (key) => ["GET", key],
  list: (key) => ["LRANGE", key, "0", "-1"],
  hash: (key) => ["HGETALL", key],
  set: (key) => ["SMEMBERS", key],
  zset: (key) => ["ZRANGE", key, "0", "-1", "WITHSCORES"],
  stream: (key) => ["XRANGE", key, "-", "+"],
};

/** The first mismatch of a run, or null. `seed` chooses the sizes of the batches. */
export async function runStream(
  rig: DifferentialRig,
  io: string,
  protocol: string,
  commands: readonly Words[],
  seed: number,
): Promise<Mismatch | null> {
  await rig.empty();
  const pair = await rig.connect(io);
  try {
    const first = await pair.compareBatch([["HELLO", protocol], ...prelude()], -1000);
    if (first.length > 0) return first[0];
    const random = new SeededRandom(seed);
    for (let at = 0; at < commands.length;) {
      const size = 1 + random.int(BATCH_MAX);
      const mismatches = await pair.compareBatch(commands.slice(at, at + size), at);
      if (mismatches.length > 0) return mismatches[0];
      at += size;
    }
    return await compareContents(pair);
  } finally {
    pair.close();
  }
}

/** All keys of the databases in use, their values and times to live. */
async function compareContents(pair: Pair): Promise<Mismatch | null> {
  for (let database = 0; database < DATABASES_LOOKED_AT; database++) {
    await pair.compare(["SELECT", String(database)]);
    const different = await pair.compareBatch([["KEYS", "*"], ["DBSIZE"]], 1_000_000);
    if (different.length > 0) return different[0];
    const keys = await keysOf(pair);
    const types = await pair.bare.replies(
      sendAll(
        pair,
        keys.map((key) => ["TYPE", key]),
      ),
    );
    const reads = keys.flatMap((key, i) => {
      const read = READ_BY_TYPE[types[i].toString("latin1").slice(1).trim()];
      return [["TYPE", key], ["PTTL", key], ...(read === undefined ? [] : [read(key)])];
    });
    const mismatches = await pair.compareBatch(reads, 1_000_000);
    if (mismatches.length > 0) return mismatches[0];
  }
  return null;
}

function sendAll(pair: Pair, commands: readonly string[][]): number {
  for (const words of commands) pair.bare.write(encode(words));
  return commands.length;
}

function encode(words: readonly string[]): string {
  return `*${words.length}\r\n${words.map((word) => `$${word.length}\r\n${word}\r\n`).join("")}`;
}

async function keysOf(pair: Pair): Promise<string[]> {
  const raw = (await pair.bare.command("KEYS", "*")).toString("latin1");
  return [...raw.matchAll(/\$\d+\r\n([^\r]*)\r\n/g)].map((match) => match[1]);
}

/** Leaves out what the failure does not need: halves, quarters … single commands. */
export async function shrink(
  rig: DifferentialRig,
  io: string,
  protocol: string,
  commands: readonly Words[],
  seed: number,
): Promise<Words[]> {
  let kept = [...commands];
  let tries = 0;
  for (let size = Math.ceil(kept.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < kept.length && tries < SHRINK_TRIES_MAX;) {
      tries++;
      const less = [...kept.slice(0, at), ...kept.slice(at + size)];
      if (less.length > 0 && (await runStream(rig, io, protocol, less, seed)) !== null) kept = less;
      else at += size;
    }
  }
  return kept;
}
