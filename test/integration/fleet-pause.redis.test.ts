/** CLIENT PAUSE, and WAIT: what makes a session wait without stopping others at the servers. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { RedisProcess } from "../support/redis-process.ts";
import { ProxyProcess, TRANSPORTS } from "../support/proxy-process.ts";
import { encodeRequest, RespClient } from "../support/resp-client.ts";
import { until } from "../support/until.ts";
import { FleetRig } from "./fleet-rig.ts";

setDefaultTimeout(60_000);

/** Long enough that a test which waits for its end fails. */
const LONG_MS = "100000";

describe.each([...TRANSPORTS])("CLIENT PAUSE, %s", (io) => {
  let rig: FleetRig;

  beforeAll(async () => {
    rig = await FleetRig.start({ io });
  });

  afterAll(() => rig.dispose());

  async function heldCount(client: RespClient): Promise<number> {
    return Number(/blocked_clients:(\d+)/.exec(await client.text("INFO", "clients"))?.[1]);
  }

  /** What waits in a pause for writes, and what does not, at a server. */
  const WRITES: readonly (readonly [string, boolean])[] = [
    ["SET k v", true],
    ["GET k", false],
    ["MSET k{a} v l{a} v", true],
    ["FLUSHALL", true],
    ["PFCOUNT k", true],
    ["PUBLISH c m", true],
    ["EVAL return(1) 0", true],
    ["EVAL_RO return(1) 0", false],
    ["SCRIPT LOAD return(1)", false],
    ["FUNCTION FLUSH", true],
    ["CONFIG SET hz 10", false],
    ["WAIT 0 0", false],
    ["PING", false],
    ["SET k", false],
    ["NOSUCH", false],
    ["DBSIZE", false],
  ];

  test("WRITE holds what may write, as a server does", async () => {
    for (const side of ["proxy", "bare"] as const) {
      const connect = () => (side === "proxy" ? rig.client() : rig.bareClient());
      const admin = await connect();
      expect(await admin.text("CLIENT", "PAUSE", LONG_MS, "WRITE")).toBe("+OK\r\n");
      const held: RespClient[] = [];
      for (const [text, waits] of WRITES) {
        const client = await connect();
        client.write(encodeRequest(text.split(" ")));
        if (!waits) {
          await client.reply();
          client.close();
          continue;
        }
        held.push(client);
        await until(async () => (await heldCount(admin)) === held.length, `${side}: ${text} is held`);
      }
      expect(await admin.text("CLIENT", "UNPAUSE")).toBe("+OK\r\n");
      for (const client of held) {
        await client.reply();
        client.close();
      }
      expect(await heldCount(admin)).toBe(0);
      admin.close();
    }
  });

  test("scripts that say that they do not write go on; a transaction that writes waits at EXEC", async () => {
    const [admin, client, other] = [await rig.client(), await rig.client(), await rig.client()];
    await client.command("MULTI");
    await client.command("SET", "k", "v");
    await other.command("MULTI");
    await other.command("GET", "k");
    await admin.command("CLIENT", "PAUSE", LONG_MS, "WRITE");
    expect(await admin.text("EVAL", "#!lua flags=no-writes\nreturn 7", "0")).toBe(":7\r\n");
    expect(await other.text("EXEC")).toStartWith("*1\r\n");
    client.write(encodeRequest(["EXEC"]));
    await until(async () => (await heldCount(admin)) === 1, "EXEC is held");
    await admin.command("CLIENT", "UNPAUSE");
    expect(String(await client.reply())).toBe("*1\r\n+OK\r\n");
    for (const each of [admin, client, other]) each.close();
  });

  test("functions that say that they do not write go on, those that do not say it wait", async () => {
    const [admin, client, other] = [await rig.client(), await rig.client("3"), await rig.client()];
    const code = [
      "#!lua name=lib",
      "redis.register_function{function_name='reads', flags={'no-writes'}, callback=function() return 1 end}",
      "redis.register_function('writes', function(keys) return redis.call('SET', keys[1], 'v') end)",
    ].join("\n");
    expect(await admin.text("FUNCTION", "LOAD", "REPLACE", code)).toStartWith("$3");
    const sha = (await admin.text("SCRIPT", "LOAD", "#!lua flags=no-writes\nreturn 8")).split("\r\n")[1];
    for (const round of [1, 2]) {
      await admin.command("CLIENT", "PAUSE", LONG_MS, "WRITE");
      // Both wait for the same look at the functions.
      other.write(encodeRequest(["FCALL", "writes", "1", "k"]));
      client.write(encodeRequest(["FCALL", "reads", "0"]));
      expect(String(await client.reply())).toBe(":1\r\n");
      expect(await client.text("FCALL", "reads", "0")).toBe(":1\r\n");
      expect(await client.text("FCALL_RO", "reads", "0")).toBe(":1\r\n");
      expect(await client.text("EVALSHA", sha, "0")).toBe(":8\r\n");
      await until(async () => (await heldCount(admin)) === 1, `round ${round}: the writing one is held`);
      await admin.command("CLIENT", "UNPAUSE");
      expect(String(await other.reply())).toBe("+OK\r\n");
      // In the next pause it writes no more.
      await admin.command("FUNCTION", "LOAD", "REPLACE", code);
    }
    await admin.command("FUNCTION", "FLUSH");
    for (const each of [admin, client, other]) each.close();
  });

  test("a pause in a transaction begins at its end; ALL holds all, in order, until it is over", async () => {
    const [admin, client] = [await rig.client(), await rig.client()];
    await admin.command("MULTI");
    await admin.command("SET", "k", "1");
    await admin.command("CLIENT", "PAUSE", "300", "ALL");
    await admin.command("SET", "k", "2");
    expect(await admin.text("EXEC")).toBe("*3\r\n+OK\r\n+OK\r\n+OK\r\n");
    const started = performance.now();
    const fresh = await RespClient.connect(rig.proxy.port);
    const calls = [["APPEND", "k", "a"], ["PING"], ["APPEND", "k", "b"], ["GET", "k"]];
    for (const each of [client, fresh]) each.write(Buffer.concat(calls.map(encodeRequest)));
    await client.replies(4);
    expect(performance.now() - started).toBeGreaterThan(200);
    await fresh.replies(4);
    expect((await client.text("GET", "k")).slice(-7, -2)).toMatch(/[ab]{4}$/);
    for (const each of [admin, client, fresh]) each.close();
  });

  test("a later pause is never shorter or laxer; a large value waits as well", async () => {
    const [admin, client] = [await rig.client(), await rig.client()];
    await admin.command("CLIENT", "PAUSE", LONG_MS, "WRITE");
    await admin.command("CLIENT", "PAUSE", "1", "WRITE");
    const large = "x".repeat(3 << 20);
    client.write(encodeRequest(["SET", "large", large]));
    await until(async () => (await heldCount(admin)) === 1, "it is held");
    expect(await admin.text("EXISTS", "large")).toBe(":0\r\n");
    await admin.command("CLIENT", "UNPAUSE");
    expect(String(await client.reply())).toBe("+OK\r\n");
    expect(await admin.text("STRLEN", "large")).toBe(`:${large.length}\r\n`);
    for (const each of [admin, client]) each.close();
  });
});

/** As ps says it; "T": stopped. A signal takes its time. */
function stateOf(server: RedisProcess): string {
  return spawnSync("ps", ["-o", "state=", "-p", String(server.pid)])
    .stdout.toString()
    .trim();
}

describe("WAIT", () => {
  let primaries: RedisProcess[];
  let replicas: RedisProcess[];
  let proxy: ProxyProcess;

  beforeAll(async () => {
    primaries = await Promise.all([RedisProcess.start(), RedisProcess.start()]);
    replicas = await Promise.all(
      primaries.map((primary) => RedisProcess.start(["--replicaof", "127.0.0.1", String(primary.port)])),
    );
    for (const primary of primaries) {
      await until(
        async () => String(await primary.command("INFO", "replication")).includes("state=online"),
        "online",
      );
    }
    proxy = await ProxyProcess.start(primaries.map((primary) => primary.addr));
  });

  afterAll(async () => {
    await proxy.dispose();
    await Promise.all([...replicas, ...primaries].map((server) => server.dispose()));
  });

  test("counts the replicas that have the session's writes: of all groups the least", async () => {
    const client = await proxy.connect();
    for (let i = 0; i < 100; i++) await client.command("SET", `key:${i}`, "v");
    expect(await client.text("WAIT", "1", "2000")).toBe(":1\r\n");
    replicas[1].signal("SIGSTOP");
    await until(() => stateOf(replicas[1]).startsWith("T"), "the replica is stopped");
    const writes = Array.from({ length: 100 }, (_, i) => encodeRequest(["SET", `key:${i}`, "again"]));
    client.write(Buffer.concat([...writes, encodeRequest(["WAIT", "1", "150"]), encodeRequest(["PING"])]));
    expect((await client.replies(102)).slice(100).map(String)).toEqual([":0\r\n", "+PONG\r\n"]);
    client.write(encodeRequest(["WAIT", "1", "0"]));
    const other = await proxy.connect();
    for (let i = 0; i < 100; i++) expect(await other.text("SET", `key:${i}`, "v")).toBe("+OK\r\n");
    replicas[1].signal("SIGCONT");
    expect(String(await client.reply())).toBe(":1\r\n");
    for (const each of [client, other]) each.close();
  });

  test("CLIENT UNBLOCK ends it, and so does the client's end", async () => {
    const [client, other] = [await proxy.connect(), await proxy.connect()];
    const id = (await client.text("CLIENT", "ID")).slice(1).trim();
    const waiters = async (): Promise<number> => {
      const lists = await Promise.all(primaries.map((primary) => primary.command("CLIENT", "LIST")));
      return lists.join("").split("cmd=wait").length - 1;
    };
    client.write(encodeRequest(["WAIT", "5", "0"]));
    await until(async () => (await waiters()) === 2, "it waits at both groups");
    await until(async () => (await other.text("CLIENT", "UNBLOCK", id)) === ":1\r\n", "it is unblocked");
    expect(String(await client.reply())).toMatch(/^:[01]\r\n$/);
    client.write(encodeRequest(["WAIT", "5", "0"]));
    await until(async () => (await waiters()) === 2, "it waits again");
    await until(
      async () => (await other.text("CLIENT", "UNBLOCK", id, "ERROR")) === ":1\r\n",
      "unblocked again",
    );
    expect(String(await client.reply())).toStartWith("-UNBLOCKED ");
    client.write(encodeRequest(["WAIT", "5", "0"]));
    await until(async () => (await waiters()) === 2, "it waits once more");
    client.close();
    await until(async () => (await waiters()) === 0, "nobody waits for a client that is gone");
    other.close();
  });
});
