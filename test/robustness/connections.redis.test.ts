/** Very many connections, too many connections, and connections that have not said their password. */
import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { RedisProcess } from "../support/redis-process.ts";
import { until } from "../support/until.ts";
import { encode, RawClient, ReplyFault } from "./raw-client.ts";
import { Rig, type Transport, TRANSPORTS } from "./rig.ts";

setDefaultTimeout(120_000);

let server: RedisProcess;
let rig: Rig;

beforeAll(async () => {
  server = await RedisProcess.start();
});

afterAll(() => server.dispose());

/** The kernel lets this process have so many connections; other files are open, too. */
function connectionsPossible(): number {
  const limit = /Max open files\s+(\d+)/.exec(readFileSync("/proc/self/limits", "utf8"));
  return Number(limit?.[1] ?? 1024) - 300;
}

const IDLE_CONNECTIONS = Math.min(10_000, connectionsPossible());
/**
 * Issue bound, for the transport that serves in production on Linux; the runtime's own sockets of the
 * portable one are larger.
 */
const BYTES_PER_CONNECTION_MAX: Readonly<Record<Transport, number>> = { epoll: 3 << 10, portable: 12 << 10 };

/** Opens `count` connections that make one request each. */
async function openMany(count: number): Promise<RawClient[]> {
  const clients: RawClient[] = [];
  while (clients.length < count) {
    const batch = await Promise.all(
      Array.from({ length: Math.min(500, count - clients.length) }, () => rig.connect()),
    );
    const replies = await Promise.all(
      batch.map((client, i) => client.call("SET", `idle:${clients.length + i}`, "x")),
    );
    expect(replies.every((reply) => reply === "OK")).toBe(true);
    clients.push(...batch);
  }
  return clients;
}

describe.each(TRANSPORTS)("many connections (%s)", (io) => {
  afterEach(() => rig.dispose());

  test(`${IDLE_CONNECTIONS} idle ones cost little and harm nobody`, async () => {
    rig = await Rig.start([server], io);
    // What the first connections cost once (compiled code, pools) is not what each costs.
    for (const client of await openMany(200)) client.close();
    await until(() => rig.counters["clients"] === 0, "the first ones are gone");
    const base = rig.rssBytes();
    const clients = await openMany(IDLE_CONNECTIONS);
    await until(() => rig.counters["clients"] === IDLE_CONNECTIONS, "all are counted");
    let each = 0;
    const bound = BYTES_PER_CONNECTION_MAX[io];
    await until(
      () => (each = (rig.rssBytes() - base) / IDLE_CONNECTIONS) <= bound,
      `${bound} bytes for each connection`,
    ).catch((error: Error) => {
      throw new Error(`${Math.round(each)} bytes for each connection`, { cause: error });
    });
    console.log(`${io}: ${Math.round(each)} bytes for each of ${IDLE_CONNECTIONS} connections`);
    expect(await clients[0].call("GET", "idle:1")).toBe("x");
    expect(await clients.at(-1)?.call("GET", "idle:2")).toBe("x");
  });

  test("one more than clients_max is told so and closed; the others stay", async () => {
    rig = await Rig.start([server], io, { clients_max: 20 });
    const clients = await openMany(20);
    for (let i = 0; i < 5; i++) {
      const refused = await rig.connect();
      const reply = (await refused.next()) as ReplyFault;
      expect(reply.text).toBe("ERR max number of clients reached");
      await until(() => refused.closed, "it is closed");
    }
    for (const client of clients) expect(await client.call("PING")).toBe("PONG");
    clients[0].close();
    await until(async () => {
      const next = await rig.connect();
      return (await next.call("PING")) === "PONG";
    }, "there is room again");
  });

  test.skipIf(process.platform !== "linux")("no descriptor left: an error for who needs one", async () => {
    rig = await Rig.start([server], io);
    const clients = await openMany(20);
    expect(await clients[0].call("SET", "plain", "1")).toBe("OK");
    const inUse = readdirSync(`/proc/${rig.pid}/fd`).length;
    const limitTo = (count: number): number | null =>
      spawnSync("prlimit", ["--pid", String(rig.pid), `--nofile=${count}:`]).status;
    expect(limitTo(inUse + 4)).toBe(0);
    const waiting = clients.slice(1).map((client, i) => client.call("BLPOP", `few:${i}`, "0"));
    let refused = 0;
    for (const reply of waiting) {
      void reply.then((each) => {
        if (each instanceof ReplyFault && each.text.startsWith("ERR Cannot reach server")) refused++;
      });
    }
    await until(() => refused >= waiting.length - 4, "those that don't get one are told so");
    expect(await clients[0].call("GET", "plain")).toBe("1");
    limitTo(4096);
    const later = (await rig.connect()).call("BLPOP", "later", "0");
    for (let i = 0; i < waiting.length; i++) await clients[0].call("RPUSH", `few:${i}`, "e");
    await clients[0].call("RPUSH", "later", "e");
    expect(await later).toEqual(["later", "e"]);
    await Promise.all(waiting);
  });

  test("one that sends nothing for client_idle_timeout_s is closed, one that sends is not", async () => {
    rig = await Rig.start([server], io, { client_idle_timeout_s: 1 });
    const [idle, busy] = await openMany(2);
    await until(async () => {
      expect(await busy.call("PING")).toBe("PONG");
      return idle.closed;
    }, "the idle one is closed");
    expect(busy.closed).toBe(false);
  });
});

describe.each(TRANSPORTS)("requirepass (%s)", (io) => {
  afterEach(() => rig.dispose());

  test("nothing works before AUTH; a wrong password is refused; a right one opens", async () => {
    rig = await Rig.start([server], io, { requirepass: "secret" });
    const client = await rig.connect();
    const noAuth = "NOAUTH Authentication required.";
    const words = [
      ["GET", "k"],
      ["PING"],
      ["MGET", "a", "b"],
      ["DBSIZE"],
      ["CLIENT", "LIST"],
      ["SELECT", "1"],
    ];
    for (const request of words) expect(await client.fault(...request)).toBe(noAuth);
    client.write("SET k v\r\n");
    expect(await client.next()).toEqual(new ReplyFault(noAuth));
    expect(await client.fault("AUTH", "wrong")).toStartWith("WRONGPASS invalid username-password pair");
    expect(await client.fault("AUTH", "someone", "secret")).toStartWith("WRONGPASS");
    expect(await client.fault("HELLO", "3")).toStartWith("NOAUTH HELLO must be called");
    expect(await client.fault("HELLO", "3", "AUTH", "default", "wrong")).toStartWith("WRONGPASS");
    expect(await client.fault("GET", "k")).toBe(noAuth);
    expect(await client.call("HELLO", "3", "AUTH", "default", "secret")).toContain("proto");
    expect(await client.call("GET", "no-such-key")).toBeNull();
    const other = await rig.connect();
    expect(await other.call("AUTH", "secret")).toBe("OK");
    expect(await other.call("PING")).toBe("PONG");
    expect(await other.call("RESET")).toBe("RESET");
    expect(await other.fault("PING")).toBe(noAuth);
    expect(await other.call("QUIT")).toBe("OK");
  });

  // The bounds and texts of Redis 7.0 (networking.c): who has not said the password can't fill memory.
  test("large requests are refused before AUTH and taken after it", async () => {
    rig = await Rig.start([server], io, { requirepass: "secret" });
    const refused: ReadonlyArray<readonly [string, string]> = [
      ["*11\r\n$4\r\nPING\r\n", "unauthenticated multibulk length"],
      ["*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$16385\r\nxx", "unauthenticated bulk length"],
      ["*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4000000\r\nxx", "unauthenticated bulk length"],
    ];
    for (const [bytes, text] of refused) {
      const client = await rig.connect();
      client.write(bytes);
      expect(await client.next()).toEqual(new ReplyFault(`ERR Protocol error: ${text}`));
      await until(() => client.closed, "it is closed");
    }
    const client = await rig.connect();
    client.write(Buffer.concat([encode("AUTH", "secret"), encode("SET", "k", "v".repeat(4_000_000))]));
    expect(await client.take(2)).toEqual(["OK", "OK"]);
    const many = Array.from({ length: 100 }, (_, i) => `k${i}`);
    expect(await client.call("DEL", "k", ...many)).toBe(1);
  });
});
