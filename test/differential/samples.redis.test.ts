/** Each sample call of every command, on an empty keyspace and on one whose keys have the right type. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { commandByName } from "../../src/commands/command-lookup.ts";
import * as c from "../../src/commands/command.ts";
import { KEYED_SAMPLES } from "../../src/commands/testing/keyed-samples.ts";
import { KEYLESS_SAMPLES } from "../../src/commands/testing/keyless-samples.ts";
import { sampleWords } from "../../src/commands/testing/sample-words.ts";
import { TRANSPORTS } from "../support/proxy-process.ts";
import { describeMismatch, DifferentialRig, type Pair } from "./rig.ts";

setDefaultTimeout(60_000);

/** The samples' keys, and patterns that stand for such. */
const KEY_WORD = /^(?:[klmn]|[wo]_\*.*)$/;

/** Calls that make {t}k … {t}n what a group of commands works on. */
const FILL: Readonly<Record<string, (key: string) => string[]>> = {
  string: (key) => ["SET", key, "12"],
  bitmap: (key) => ["SET", key, "abc"],
  hash: (key) => ["HSET", key, "f", "1", "g", "2"],
  list: (key) => ["RPUSH", key, "v", "p", "w"],
  set: (key) => ["SADD", key, "a"],
  "sorted-set": (key) => ["ZADD", key, "1", "a", "2", "b"],
  stream: (key) => ["XADD", key, "1-1", "f", "v"],
  hyperloglog: (key) => ["PFADD", key, "a"],
  geo: (key) => ["GEOADD", key, "13.3", "38.1", "a", "15", "37.5", "b"],
  generic: (key) => ["RPUSH", key, "3", "1"],
  scripting: (key) => ["SET", key, "1"],
};

/** Left out, each for its reason. */
const NOT_COMPARED: ReadonlyMap<string, string> = new Map([
  ["XADD k * f v", "the id is the server's time"],
  ["XADD k NOMKSTREAM MAXLEN ~ 100 * f v g w", "the id is the server's time"],
  ["SPOP k", "chosen at random; compared where there is one member only"],
  ["SORT k BY store GET store", "reads the key `store`, which is in another slot: refused by the proxy"],
  ["SORT_RO k BY store GET store", "as above"],
  ["SORT k STORE l STORE m", "compared in one slot like the others"],
  ["XREAD STREAMS streams block 0 0", "the keys `streams` and `block` are in different slots"],
  ["HRANDFIELD k 2 WITHVALUES", "compared on the empty keyspace: the order is random"],
  ["QUIT", "session-commands.redis.test.ts"],
  ["RESET", "session-commands.redis.test.ts"],
  ["INFO", "info.redis.test.ts"],
  ["DEBUG SLEEP 0", "off unless switched on: integration/fleet-admin.redis.test.ts"],
]);
const COMPARED_ALL_THE_SAME = ["SPOP k", "SORT k STORE l STORE m", "HRANDFIELD k 2 WITHVALUES"];

/** In place of the server's answer there is an error that says why; see `refusals` below. */
function answeredByServers(name: string): boolean {
  const route = commandByName(name)?.route ?? c.ROUTE_REFUSED;
  return route !== c.ROUTE_LATER && route !== c.ROUTE_REFUSED;
}

const SAMPLES = [...Object.entries(KEYED_SAMPLES), ...Object.entries(KEYLESS_SAMPLES)].flatMap(
  ([name, samples]) => samples.map((sample) => ({ name, sample })),
);

function inOneSlot(sample: string): string[] {
  return sampleWords(sample).map((word) => (KEY_WORD.test(word) ? `{t}${word}` : word));
}

/** What differs for a sample, and whether the connection lives after it. */
async function differences(pair: Pair, sample: string, filled: boolean): Promise<string[]> {
  const failures: string[] = [];
  for (const words of [inOneSlot(sample), ["PING"]]) {
    const mismatch = await pair.compare(words).catch((error: Error) => error);
    if (mismatch === null) continue;
    const what = mismatch instanceof Error ? mismatch.message : describeMismatch(mismatch);
    failures.push(`${sample} (${filled ? "filled" : "empty"}): ${what}`);
  }
  return failures;
}

let rig: DifferentialRig;

beforeAll(async () => {
  rig = await DifferentialRig.start(TRANSPORTS);
  // How many commands are slow is the machine's, not the proxy's: SLOWLOG LEN must not count them.
  const quiet = ["CONFIG", "SET", "slowlog-log-slower-than", "60000000"];
  await Promise.all([...rig.servers, rig.bare].map((server) => server.command(...quiet)));
});

afterAll(() => rig.dispose());

const COMPARED = SAMPLES.filter(
  ({ name, sample }) =>
    answeredByServers(name) &&
    (!NOT_COMPARED.has(sample) || COMPARED_ALL_THE_SAME.includes(sample)) &&
    !/^(?:INFO|SCAN|AUTH|LOLWUT|CLIENT NO-TOUCH|CLIENT SETINFO)/.test(sample),
);

describe.each([...TRANSPORTS])("every sample call (%s)", (io) => {
  test.each(["2", "3"])("RESP%s", async (protocol) => {
    const failures: string[] = [];
    // Each proxy has users of its own, and the samples of all of them leave theirs on the one bare server.
    const first = await rig.connect(io);
    await first.compare(["ACL", "DELUSER", "u"]);
    first.close();
    for (const { name, sample } of COMPARED) {
      const fill = FILL[commandByName(name)?.group ?? ""];
      for (const filled of fill === undefined ? [false] : [false, true]) {
        await rig.empty();
        const pair = await rig.connect(io);
        await pair.compare(["HELLO", protocol]);
        for (const key of filled ? ["{t}k", "{t}l", "{t}m", "{t}n"] : []) await pair.compare(fill(key));
        failures.push(...(await differences(pair, sample, filled)));
        pair.close();
      }
    }
    expect(failures.join("\n")).toBe("");
    expect(COMPARED.length).toBeGreaterThan(300);
  });

  test("what is refused, now or for ever, gets one error that says so", async () => {
    const pair = await rig.connect(io);
    const refusals = SAMPLES.filter(({ name }) => !answeredByServers(name));
    expect(refusals.length).toBeGreaterThan(10);
    for (const { name, sample } of refusals) {
      const reply = await pair.proxy.text(...inOneSlot(sample));
      expect(`${sample}: ${reply}`).toMatch(
        /: -ERR [^\r\n]*(?:not supported by the proxy yet|refused by the proxy: )[^\r\n]*\r\n$/,
      );
      expect(reply.toLowerCase()).toContain(`'${name}'`);
    }
    expect(await pair.proxy.text("PING")).toBe("+PONG\r\n");
    pair.close();
  });
});
