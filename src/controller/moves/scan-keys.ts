/** All keys of one server, page by page; the next page is on its way while one is worked on. */
import { ShoalError } from "../../base/shoal-error.ts";
import { type Reply, ReplyError } from "../../redis/reply-decoder.ts";
import type { RedisServer } from "../../redis/redis-server.ts";
import { parseInfoFields } from "../../redis/server-info.ts";
import { BIG_KEY_BYTES } from "./key-cost.ts";

/** Keys that one SCAN looks at: about half a millisecond of the server's time. */
const SCAN_COUNT = 500;

/** What is known of the server that is scanned: cursors of one process mean nothing to another. */
export interface Scanned {
  readonly runId: string;
  /** Numbers of the databases that have keys. */
  readonly databases: readonly number[];
}

export async function lookAtServer(server: RedisServer): Promise<Scanned> {
  const fields = parseInfoFields(String(await server.command(["INFO"])));
  const databases = [...fields.keys()].flatMap((name) => {
    const match = /^db(\d+)$/.exec(name);
    return match === null ? [] : [Number(match[1])];
  });
  return { runId: fields.get("run_id") ?? "", databases };
}

/**
 * Every key that is in `database` from the beginning to the end, at least once, made into what `prepare`
 * makes of a page. The database is named in each request, because a connection that was lost and made anew
 * is in database 0.
 */
export async function* scanPages<Page>(
  server: RedisServer,
  database: number,
  prepare: (keys: string[]) => Promise<Page>,
): AsyncGenerator<Page> {
  const read = async (cursor: string): Promise<{ next: string; page: Page }> => {
    const scan = ["SCAN", cursor, "COUNT", String(SCAN_COUNT)];
    const [, reply] = noErrors(server, await server.pipeline([["SELECT", String(database)], scan]));
    if (!Array.isArray(reply) || !Array.isArray(reply[1])) {
      throw new ShoalError("PROTOCOL", `Cannot use the answer of ${server.address} to SCAN`);
    }
    return { next: String(reply[0]), page: await prepare(reply[1] as string[]) };
  };
  let coming = read("0");
  for (;;) {
    const { next, page } = await coming;
    if (next !== "0") {
      coming = read(next);
      // Looked at when its turn has come; until then a failure is nobody's.
      coming.catch(() => {});
    }
    yield page;
    if (next === "0") return;
  }
}

/** The replies, when none is an error. @throws ShoalError SERVER_REPLY */
export function noErrors(server: RedisServer, replies: Reply[]): Reply[] {
  const error = replies.find((reply) => reply instanceof ReplyError);
  if (error instanceof ReplyError) {
    throw new ShoalError("SERVER_REPLY", `Cannot read the keys of ${server.address}: ${error.text}`);
  }
  return replies;
}

/** One key and what is known of its size. */
export interface Measured {
  readonly key: string;
  /** By MEMORY USAGE; 0 for a key that is gone. */
  readonly bytes: number;
  /** "string", "hash" …; only asked for from {@link BIG_KEY_BYTES} on. */
  readonly type?: string;
}

/** Sizes of all keys, types of the big ones. MEMORY USAGE costs 0.5 µs of the server's time each. */
export async function measureKeys(
  server: RedisServer,
  database: number,
  keys: readonly string[],
): Promise<Measured[]> {
  if (keys.length === 0) return [];
  const select = ["SELECT", String(database)];
  const usage = keys.map((key) => ["MEMORY", "USAGE", key]);
  const sizes = noErrors(server, await server.pipeline([select, ...usage])).slice(1);
  const big = keys.filter((_, index) => Number(sizes[index]) >= BIG_KEY_BYTES);
  const types = new Map<string, string>();
  if (big.length > 0) {
    const replies = await server.pipeline([select, ...big.map((key) => ["TYPE", key])]);
    for (const [index, type] of noErrors(server, replies).slice(1).entries())
      types.set(big[index], String(type));
  }
  return keys.map((key, index) => ({ key, bytes: Number(sizes[index]), type: types.get(key) }));
}
