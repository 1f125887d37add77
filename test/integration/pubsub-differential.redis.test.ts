/**
 * The same bytes to a proxy over three groups and to one bare redis-server: the same bytes must come back.
 *
 *   steps ─┬─▶ proxy ─▶ g1, g2, g3
 *          └─▶ bare
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { globMatches } from "../../src/base/glob-match.ts";
import { TRANSPORTS } from "../support/proxy-process.ts";
import { RedisProcess } from "../support/redis-process.ts";
import { encodeRequest, RespClient } from "../support/resp-client.ts";
import { next, PubSubRig } from "./pubsub-rig.ts";

/**
 * One step: a command, and how many replies and pushes it brings to the client; with `by`, another client
 * sends it and its reply is compared too.
 */
type Step = readonly [command: string, count: number, by?: "other"];

const RESP2: readonly Step[] = [
  ["SUBSCRIBE", 1],
  ["UNSUBSCRIBE", 1],
  ["PUNSUBSCRIBE", 1],
  ["SUNSUBSCRIBE", 1],
  ["UNSUBSCRIBE x y", 2],
  ["PUBLISH nobody x", 1],
  ["SPUBLISH nobody x", 1],
  ["PUBLISH a", 1],
  ["PUBSUB", 1],
  ["PUBSUB CHANNELS", 1],
  ["PUBSUB CHANNELS a b", 1],
  ["PUBSUB NUMSUB", 1],
  ["PUBSUB NUMSUB a b c", 1],
  ["PUBSUB NUMPAT", 1],
  ["PUBSUB NUMPAT x", 1],
  ["PUBSUB SHARDCHANNELS", 1],
  ["PUBSUB SHARDNUMSUB s", 1],
  ["PUBSUB NOSUCH", 1],
  ["PUBSUB HELP", 1],
  ["SUBSCRIBE a b a c", 4],
  ["PSUBSCRIBE a* b* a*", 3],
  ["SSUBSCRIBE a s", 2],
  ["PUBLISH a one", 2, "other"],
  ["PUBLISH c two", 1, "other"],
  ["PUBLISH zzz three", 0, "other"],
  ["SPUBLISH s four", 1, "other"],
  ["PUBSUB NUMSUB a b zzz", 0, "other"],
  ["PUBSUB NUMPAT", 0, "other"],
  ["PUBSUB CHANNELS b*", 0, "other"],
  ["PUBSUB SHARDNUMSUB a s", 0, "other"],
  ["PING", 1],
  ["PING hello", 1],
  ["PING a b", 1],
  ["GET x", 1],
  ["CLIENT ID", 1],
  ["MULTI", 1],
  ["HELLO 3", 1],
  ["AUTH x", 1],
  ["NOSUCH x", 1],
  ["PUBLISH a self", 1],
  ["UNSUBSCRIBE b", 1],
  ["UNSUBSCRIBE b", 1],
  ["PUNSUBSCRIBE a*", 1],
  ["PUBLISH a five", 1, "other"],
  ["UNSUBSCRIBE a c", 2],
  ["UNSUBSCRIBE", 1],
  ["PUNSUBSCRIBE", 1],
  ["GET x", 1],
  ["SUNSUBSCRIBE a", 1],
  ["SUNSUBSCRIBE", 1],
  ["GET x", 1],
  ["PUBSUB NUMSUB a b", 0, "other"],
  ["PUBSUB CHANNELS", 0, "other"],
  ["SUBSCRIBE a", 1],
  ["RESET", 1],
  ["PING", 1],
  ["PUBLISH a six", 0, "other"],
  ["MULTI", 1],
  ["UNSUBSCRIBE", 1],
  ["PUNSUBSCRIBE x", 1],
  ["PUBLISH a seven", 1],
  ["EXEC", 1],
  ["CLIENT REPLY OFF", 0],
  ["SUBSCRIBE a", 1],
  ["PUBLISH a eight", 1, "other"],
  ["UNSUBSCRIBE a", 1],
  ["CLIENT REPLY ON", 1],
  ["CLIENT REPLY SKIP", 0],
  ["SUBSCRIBE a b", 2],
  ["UNSUBSCRIBE a", 1],
  ["QUIT", 1],
];

const RESP3: readonly Step[] = [
  ["SUBSCRIBE a b", 2],
  ["PSUBSCRIBE a*", 1],
  ["SSUBSCRIBE s", 1],
  ["UNSUBSCRIBE zzz", 1],
  ["PING", 1],
  ["PING hello", 1],
  ["SET k v", 1],
  ["GET k", 1],
  ["PUBLISH b one", 1, "other"],
  ["PUBLISH a two", 2, "other"],
  ["PUBLISH b self", 2],
  ["PUBLISH zzz nobody", 1],
  ["SPUBLISH s self", 2],
  ["GET k", 1],
  ["PUBSUB NUMSUB a b", 1],
  ["UNSUBSCRIBE a b", 2],
  ["UNSUBSCRIBE", 1],
  ["PUBLISH a three", 1, "other"],
  ["PUNSUBSCRIBE", 1],
  ["SUNSUBSCRIBE", 1],
  ["PUNSUBSCRIBE", 1],
  ["SUBSCRIBE a", 1],
  ["HELLO 2", 1],
  ["GET k", 1],
  ["PING", 1],
  ["PUBLISH a four", 1, "other"],
  ["UNSUBSCRIBE a", 1],
  ["GET k", 1],
  ["DEL k", 1],
];

describe.each(TRANSPORTS.map((io) => ({ io })))("Pub/Sub replies over $io", ({ io }) => {
  let rig: PubSubRig;
  let bare: RedisProcess;
  beforeAll(async () => {
    rig = await PubSubRig.start({ io });
    bare = await RedisProcess.start();
  });
  afterAll(async () => {
    await rig.dispose();
    await bare.dispose();
  });

  async function run(client: RespClient, other: RespClient, steps: readonly Step[]): Promise<string[]> {
    const log: string[] = [];
    for (const [command, count, by] of steps) {
      (by === undefined ? client : other).write(encodeRequest(command.split(" ")));
      log.push(`${command}:`);
      if (by !== undefined) log.push(...(await next(other)));
      // The number of a client is its own.
      const replies = await next(client, count);
      log.push(...replies.map((text) => text.replace(/\$2\r\nid\r\n:\d+/, "$2\r\nid\r\n:N")));
    }
    return log;
  }

  test.each([
    ["RESP2", 2, RESP2],
    ["RESP3", 3, RESP3],
  ] as const)("%s as a bare server's, byte by byte", async (_name, protocol, steps) => {
    const sides = [
      [await rig.connect(0, protocol), await rig.connect()],
      [await RespClient.connect(bare.port), await RespClient.connect(bare.port)],
    ] as const;
    if (protocol === 3) await sides[1][0].command("HELLO", "3");
    const [proxy, server] = await Promise.all(sides.map(([client, other]) => run(client, other, steps)));
    expect(proxy).toEqual(server);
    for (const client of sides[1]) client.close();
  });

  test("a pipeline of subscriptions and other commands keeps its order", async () => {
    const words = ["SET k v", "SUBSCRIBE a b", "GET k", "PSUBSCRIBE c*", "INCR n", "UNSUBSCRIBE b", "GET k"];
    const bytes = Buffer.concat([...words, "UNSUBSCRIBE"].map((each) => encodeRequest(each.split(" "))));
    const clients = [await rig.connect(0, 3), await RespClient.connect(bare.port)];
    await clients[1].command("HELLO", "3");
    for (const client of clients) client.write(bytes);
    const [proxy, server] = await Promise.all(clients.map((client) => next(client, 9)));
    expect(proxy).toEqual(server);
    clients[1].close();
  });
});

test("patterns fit as on a server", async () => {
  const bare = await RedisProcess.start();
  const seed = Math.floor(Math.random() * 2 ** 31);
  let state = seed;
  const draw = (below: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return Math.floor((state / 2 ** 31) * below);
  };
  const text = (alphabet: string, max: number): string =>
    Array.from({ length: 1 + draw(max) }, () => alphabet[draw(alphabet.length)]).join("");
  try {
    const names = [...new Set(Array.from({ length: 200 }, () => text("abc-]*", 6)))];
    const client = await RespClient.connect(bare.port);
    client.write(encodeRequest(["SUBSCRIBE", ...names]));
    await client.replies(names.length);
    for (let i = 0; i < 2000; i++) {
      const pattern = text("aabc*?[]^-\\", 8);
      const listed = (await bare.command("PUBSUB", "CHANNELS", pattern)) as string[];
      const expected = names.filter((name) => globMatches(pattern, name));
      expect({ seed, pattern, listed: listed.toSorted() }).toEqual({
        seed,
        pattern,
        listed: expected.toSorted(),
      });
    }
    client.close();
  } finally {
    await bare.dispose();
  }
}, 20_000);
