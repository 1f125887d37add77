/**
 * A script that runs for long keeps its server from all else; the proxy says so, and takes the server for
 * alive.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { ProxyProcess, TRANSPORTS } from "../support/proxy-process.ts";
import { RedisProcess } from "../support/redis-process.ts";
import { encodeRequest, type RespClient } from "../support/resp-client.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(60_000);

/** A server that says nothing for so long is hung. */
const SERVER_TIMEOUT_MS = 400;
const TRY_MS = 50;
const ENDLESS = "while true do end";
/** Runs for three times that long. */
const LONG = `
  local function nowMs() local time = redis.call('TIME') return time[1] * 1000 + time[2] / 1000 end
  local start = nowMs()
  while nowMs() - start < ${3 * SERVER_TIMEOUT_MS} do end
  return redis.call('INCR', KEYS[1])`;

describe.each(TRANSPORTS.map((io) => ({ io })))("long scripts over $io", ({ io }) => {
  let servers: RedisProcess[];
  let proxy: ProxyProcess;
  /** A key of each server. */
  let keys: string[];
  let client: RespClient;

  beforeAll(async () => {
    servers = await Promise.all([0, 1].map(() => RedisProcess.start(["--lua-time-limit", "20"])));
    proxy = await ProxyProcess.start(
      servers.map((server) => server.addr),
      { io, server_timeout_ms: SERVER_TIMEOUT_MS },
    );
    client = await proxy.connect();
    keys = [];
    for (let i = 0; keys.filter(Boolean).length < 2; i++) {
      await client.command("SET", `of:${i}`, "1");
      keys[(await servers[0].command("EXISTS", `of:${i}`)) === 1 ? 0 : 1] ??= `of:${i}`;
    }
  });
  afterAll(async () => {
    client.close();
    await proxy.dispose();
    await Promise.all(servers.map((server) => server.dispose()));
  });

  /**
   * Until the proxy has seen it. What is sent before that stands behind the script, so each try has its own
   * connection.
   */
  const untilBusy = (...call: string[]): Promise<void> =>
    until(
      async () => {
        const trying = await proxy.connect();
        const late = new Promise<string>((resolve) => setTimeout(() => resolve("late"), TRY_MS));
        const text = await Promise.race([trying.text(...call).catch(() => "closed"), late]);
        trying.close();
        return text.startsWith("-BUSY ");
      },
      `${call.join(" ")} is answered with BUSY`,
    );

  test("one that is longer than the server timeout gets its reply", async () => {
    for (const key of keys) {
      await client.command("SET", key, "1");
      const runner = await proxy.connect();
      expect(await runner.text("EVAL", LONG, "1", key)).toBe(":2\r\n");
      expect(await runner.text("GET", key)).toBe("$1\r\n2\r\n");
      runner.close();
    }
  });

  test("others are told BUSY for its server and served by the rest; SCRIPT KILL ends it", async () => {
    const runner = await proxy.connect();
    const queuing = await proxy.connect();
    await queuing.command("MULTI");
    await queuing.command("SET", keys[1], "queued");
    runner.write(encodeRequest(["EVAL", ENDLESS, "1", keys[1]]));
    await untilBusy("GET", keys[1]);
    expect(await client.text("SET", keys[0], "served")).toBe("+OK\r\n");
    // The home group is the other one.
    expect(await client.text("PING")).toBe("+PONG\r\n");
    expect(await queuing.text("EXEC")).toStartWith("-EXECABORT Transaction discarded because of: BUSY ");
    expect(await queuing.text("PING")).toBe("+PONG\r\n");
    await client.command("MULTI");
    expect(await client.text("SET", keys[1], "x")).toStartWith("-BUSY ");
    expect(await client.text("DISCARD")).toBe("+OK\r\n");
    expect(await client.text("SCRIPT", "KILL")).toBe("+OK\r\n");
    expect((await runner.reply()).toString()).toMatch(/^-ERR .*killed by user/i);
    await until(async () => (await client.text("SET", keys[1], "free")) === "+OK\r\n", "the server is free");
    expect(await client.text("SCRIPT", "KILL")).toStartWith("-NOTBUSY ");
    runner.close();
    queuing.close();
  });

  test("a script without keys runs in the home group, for which PING speaks", async () => {
    const runner = await proxy.connect();
    runner.write(encodeRequest(["EVAL", ENDLESS, "0"]));
    await untilBusy("PING");
    expect(await client.text("SCRIPT", "KILL")).toBe("+OK\r\n");
    await runner.reply();
    expect(await client.text("PING")).toBe("+PONG\r\n");
    runner.close();
  });

  test("a server that hangs is still found hung", async () => {
    servers[1].signal("SIGSTOP");
    const text = await client.text("PERSIST", keys[1]);
    servers[1].signal("SIGCONT");
    expect(text).toMatch(/^-ERR .*no answer within 400 ms/);
    await until(async () => (await client.text("GET", keys[1])).startsWith("$"), "the server is back");
  });
});
