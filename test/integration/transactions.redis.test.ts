/**
 * MULTI, EXEC, DISCARD, WATCH through the proxy over three groups, against a server alone where that can be.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { describeMismatch, DifferentialRig, type Pair } from "../differential/rig.ts";
import { TRANSPORTS } from "../support/proxy-process.ts";
import { decodeReplyTree, encodeRequest, type RespClient } from "../support/resp-client.ts";
import { until } from "../support/until.ts";
import { sha1Hex } from "../../src/proxy/dispatch/sha1.ts";

setDefaultTimeout(60_000);

const SCRIPT = "return redis.call('INCRBY', KEYS[1], ARGV[1])";
const SHA = sha1Hex(Buffer.from(SCRIPT), 0, SCRIPT.length);

/**
 * Calls with " / " between them, on a connection of their own; every answer must be the bare server's to the
 * byte.
 */
const CONVERSATIONS: readonly string[] = [
  "MULTI / SET {t}a 1 / INCR {t}a / GET {t}a / LPUSH {t}a x / EXEC / GET {t}a",
  "EXEC / DISCARD / UNWATCH / MULTI / MULTI / EXEC / EXEC",
  "MULTI / DISCARD / DISCARD / MULTI / EXEC",
  "MULTI / SET {t}a 1 / DISCARD / GET {t}a / EXEC",
  "MULTI / NOSUCHCOMMAND / SET {t}a 1 / EXEC / EXISTS {t}a",
  "MULTI / GET / SET {t}a 1 / EXEC / EXISTS {t}a / MULTI / GET {t}a / EXEC",
  "MULTI / CLIENT NOSUCH / EXEC",
  "EXEC a / MULTI / EXEC a / DISCARD / MULTI a / WATCH {t}a / SET {t}a 1 / EXEC a / MULTI / PING / EXEC",
  "MULTI / WATCH {t}a / SET {t}a 1 / EXEC",
  "WATCH / WATCH {t}a {t}b / SET {t}b 1 / MULTI / PING / EXEC / MULTI / PING / EXEC",
  "WATCH {t}a / SET {t}a 1 / UNWATCH / MULTI / GET {t}a / EXEC",
  "WATCH {t}a / SET {t}a 1 / MULTI / DISCARD / MULTI / GET {t}a / EXEC",
  "WATCH {t}a / WATCH {t}b / WATCH {t}a / MULTI / SET {t}a 1 / EXEC / MULTI / GET {t}a / EXEC",
  "MULTI / PING / PING hi / ECHO a / EXEC",
  "MULTI / CLIENT GETNAME / EXEC / MULTI / CLIENT SETNAME me / CLIENT GETNAME / EXEC / CLIENT GETNAME",
  "MULTI / SET {t}a 1 / CLIENT SETNAME me / GET {t}a / CLIENT GETNAME / ECHO x / CLIENT SETNAME a\nb / EXEC",
  "WATCH {t}a / MULTI / CLIENT SETNAME me / CLIENT GETNAME / EXEC",
  "MULTI / SELECT 3 / SET {t}a three / SELECT 4 / SET {t}a four / EXEC / GET {t}a / SELECT 3 / GET {t}a",
  "MULTI / SELECT 99 / SET {t}a 1 / SELECT abc / SELECT -1 / EXEC / GET {t}a / SELECT 0 / GET {t}a",
  "MULTI / SELECT 5 / DISCARD / SET {t}a 0 / GET {t}a",
  "WATCH {t}a / SELECT 5 / SET {t}a five / MULTI / GET {t}a / SET {t}b b / EXEC / SELECT 0 / GET {t}b",
  "WATCH {t}a / SELECT 5 / WATCH {t}a / SET {t}a five / MULTI / GET {t}a / EXEC",
  "WATCH {t}a / MULTI / SELECT 6 / SET {t}a six / EXEC / GET {t}a / SELECT 0 / GET {t}a",
  "HSET {t}h f v / WATCH {t}h / HELLO 3 / MULTI / HGETALL {t}h / GET {t}none / EXEC",
  "HELLO 3 / WATCH {t}a / SET {t}a 1 / MULTI / GET {t}a / EXEC",
  "HELLO 3 / WATCH {t}a / HELLO 2 / MULTI / GET {t}a / GET {t}none / EXEC",
  "HELLO 3 / MULTI / HGETALL {t}none / GET {t}none / CLIENT GETNAME / PING / EXEC",
  "MULTI / BLPOP {t}l 0 / BRPOP {t}l {t}m 0 / BLMOVE {t}l {t}m LEFT LEFT 0 / BZPOPMIN {t}z 0 / EXEC",
  "RPUSH {t}l a b / MULTI / BLPOP {t}l 0 / BLMPOP 0 2 {t}l {t}m LEFT COUNT 5 / BRPOPLPUSH {t}l {t}m 0 / EXEC",
  "MULTI / XADD {t}s 1-1 f v / XREAD BLOCK 0 STREAMS {t}s $ / XREAD BLOCK 0 STREAMS {t}s 0 / EXEC",
  `SCRIPT LOAD ${SCRIPT.replaceAll(" ", "\x01")} / MULTI / SET {t}n 1 / EVALSHA ${SHA} 1 {t}n 4 / EXEC`,
  `MULTI / EVAL ${SCRIPT.replaceAll(" ", "\x01")} 1 {t}n 2 / EVALSHA ${SHA} 1 {t}n 4 / EXEC`,
  `MULTI / EVALSHA ${"0".repeat(40)} 1 {t}n / SET {t}a 1 / EXEC / GET {t}a`,
  "MULTI / MSET {t}a 1 {t}b 2 / MGET {t}a {t}b {t}c / DEL {t}a {t}c / EXISTS {t}a {t}b / EXEC",
  "MULTI / SET {t}a 1 / RESET / GET {t}a / EXEC",
  "MULTI / QUIT",
];

function wordsOf(call: string): string[] {
  return call.split(" ").map((word) => word.replaceAll("\x01", " "));
}

describe.each(TRANSPORTS.map((io) => ({ io })))("transactions over $io", ({ io }) => {
  let rig: DifferentialRig;
  /** A key of each group; no two in one slot. */
  let keys: string[];

  beforeAll(async () => {
    rig = await DifferentialRig.start([io]);
    keys = await keyOfEachGroup(rig, io);
  });
  afterAll(() => rig.dispose());

  const connect = (): Promise<RespClient> => rig.proxy(io).connect();

  async function talk(pair: Pair, calls: readonly string[], batch: boolean): Promise<string[]> {
    const commands = calls.map(wordsOf).filter(([name]) => name !== "RESET" || !batch);
    const found = batch ? await pair.compareBatch(commands, 0) : [];
    if (!batch)
      for (const words of commands)
        found.push(...[await pair.compare(words)].filter((each) => each !== null));
    return found.filter(({ words }) => words[0] !== "HELLO").map(describeMismatch);
  }

  test.each(CONVERSATIONS.map((line) => [line]))("%s", async (line) => {
    for (const batch of [false, true]) {
      await rig.empty();
      const pair = await rig.connect(io);
      expect(await talk(pair, line.split(" / "), batch)).toEqual([]);
      pair.close();
    }
  });

  test("a key of another slot is refused while queuing, and EXEC then runs nothing", async () => {
    const client = await connect();
    await client.command("DEL", ...keys);
    await client.command("MULTI");
    expect(await client.text("SET", keys[0], "1")).toBe("+QUEUED\r\n");
    for (const key of [keys[1], keys[2]])
      expect(await client.text("SET", key, "1")).toStartWith("-CROSSSLOT ");
    expect(await client.text("MGET", keys[0], keys[1])).toStartWith("-CROSSSLOT ");
    expect(await client.text("EXEC")).toStartWith("-EXECABORT ");
    expect(await client.text("EXISTS", ...keys)).toBe(":0\r\n");
    client.close();
  });

  test("watched keys and the transaction's keys must be in one slot; the session goes on", async () => {
    const client = await connect();
    expect(await client.text("WATCH", keys[0])).toBe("+OK\r\n");
    expect(await client.text("WATCH", keys[1])).toStartWith("-CROSSSLOT ");
    await client.command("MULTI");
    expect(await client.text("SET", keys[1], "1")).toStartWith("-CROSSSLOT ");
    expect(await client.text("EXEC")).toStartWith("-EXECABORT ");
    expect(await client.text("WATCH", keys[1])).toBe("+OK\r\n");
    await client.command("MULTI");
    expect(await client.text("SET", keys[1], "1")).toBe("+QUEUED\r\n");
    expect(await client.text("EXEC")).toBe("*1\r\n+OK\r\n");
    client.close();
  });

  test("EXEC answers nil when another client has changed a watched key, in every group", async () => {
    const [watcher, writer] = [await connect(), await connect()];
    for (const key of keys) {
      await watcher.command("WATCH", key);
      await writer.command("SET", key, "changed");
      await watcher.command("MULTI");
      await watcher.command("SET", key, "mine");
      expect(await watcher.text("EXEC")).toBe("*-1\r\n");
      expect(await writer.text("GET", key)).toBe("$7\r\nchanged\r\n");
      // The second try sees no change.
      await watcher.command("WATCH", key);
      await watcher.command("MULTI");
      await watcher.command("SET", key, "mine");
      expect(await watcher.text("EXEC")).toBe("*1\r\n+OK\r\n");
    }
    watcher.close();
    writer.close();
  });

  test("EXEC answers nil when the connection that watches was lost, whatever is watched since", async () => {
    const client = await connect();
    for (const again of [false, true]) {
      await client.command("WATCH", keys[0]);
      for (const server of rig.servers) await server.command("CLIENT", "KILL", "TYPE", "normal");
      // The proxy's other connections to the servers come back.
      await until(async () => (await client.text("GET", keys[0])).startsWith("$"), "the servers are back");
      if (again) expect(await client.text("WATCH", keys[0])).toBe("+OK\r\n");
      await client.command("MULTI");
      await client.command("SET", keys[0], "1");
      expect(await client.text("EXEC")).toBe("*-1\r\n");
      await client.command("MULTI");
      await client.command("SET", keys[0], "2");
      expect(await client.text("EXEC")).toBe("*1\r\n+OK\r\n");
    }
    client.close();
  });

  test("a watching connection that is given back watches nothing for its next user", async () => {
    const [first, second] = [await connect(), await connect()];
    for (let round = 0; round < 5; round++) {
      await first.command("WATCH", keys[0]);
      await first.command(round % 2 === 0 ? "UNWATCH" : "DISCARD");
      await first.command("UNWATCH");
      await second.command("WATCH", keys[0]);
      await first.command("SET", keys[0], "changed");
      await second.command("UNWATCH");
      await second.command("WATCH", keys[0]);
      await second.command("MULTI");
      await second.command("GET", keys[0]);
      expect(await second.text("EXEC")).toBe("*1\r\n$7\r\nchanged\r\n");
    }
    first.close();
    second.close();
  });

  test("transactions of many sessions, whole in one write, don't mix", async () => {
    const clients = await Promise.all(Array.from({ length: 20 }, connect));
    const rounds = 50;
    await clients[0].command("DEL", "{both}a", "{both}b");
    const body = ["MULTI", "INCR {both}a", "ECHO x", "INCR {both}b", "EXEC"].map((call) =>
      encodeRequest(call.split(" ")),
    );
    const seen = new Set<string>();
    await Promise.all(
      clients.map(async (client) => {
        for (let round = 0; round < rounds; round++) {
          client.write(Buffer.concat(body));
          const raw = (await client.replies(body.length))[4];
          const [a, , b] = decodeReplyTree(raw).items;
          expect(a.text).toBe(b.text);
          seen.add(a.text);
        }
      }),
    );
    expect(seen.size).toBe(clients.length * rounds);
    for (const client of clients) client.close();
  });

  test("optimistic increments by many sessions: none is lost", async () => {
    const clients = await Promise.all(Array.from({ length: 8 }, connect));
    await clients[0].command("SET", keys[2], "0");
    const each = 25;
    await Promise.all(
      clients.map(async (client) => {
        for (let done = 0; done < each;) {
          await client.command("WATCH", keys[2]);
          const value = decodeReplyTree(await client.command("GET", keys[2])).text;
          client.write(
            Buffer.concat(
              [["MULTI"], ["SET", keys[2], String(Number(value) + 1)], ["EXEC"]].map(encodeRequest),
            ),
          );
          const replies = await client.replies(3);
          if (replies[2].toString() === "*1\r\n+OK\r\n") done++;
        }
      }),
    );
    const total = String(clients.length * each);
    expect(await clients[0].text("GET", keys[2])).toBe(`$${total.length}\r\n${total}\r\n`);
    for (const client of clients) client.close();
  });

  test("EVALSHA inside runs on a group that has not seen the script", async () => {
    const client = await connect();
    await client.command("SCRIPT", "LOAD", SCRIPT);
    for (const server of rig.servers) await server.command("SCRIPT", "FLUSH");
    for (const key of keys) {
      await client.command("SET", key, "1");
      await client.command("MULTI");
      await client.command("EVALSHA", SHA, "1", key, "2");
      expect(await client.text("EXEC")).toBe("*1\r\n:3\r\n");
    }
    client.close();
  });

  test("a client that leaves in the middle leaves nothing behind", async () => {
    await (await connect()).command("SET", keys[0], "before");
    for (const watched of [false, true]) {
      const client = await connect();
      if (watched) await client.command("WATCH", keys[0]);
      await client.command("MULTI");
      await client.command("SET", keys[0], "after");
      client.close();
    }
    const other = await connect();
    expect(await other.text("GET", keys[0])).toBe("$6\r\nbefore\r\n");
    other.close();
  });
});

async function keyOfEachGroup(rig: DifferentialRig, io: string): Promise<string[]> {
  const client = await rig.proxy(io).connect();
  const keys: string[] = [];
  for (let i = 0; keys.filter(Boolean).length < rig.servers.length; i++) {
    await client.command("SET", `of:${i}`, "v");
    const holders = await Promise.all(rig.servers.map((server) => server.command("EXISTS", `of:${i}`)));
    keys[holders.indexOf(1)] ??= `of:${i}`;
  }
  client.close();
  return keys;
}
