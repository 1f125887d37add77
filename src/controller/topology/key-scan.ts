/**
 * Looks at the keys of one server, slot by slot: all of them, or a sample.
 *
 *   databases of INFO keyspace ──each──▶ SELECT, SCAN … ──pages──▶ visit(keys) ──false──▶ stop
 *
 * SCAN goes through the server's hash table in an order that has nothing to do with our hash of the keys, so
 * the first keys that it hands out are a fair sample of the slots. Rejected: RANDOMKEY (one round trip per
 * key) and counting by a Lua script (blocks the server).
 */
import { ShoalError } from "../../base/shoal-error.ts";
import type { RedisServer } from "../../redis/redis-server.ts";
import { parseInfoFields } from "../../redis/server-info.ts";
import { slotOf } from "../../routing/slot-of.ts";

/** Keys asked for per SCAN: about a millisecond of the server's time. */
const PAGE_KEYS = 1000;

/** Keys of one server that a sample looks at, and those of them whose size is asked. */
export const SAMPLE_KEYS_MAX = 20_000;
export const SIZED_KEYS_MAX = 5000;

/** A check that has to see every key is refused for servers with more. */
export const CHECKED_KEYS_MAX = 20_000_000;

/** Called with each page; false ends the scan. */
type Visit = (keys: readonly string[]) => Promise<boolean> | boolean;

/** Keys and bytes of one server by slot. */
export interface KeySample {
  /** Over all databases, by the server's own count. */
  readonly keysTotal: number;
  readonly keysSeen: number;
  /** Whether every key was looked at. */
  readonly complete: boolean;
  /** By slot: keys seen. */
  readonly keys: Float64Array;
  /** By slot: bytes of the keys seen; keys whose size was not asked count with the mean. */
  readonly bytes: Float64Array;
}

/** Keys are Latin-1 texts, one character per byte. */
export function slotOfKey(key: string, slots: number): number {
  const bytes = new Uint8Array(key.length);
  for (let i = 0; i < key.length; i++) bytes[i] = key.charCodeAt(i);
  return slotOf(bytes, 0, bytes.length, slots - 1);
}

/** Number of keys by database, of those that have any. */
export async function databaseSizes(server: RedisServer): Promise<Map<number, number>> {
  const fields = parseInfoFields(String(await server.command(["INFO", "keyspace"])));
  const sizes = new Map<number, number>();
  for (const [name, value] of fields) {
    const match = /^keys=(\d+)/.exec(value);
    if (/^db\d+$/.test(name) && match !== null) sizes.set(Number(name.slice(2)), Number(match[1]));
  }
  return sizes;
}

/** Every key of one database; whether it came to the end. */
export async function scanDatabase(server: RedisServer, database: number, visit: Visit): Promise<boolean> {
  await server.command(["SELECT", String(database)]);
  let cursor = "0";
  do {
    const reply = await server.command(["SCAN", cursor, "COUNT", String(PAGE_KEYS)]);
    if (!Array.isArray(reply) || !Array.isArray(reply[1])) {
      throw new ShoalError("SERVER_REPLY", `Cannot use the answer of ${server.address} to SCAN`);
    }
    cursor = String(reply[0]);
    if (!(await visit(reply[1] as string[]))) return false;
  } while (cursor !== "0");
  return true;
}

/**
 * How many keys of the server lie in slots for which `wanted` is true, and in which; counting ends at
 * `limit`. @throws ShoalError LIMIT when it holds too many keys for a check to see them all
 */
export async function countKeysIn(
  server: RedisServer,
  slots: number,
  wanted: (slot: number) => boolean,
  limit: number,
): Promise<{ keys: number; slots: number[] }> {
  const sizes = await databaseSizes(server);
  const total = [...sizes.values()].reduce((a, b) => a + b, 0);
  if (total > CHECKED_KEYS_MAX) {
    const message = `Cannot look at the ${total} keys of ${server.address}: the limit is ${CHECKED_KEYS_MAX}`;
    throw new ShoalError("LIMIT", message);
  }
  let keys = 0;
  const found = new Set<number>();
  const visit: Visit = (page) => {
    for (const key of page) {
      const slot = slotOfKey(key, slots);
      if (!wanted(slot)) continue;
      keys++;
      found.add(slot);
    }
    return keys < limit;
  };
  for (const database of sizes.keys()) if (!(await scanDatabase(server, database, visit))) break;
  return { keys, slots: [...found].toSorted((a, b) => a - b) };
}

/** Looks at up to {@link SAMPLE_KEYS_MAX} keys, dealt to the databases by their sizes. */
export async function sampleKeys(server: RedisServer, slots: number): Promise<KeySample> {
  const sizes = await databaseSizes(server);
  const keysTotal = [...sizes.values()].reduce((a, b) => a + b, 0);
  const share = Math.min(1, SAMPLE_KEYS_MAX / Math.max(1, keysTotal));
  const every = Math.max(1, Math.ceil(Math.min(keysTotal, SAMPLE_KEYS_MAX) / SIZED_KEYS_MAX));
  const tally = new Tally(server, slots, every);
  let complete = true;
  for (const [database, size] of sizes) {
    const end = tally.keysSeen + Math.ceil(size * share);
    const whole = await scanDatabase(server, database, async (page) => {
      await tally.take(page);
      return share === 1 || tally.keysSeen < end;
    });
    complete &&= whole;
  }
  return { keysTotal, keysSeen: tally.keysSeen, complete, keys: tally.keys, bytes: tally.sizes() };
}

/** What a sample adds up. */
class Tally {
  keysSeen = 0;
  readonly keys: Float64Array;
  readonly #sized: Float64Array;
  readonly #unsized: Float64Array;
  readonly #server: RedisServer;
  readonly #slots: number;
  /** Every so-many-th key is asked for its size. */
  readonly #every: number;
  #sizedKeys = 0;
  #sizedBytes = 0;

  constructor(server: RedisServer, slots: number, every: number) {
    this.#server = server;
    this.#slots = slots;
    this.#every = every;
    this.keys = new Float64Array(slots);
    this.#sized = new Float64Array(slots);
    this.#unsized = new Float64Array(slots);
  }

  async take(page: readonly string[]): Promise<void> {
    const asked: Array<Promise<void>> = [];
    for (const key of page) {
      const slot = slotOfKey(key, this.#slots);
      this.keys[slot]++;
      if (this.keysSeen++ % this.#every === 0) asked.push(this.#size(key, slot));
      else this.#unsized[slot]++;
    }
    await Promise.all(asked);
  }

  /** Bytes by slot, with the mean for what was not asked. */
  sizes(): Float64Array {
    const mean = this.#sizedKeys === 0 ? 0 : this.#sizedBytes / this.#sizedKeys;
    return this.#sized.map((bytes, slot) => bytes + this.#unsized[slot] * mean);
  }

  async #size(key: string, slot: number): Promise<void> {
    // A key that has gone since has no size.
    const bytes = Number((await this.#server.command(["MEMORY", "USAGE", key])) ?? 0);
    this.#sized[slot] += bytes;
    this.#sizedBytes += bytes;
    this.#sizedKeys++;
  }
}
