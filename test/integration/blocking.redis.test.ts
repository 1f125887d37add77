/** Blocking commands through the proxy over three groups: served, timed out, unblocked, abandoned. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { ProxyProcess, TRANSPORTS } from "../support/proxy-process.ts";
import { RedisProcess } from "../support/redis-process.ts";
import { decodeReplyTree, encodeRequest, type ReplyTree, RespClient } from "../support/resp-client.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(120_000);

/**
 * Clients that are held blocked at a time; with their connections to the servers twice as many descriptors.
 */
const HELD = 5000;
/** Clients that leave at a random moment. */
const LEAVERS = 400;

interface Row {
  readonly blocked: string;
  readonly serving: string;
  /** The last argument is a timeout in seconds, or the second is, or it is in milliseconds behind BLOCK. */
  readonly withTimeout: string;
}

const ROWS: readonly Row[] = [
  { blocked: "BLPOP {t}l {t}m 0", serving: "RPUSH {t}m x y", withTimeout: "BLPOP {t}l {t}m 0.05" },
  { blocked: "BRPOP {t}l {t}m 0", serving: "RPUSH {t}m x y", withTimeout: "BRPOP {t}l {t}m 0.05" },
  {
    blocked: "BLMOVE {t}l {t}m LEFT RIGHT 0",
    serving: "RPUSH {t}l x",
    withTimeout: "BLMOVE {t}l {t}m LEFT LEFT 0.05",
  },
  { blocked: "BRPOPLPUSH {t}l {t}m 0", serving: "RPUSH {t}l x", withTimeout: "BRPOPLPUSH {t}l {t}m 0.05" },
  {
    blocked: "BLMPOP 0 2 {t}l {t}m RIGHT COUNT 9",
    serving: "RPUSH {t}m x y z",
    withTimeout: "BLMPOP 0.05 1 {t}l LEFT",
  },
  { blocked: "BZPOPMIN {t}z {t}y 0", serving: "ZADD {t}z 1.5 a 2 b", withTimeout: "BZPOPMIN {t}z 0.05" },
  { blocked: "BZPOPMAX {t}z {t}y 0", serving: "ZADD {t}y 1 a inf b", withTimeout: "BZPOPMAX {t}z 0.05" },
  {
    blocked: "BZMPOP 0 2 {t}z {t}y MIN COUNT 2",
    serving: "ZADD {t}y 1 a 2 b",
    withTimeout: "BZMPOP 0.05 1 {t}z MAX",
  },
  {
    blocked: "XREAD BLOCK 0 STREAMS {t}s $",
    serving: "XADD {t}s 5-1 f v",
    withTimeout: "XREAD BLOCK 50 STREAMS {t}s $",
  },
  {
    blocked: "XREADGROUP GROUP g c BLOCK 0 STREAMS {t}sg >",
    serving: "XADD {t}sg 5-1 f v",
    withTimeout: "XREADGROUP GROUP g c BLOCK 50 STREAMS {t}sg >",
  },
];

const ARRAY = 42;
const GROUP = "XGROUP CREATE {t}sg g $ MKSTREAM";

/** mulberry32: the same numbers for the same seed. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

async function blockedAt(server: RedisProcess): Promise<number> {
  const text = String(await server.command("INFO", "clients"));
  return Number(/blocked_clients:(\d+)/.exec(text)?.[1]);
}

describe.each(TRANSPORTS.map((io) => ({ io })))("blocking commands over $io", ({ io }) => {
  let servers: RedisProcess[];
  let bare: RedisProcess;
  let proxy: ProxyProcess;

  beforeAll(async () => {
    servers = await Promise.all([0, 1, 2].map(() => RedisProcess.start()));
    bare = await RedisProcess.start();
    proxy = await ProxyProcess.start(
      servers.map((server) => server.addr),
      { io },
    );
  });
  afterAll(async () => {
    await proxy.dispose();
    await Promise.all([...servers, bare].map((server) => server.dispose()));
  });

  const empty = (): Promise<unknown> =>
    Promise.all([...servers, bare].map((server) => server.command("FLUSHALL")));

  /** Clients that the servers hold blocked. */
  async function blockedCount(): Promise<number> {
    const counts = await Promise.all(servers.map(blockedAt));
    return counts.reduce((sum, count) => sum + count, 0);
  }

  const untilBlocked = (count: number): Promise<void> =>
    until(async () => (await blockedCount()) === count, `${count} clients are blocked`, 60_000);

  const say = (client: RespClient, call: string): Promise<string> => client.text(...call.split(" "));

  describe.each(ROWS.map((row) => ({ ...row, name: row.blocked.split(" ")[0] })))("$name", (row) => {
    test.each(["2", "3"])(
      "answers as a server does when another client serves it, RESP%s",
      async (protocol) => {
        await empty();
        const answers: string[] = [];
        for (const port of [proxy.port, bare.port]) {
          const [waiting, other] = [await RespClient.connect(port), await RespClient.connect(port)];
          await waiting.command("HELLO", protocol);
          await say(other, GROUP);
          waiting.write(encodeRequest(row.blocked.split(" ")));
          if (port === proxy.port) await untilBlocked(1);
          else
            await until(
              async () => /blocked_clients:1/.test(await other.text("INFO", "clients")),
              "it is blocked",
            );
          await say(other, row.serving);
          answers.push((await waiting.reply()).toString("latin1"));
          // The session goes on.
          expect(await waiting.text("ECHO", "a")).toBe("$1\r\na\r\n");
          waiting.close();
          other.close();
        }
        expect(answers[0]).toBe(answers[1]);
      },
    );

    test("answers nil when its time is over, and at once when there is something", async () => {
      await empty();
      const answers: string[][] = [];
      for (const port of [proxy.port, bare.port]) {
        const client = await RespClient.connect(port);
        await say(client, GROUP);
        const timedOut = await say(client, row.withTimeout);
        await say(client, row.serving);
        answers.push([timedOut, await say(client, row.blocked.replace("$", "0"))]);
        client.close();
      }
      expect(answers[0]).toEqual(answers[1]);
    });

    test("CLIENT UNBLOCK ends it by TIMEOUT, by ERROR, and not when it does not wait", async () => {
      await empty();
      const [waiting, other] = [await proxy.connect(), await proxy.connect()];
      await say(other, GROUP);
      const id = (await waiting.text("CLIENT", "ID")).slice(1, -2);
      expect(await other.text("CLIENT", "UNBLOCK", id)).toBe(":0\r\n");
      for (const word of ["", "TIMEOUT", "ERROR"]) {
        waiting.write(encodeRequest(row.blocked.split(" ")));
        await untilBlocked(1);
        expect(await other.text("CLIENT", "UNBLOCK", id, ...(word === "" ? [] : [word]))).toBe(":1\r\n");
        const raw = await waiting.reply();
        if (word === "ERROR")
          expect(raw.toString()).toBe("-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n");
        else expect(decodeReplyTree(raw).text).toBe("null");
        expect(await waiting.text("PING")).toBe("+PONG\r\n");
      }
      expect(await other.text("CLIENT", "UNBLOCK", id)).toBe(":0\r\n");
      expect(await other.text("CLIENT", "UNBLOCK", "999999999")).toBe(":0\r\n");
      waiting.close();
      other.close();
    });
  });

  test("wrong calls get the server's errors", async () => {
    await empty();
    for (const call of [
      "BLPOP {t}l",
      "BLPOP {t}l abc",
      "BLPOP {t}l -1",
      "BLMPOP 0 0 {t}l LEFT",
      "BLMPOP 0 1 {t}l UP",
      "BLMOVE {t}l {t}m UP LEFT 0",
      "BZMPOP 0 1 {t}z MIN COUNT 0",
      "XREAD BLOCK -1 STREAMS {t}s $",
      "XREAD BLOCK 0 STREAMS {t}s",
      "XREADGROUP GROUP none c BLOCK 0 STREAMS {t}s >",
    ]) {
      const [ours, theirs] = [await proxy.connect(), await RespClient.connect(bare.port)];
      expect([call, await say(ours, call)]).toEqual([call, await say(theirs, call)]);
      ours.close();
      theirs.close();
    }
    const client = await proxy.connect();
    expect(await say(client, "BLPOP a b c d e f 0")).toStartWith("-CROSSSLOT ");
    client.close();
  });

  test("commands behind a blocking one wait for it, in order, also those for other groups", async () => {
    await empty();
    const [waiting, other] = [await proxy.connect(), await proxy.connect()];
    const calls = ["SET a 1", "BLPOP {t}l 0", "GET a", "INCR b", "BLPOP {t}l 0", "PING", "INCR b"];
    waiting.write(Buffer.concat(calls.map((call) => encodeRequest(call.split(" ")))));
    expect((await waiting.reply()).toString()).toBe("+OK\r\n");
    await untilBlocked(1);
    expect(await say(other, "EXISTS b")).toBe(":0\r\n");
    await say(other, "RPUSH {t}l one");
    const texts = (await waiting.replies(3)).map(String);
    expect(texts).toEqual(["*2\r\n$4\r\n{t}l\r\n$3\r\none\r\n", "$1\r\n1\r\n", ":1\r\n"]);
    await untilBlocked(1);
    waiting.write(encodeRequest(["GET", "b"]));
    await say(other, "RPUSH {t}l two");
    const rest = (await waiting.replies(4)).map(String);
    expect(rest).toEqual(["*2\r\n$4\r\n{t}l\r\n$3\r\ntwo\r\n", "+PONG\r\n", ":2\r\n", "$1\r\n2\r\n"]);
    waiting.close();
    other.close();
  });

  test(`${LEAVERS} clients that leave at random moments lose no element`, async () => {
    await empty();
    const seed = Date.now() >>> 0;
    console.log(`blocking, clients that leave: seed ${seed}`);
    const random = seeded(seed);
    const keys = Array.from({ length: 12 }, (_, i) => `list:${i}`);
    const producer = await proxy.connect();
    let pushed = 0;
    let received = 0;
    const leave = async (key: string, word: string): Promise<void> => {
      const client = await proxy.connect();
      client.write(encodeRequest(word === "BLMPOP" ? [word, "0", "1", key, "LEFT"] : [word, key, "0"]));
      const waitMs = random() < 0.4 ? 0 : random() * 6;
      if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
      client.close();
      // What it had read by then is its own.
      const replies = await client.toEnd();
      received += replies.filter((raw) => raw[0] === ARRAY).length;
    };
    for (let i = 0; i < LEAVERS; i += 4) {
      const leaving = [0, 1, 2, 3].map(() => {
        const word = ["BLPOP", "BRPOP", "BLMPOP"][Math.trunc(random() * 3)];
        return leave(keys[Math.trunc(random() * keys.length)], word);
      });
      for (let k = 0; k < 3; k++) {
        await producer.command("RPUSH", keys[Math.trunc(random() * keys.length)], `e${pushed++}`);
      }
      await Promise.all(leaving);
    }
    await untilBlocked(0);
    const left = async (): Promise<string[]> => {
      const all: string[] = [];
      for (const key of keys) {
        all.push(
          ...decodeReplyTree(await producer.command("LRANGE", key, "0", "-1")).items.map(({ text }) => text),
        );
      }
      return all;
    };
    await until(async () => (await left()).length + received === pushed, "every element is somewhere").catch(
      () => undefined,
    );
    const elements = await left();
    expect({ pushed, found: elements.length + received }).toEqual({ pushed, found: pushed });
    expect(new Set(elements).size).toBe(elements.length);
    producer.close();
  });

  test("members of sorted sets come back with their scores when the client is gone", async () => {
    await empty();
    const other = await proxy.connect();
    for (let round = 0; round < 60; round++) {
      const word = round % 2 === 0 ? "BZPOPMIN" : "BZPOPMAX";
      const client = await proxy.connect();
      if (round % 3 === 0) await client.command("HELLO", "3");
      client.write(encodeRequest([word, "scores", "0"]));
      await untilBlocked(1);
      // Both leave at the same moment: the server's pop and the client.
      other.write(encodeRequest(["ZADD", "scores", "0.25", `m${round}`]));
      client.close();
      await other.reply();
      const replies = await client.toEnd();
      await untilBlocked(0);
      const present = async (): Promise<boolean> =>
        (await other.text("ZSCORE", "scores", `m${round}`)) === "$4\r\n0.25\r\n";
      if (replies.length === 0) await until(present, `m${round} is back`);
      await other.command("DEL", "scores");
    }
    other.close();
  });

  test("a client that is killed while it waits is let go at the server too", async () => {
    await empty();
    const [waiting, other] = [await proxy.connect(), await proxy.connect()];
    const id = (await waiting.text("CLIENT", "ID")).slice(1, -2);
    waiting.write(encodeRequest(["BLPOP", "l", "0"]));
    await untilBlocked(1);
    expect(await other.text("CLIENT", "KILL", "ID", id)).toBe(":1\r\n");
    await untilBlocked(0);
    await other.command("RPUSH", "l", "stays");
    expect(await other.text("LLEN", "l")).toBe(":1\r\n");
    waiting.close();
    other.close();
  });

  test("a server is killed while clients wait: an error that says so, and the session goes on", async () => {
    await empty();
    const clients = await Promise.all(Array.from({ length: 12 }, () => proxy.connect()));
    clients.forEach((client, i) => client.write(encodeRequest(["BLPOP", `list:${i}`, "0"])));
    await untilBlocked(clients.length);
    const counts = await Promise.all(servers.map(blockedAt));
    const waitingThere = Math.max(...counts);
    const victim = servers[counts.indexOf(waitingThere)];
    await victim.kill();
    const failed: Promise<string>[] = clients.map(async (client) => (await client.reply()).toString());
    const other = await proxy.connect();
    await victim.launch();
    await untilBlocked(clients.length - waitingThere);
    await until(async () => {
      const texts = await Promise.all(clients.map((_, i) => other.text("RPUSH", `list:${i}`, "x")));
      return texts.every((text) => text.startsWith(":"));
    }, "all groups serve again");
    const texts = await Promise.all(failed);
    expect(texts.filter((text) => /^-ERR .*Cannot reach server/.test(text)).length).toBe(waitingThere);
    for (const client of clients) {
      expect(await client.text("PING")).toBe("+PONG\r\n");
      client.close();
    }
    other.close();
  });

  test(`${HELD} clients are held blocked; each gets its own element`, async () => {
    await empty();
    const clients: RespClient[] = [];
    for (let i = 0; i < HELD; i += 250) {
      clients.push(...(await Promise.all(Array.from({ length: 250 }, () => proxy.connect()))));
      clients.slice(i).forEach((client, k) => client.write(encodeRequest(["BLPOP", `q:${i + k}`, "0"])));
    }
    await untilBlocked(HELD);
    const other = await proxy.connect();
    expect(await other.text("PING")).toBe("+PONG\r\n");
    for (let i = 0; i < HELD; i++) other.write(encodeRequest(["RPUSH", `q:${i}`, `e${i}`]));
    await other.replies(HELD);
    const got: ReplyTree[] = [];
    for (const client of clients) got.push(decodeReplyTree(await client.reply()));
    got.forEach(({ items }, i) => expect(items.map(({ text }) => text)).toEqual([`q:${i}`, `e${i}`]));
    await untilBlocked(0);
    for (const client of clients) client.close();
    other.close();
  });
});
