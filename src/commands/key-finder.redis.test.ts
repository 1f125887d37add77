/**
 * The oracle: the keys that are found are those that COMMAND GETKEYS of a live server names, and a request
 * that is called malformed is one that the server answers with an error.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { RedisClient } from "bun";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { commandFromInfoReply } from "./command-info-reply.ts";
import { commandOf, COMMANDS } from "./command-lookup.ts";
import { TABLE_VERSION } from "./command-table.generated.ts";
import { arityFits, KEY_NOT_KEY } from "./command.ts";
import { findKeys } from "./key-finder.ts";
import { FIND_MALFORMED, KeyPositions } from "./key-positions.ts";
import { KEYED_SAMPLES } from "./testing/keyed-samples.ts";
import { requestOf } from "./testing/request-of.ts";
import { sampleWords } from "./testing/sample-words.ts";

const START_DEADLINE_MS = 10_000;

interface Server {
  readonly client: RedisClient;
  readonly version: string;
  stop(): Promise<void>;
}

/**
 * A server of this test alone, on a Unix socket so that no port has to be found; null if it does not start.
 */
async function startServer(): Promise<Server | null> {
  const folder = mkdtempSync(join(tmpdir(), "shoal-key-finder-"));
  const path = join(folder, "redis.sock");
  const args = ["--port", "0", "--unixsocket", path, "--dir", folder, "--save", ""];
  const child = spawn("redis-server", args, { stdio: "ignore" });
  const gone = once(child, "exit").catch(() => undefined);
  const deadline = Date.now() + START_DEADLINE_MS;
  while (!existsSync(path)) {
    if (child.pid === undefined || child.exitCode !== null || Date.now() > deadline) return null;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const client = new RedisClient(`redis+unix://${path}`);
  const info: string = await client.send("INFO", ["server"]);
  const stop = async (): Promise<void> => {
    client.close();
    child.kill("SIGTERM");
    await gone;
    rmSync(folder, { recursive: true, force: true });
  };
  return { client, version: /redis_version:(\S+)/.exec(info)?.[1] ?? "unknown", stop };
}

const server = await startServer();
afterAll(() => server?.stop());

// Other versions' GETKEYS is wrong in other corners; the finder is held against the one it was written for.
const version = server?.version ?? "none";
const isReference = version.startsWith("7.0.");
if (!isReference) console.warn(`Skipped: needs redis-server 7.0 (${TABLE_VERSION}), here is ${version}`);

/** An error reply, as a value. */
class ErrorReply {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

async function ask(...words: string[]): Promise<unknown> {
  if (server === null) throw new Error("Cannot ask redis-server: it does not start");
  return server.client.send(words[0], words.slice(1)).catch((error: Error) => new ErrorReply(error.message));
}

const out = new KeyPositions();

/**
 * The keys that our finder names, as words; a negative number as it is; null for a wrong number of arguments.
 */
function found(words: readonly string[]): string[] | number | null {
  const request = requestOf(words);
  const command = commandOf(request);
  if (command === null) throw new Error(`Cannot test ${words.join(" ")}: no such command`);
  if (!arityFits(command, words.length)) return null;
  const count = findKeys(command, request, out);
  return count < 0 ? count : [...out.at.subarray(0, count)].map((index) => words[index]);
}

/** The keys that the server names; an error, whatever its words, is none. */
async function serverKeys(words: readonly string[]): Promise<unknown[]> {
  const reply = await ask("COMMAND", "GETKEYS", ...words);
  return Array.isArray(reply) ? reply : [];
}

/** PFMERGE with its destination only is valid; GETKEYS 7.0 stumbles over the empty range of sources. */
const GETKEYS_IS_WRONG = new Set(["PFMERGE k"]);

/** What a valid call may say when it meets no data: the keys are new in every sample. */
const NO_DATA =
  /no such key|NOGROUP|NOSCRIPT|requires the key to exist|Function not found|no key|wrong data type/i;
const NO_DATA_MORE =
  /key does not exist|DUMP payload|IOERR|LFU|could not decode|NOTBUSY|doesn't exist|PFDEBUG/i;

describe.skipIf(!isReference)("the samples", () => {
  beforeAll(async () => {
    await ask(
      "FUNCTION",
      "LOAD",
      "#!lua name=lib\nredis.register_function{function_name='f'," +
        "callback=function() return 1 end,flags={'no-writes'}}",
    );
  });

  test("name every command with keys", () => {
    const keyed = COMMANDS.filter((command) =>
      command.keySpecs.some((spec) => (spec.flags & KEY_NOT_KEY) === 0),
    );
    const names = keyed.map((command) => command.name).filter((name) => !name.startsWith("debug|"));
    expect(Object.keys(KEYED_SAMPLES).toSorted()).toEqual(names.toSorted());
  });

  test.each(Object.entries(KEYED_SAMPLES))("%s", async (name, lines) => {
    for (const line of lines) {
      const words = sampleWords(line);
      expect(commandOf(requestOf(words))?.name, line).toBe(name);
      const keys = found(words);
      expect(Array.isArray(keys), line).toBe(true);
      if (!GETKEYS_IS_WRONG.has(line)) expect(keys as unknown[], line).toEqual(await serverKeys(words));
      // The sample is one that the command itself takes.
      await ask("FLUSHALL");
      const reply = await ask(...words);
      if (reply instanceof ErrorReply && !NO_DATA.test(reply.text) && !NO_DATA_MORE.test(reply.text)) {
        throw new Error(`Cannot use the sample ${line}: ${reply.text}`);
      }
    }
  });
});

/**
 * Commands whose keys follow a number or a keyword: how a call begins, and phrases that are strung behind it.
 * Half of the calls begin otherwise or not at all, to be wrong in every way.
 */
const TRICKY: Readonly<Record<string, readonly [start: string, ...phrases: string[]]>> = {
  EVAL: ["return", "0", "1", "2", "01", "-1", "x", "k", "l", "1 k", "2 k l"],
  EVAL_RO: ["return", "0", "1", "2", "k", "l", "1 k", "2 k l"],
  LMPOP: ["2 k l LEFT", "0", "1", "2", "k", "l", "LEFT", "COUNT 1", "left count"],
  SINTERCARD: ["1 k", "0", "1", "2", "k", "l", "LIMIT 1", "limit"],
  ZDIFF: ["2 k l", "0", "1", "2", "k", "l", "WITHSCORES"],
  ZDIFFSTORE: ["d 2", "0", "1", "2", "k", "l"],
  ZINTERSTORE: ["d 1 k", "d", "1", "2", "k", "l", "WEIGHTS 1", "AGGREGATE MAX", "aggregate"],
  ZMPOP: ["1 k MIN", "0", "1", "2", "k", "l", "MIN", "COUNT 1"],
  ZUNION: ["2 k l", "0", "1", "2", "+1", '""', "k", "l", "WEIGHTS 1 2", "WITHSCORES"],
  XREAD: [
    "COUNT 1",
    "STREAMS k 0",
    "STREAMS k l 0 0",
    "STREAMS",
    "streams k l",
    "COUNT 2",
    "k",
    "0",
    "0-1",
    "$",
  ],
  XREADGROUP: [
    "GROUP g c",
    "GROUP g streams",
    "STREAMS k >",
    "STREAMS k l 0 >",
    "COUNT 1",
    "NOACK",
    "k",
    "0",
    ">",
  ],
  GEORADIUS: ["k 1 1 1 m", "STORE l", "STOREDIST l", "COUNT 1", "ANY", "ASC", "WITHDIST", "store", "l"],
  GEORADIUSBYMEMBER: [
    "k a 1 m",
    "k store 1 m",
    "STORE l",
    "STOREDIST l",
    "COUNT 1",
    "DESC",
    "storedist",
    "l",
  ],
  SORT: ["k", "BY a*", "GET #", "GET store", "STORE l", "LIMIT 0 1", "store", "ALPHA", "DESC", "l"],
  SORT_RO: ["k", "BY a*", "GET #", "GET store", "LIMIT 0 1", "STORE l", "ALPHA", "l"],
  MSET: ["k v", "l v", "k", "v"],
  BITOP: ["AND d", "NOT d", "k", "l"],
  PFMERGE: ["d", "k", "l"],
  LCS: ["k l", "k", "LEN", "IDX", "MINMATCHLEN 2"],
};

/** Of the random calls of a command at least so many must have been compared, or the test says nothing. */
const COMPARED_MIN = 3;

describe.skipIf(!isReference)("random calls", () => {
  const seed = Number(process.env.SHOAL_SEED ?? Date.now() % 2 ** 31);

  test.each(Object.entries(TRICKY))(`%s (seed ${seed})`, async (name, phrases) => {
    const begin = fc.oneof(fc.constant([phrases[0]]), fc.constant([]));
    const words = fc
      .tuple(begin, fc.array(fc.constantFrom(...phrases), { maxLength: 6 }))
      .map(([start, rest]) => [...start, ...rest].flatMap(sampleWords));
    let compared = 0;
    const property = fc.asyncProperty(words, async (rest) => {
      const call = [name, ...rest];
      const keys = found(call);
      if (keys === null) return;
      await ask("FLUSHALL");
      const reply = await ask(...call);
      // A call that fails touches no key, so it does not matter where it fails.
      if (keys === FIND_MALFORMED) expect(reply).toBeInstanceOf(ErrorReply);
      // All but the data was right where only the group is missing.
      if (reply instanceof ErrorReply && !reply.text.startsWith("NOGROUP")) return;
      if (isCornerOfGetkeys(call)) return;
      compared++;
      expect(keys as unknown[]).toEqual(await serverKeys(call));
    });
    await fc.assert(property, { seed, numRuns: 500 });
    expect(compared).toBeGreaterThanOrEqual(COMPARED_MIN);
  });
});

/** Calls that work but of whose keys GETKEYS 7.0 says something else; each has a test of its own below. */
function isCornerOfGetkeys(call: readonly string[]): boolean {
  const [name, ...rest] = call.map((word) => word.toUpperCase());
  if (name === "PFMERGE") return rest.length === 1;
  const stores = rest.filter((word) => word === "STORE" || word === "STOREDIST").length;
  if (name.startsWith("GEORADIUS") || name === "SORT") return stores > 1;
  return name.startsWith("XREAD") && rest.filter((word) => word === "STREAMS").length > 1;
}

describe.skipIf(!isReference)("where GETKEYS is wrong the command itself is asked", () => {
  test("GEORADIUS writes the last of its STORE keys only", async () => {
    await ask("FLUSHALL");
    await ask("GEOADD", "k", "1", "1", "a");
    const call = "GEORADIUS k 1 1 100 km STORE l STOREDIST m".split(" ");
    expect(await ask(...call)).toBe(1);
    expect(found(call)).toEqual(["k", "m"]);
    expect(await ask("EXISTS", "l")).toBe(0);
    expect(await ask("EXISTS", "m")).toBe(1);
  });

  test("SORT writes the key behind its last STORE, even one called like an option", async () => {
    await ask("FLUSHALL");
    await ask("RPUSH", "k", "1");
    const call = "SORT k STORE l STORE get".split(" ");
    expect(await ask(...call)).toBe(1);
    expect(found(call)).toEqual(["k", "get"]);
    expect(await ask("EXISTS", "l")).toBe(0);
    expect(await ask("EXISTS", "get")).toBe(1);
  });

  test("XREADGROUP takes a group called STREAMS", async () => {
    await ask("FLUSHALL");
    await ask("XGROUP", "CREATE", "k", "streams", "0", "MKSTREAM");
    await ask("XADD", "k", "1-1", "f", "v");
    const call = "XREADGROUP COUNT 1 GROUP streams streams STREAMS k >".split(" ");
    expect(await ask(...call)).toEqual({ k: [["1-1", ["f", "v"]]] });
    expect(found(call)).toEqual(["k"]);
  });

  test("PFMERGE creates its destination without a source", async () => {
    await ask("FLUSHALL");
    expect(await ask("PFMERGE", "k")).toBe("OK");
    expect(found(["PFMERGE", "k"])).toEqual(["k"]);
    expect(await ask("EXISTS", "k")).toBe(1);
  });
});

test.skipIf(!isReference)("a command learned from COMMAND INFO is the built-in one", async () => {
  for (const command of COMMANDS) {
    const reply = await ask("COMMAND", "INFO", command.name);
    const learned = commandFromInfoReply(Array.isArray(reply) ? reply[0] : null, () => command.id);
    // What only newer servers know stays as it was written by hand.
    if (learned === null) continue;
    const { arity, flags, route, merge, firstKey, keySpecs, finder, note, categories } = command;
    expect(learned).toMatchObject({
      arity,
      flags,
      route,
      merge,
      firstKey,
      keySpecs,
      finder,
      note,
      categories,
    });
  }
});
