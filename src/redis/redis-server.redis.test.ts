import { afterEach, describe, expect, test } from "bun:test";
import { RedisProcess, testEnv } from "../../test/support/redis-process.ts";
import { until } from "../../test/support/until.ts";
import { RedisServer } from "./redis-server.ts";

const cleanups: Array<() => unknown> = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function startRedis(...args: string[]): Promise<RedisProcess> {
  const redis = await RedisProcess.start(args);
  cleanups.push(() => redis.dispose());
  return redis;
}

function connect(
  addr: string,
  more: { password?: string; user?: string; timeoutMs?: number } = {},
): RedisServer {
  const timeoutMs = more.timeoutMs ?? 3000;
  const server = new RedisServer(testEnv(), {
    address: addr,
    credentials: more.password === undefined ? null : { user: more.user ?? null, password: more.password },
    connectTimeoutMs: timeoutMs,
    commandTimeoutMs: timeoutMs,
  });
  cleanups.push(() => server.close());
  return server;
}

const messageOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "no error",
    (error: Error & { code: string }) => `${error.code}: ${error.message}`,
  );

describe("RedisServer", () => {
  test("helpers, on a primary and its replica", async () => {
    const primary = await startRedis();
    const replica = await startRedis();
    const a = connect(primary.addr);
    const b = connect(replica.addr);
    await a.ping();
    await b.replicaOf(primary.addr);
    await until(async () => (await b.info()).linkUp, "the replica is in sync");
    await a.command(["SET", "\xff\x00\r\n", "\x80"]);
    expect(await a.command(["GET", "\xff\x00\r\n"])).toBe("\x80");
    await until(async () => (await a.info()).offset === (await b.info()).offset, "the offsets are equal");
    expect(await b.info()).toMatchObject({
      role: "replica",
      follows: primary.addr,
      keys: 1,
      pid: replica.pid,
    });
    expect((await a.info()).replicas).toMatchObject([{ address: replica.addr, online: true }]);
    expect(await a.role()).toMatchObject({ role: "primary", replicas: 1 });
    expect(await b.role()).toMatchObject({ role: "replica", follows: primary.addr, link: "connected" });
    await b.replicaOfNoOne();
    expect(await b.info()).toMatchObject({ role: "primary", follows: null, keys: 1 });
    expect((await a.configGet("maxmemory*")).get("maxmemory-policy")).toBe("noeviction");
    await a.aclSetUser("proxy", ["on", ">pw", "+@all", "~*"]);
    const asProxy = connect(primary.addr, { user: "proxy", password: "pw" });
    await asProxy.ping();
    await a.aclSetUser("proxy", ["off"]);
    expect(await a.clientKillUser("proxy")).toBe(1);
    await until(async () => (await messageOf(asProxy.ping())).includes("refused our credentials"), "fenced");
  });

  test("replicas sign in to their primary with our password", async () => {
    const primary = await startRedis("--requirepass", "pw");
    const replica = await startRedis("--requirepass", "pw");
    const server = connect(replica.addr, { password: "pw" });
    await server.replicaOf(primary.addr);
    await until(async () => (await server.info()).linkUp, "the replica is in sync");
  });

  test("errors say what failed where, and never the password", async () => {
    const redis = await startRedis("--requirepass", "pw");
    const wrong = connect(redis.addr, { password: "wrong-one" });
    const message = await messageOf(wrong.ping());
    expect(message).toContain(
      `UNREACHABLE: Cannot send PING to ${redis.addr}: the server refused our credentials`,
    );
    expect(message).not.toContain("wrong-one");
    const none = connect(redis.addr);
    expect(await messageOf(none.ping())).toContain(`SERVER_REPLY: Cannot send PING to ${redis.addr}: NOAUTH`);
  });

  test("pipelines, in order, and takes large replies", async () => {
    const redis = await startRedis();
    const server = connect(redis.addr);
    await server.command(["SET", "big", "x".repeat(3_000_000)]);
    const replies = await Promise.all([
      ...Array.from({ length: 500 }, () => server.command(["INCR", "n"])),
      server.command(["GET", "big"]),
    ]);
    expect(replies.slice(0, 500)).toEqual(Array.from({ length: 500 }, (_, i) => i + 1));
    expect((replies[500] as string).length).toBe(3_000_000);
  });

  test("a frozen server is a time-out, a dead one unreachable, a restarted one is found again", async () => {
    const redis = await startRedis();
    const server = connect(redis.addr, { timeoutMs: 300 });
    await server.ping();
    redis.signal("SIGSTOP");
    const [first, second] = await Promise.all([messageOf(server.ping()), messageOf(server.info())]);
    expect(first).toBe(`TIMEOUT: Cannot send PING to ${redis.addr}: no answer within 300 ms`);
    expect(second).toContain("within 300 ms");
    redis.signal("SIGCONT");
    await until(async () => (await messageOf(server.ping())) === "no error", "it answers again");
    await redis.kill();
    await until(async () => (await messageOf(server.ping())).startsWith("UNREACHABLE"), "it is gone");
    await redis.launch();
    await until(async () => (await messageOf(server.ping())) === "no error", "it is found again");
    server.close();
    expect(await messageOf(server.ping())).toContain("not sent: connection closed by the controller");
  });
});
