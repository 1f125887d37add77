/**
 * Users of the proxy as clients meet them: log-in, rights, changes under way, several workers, the servers'
 * own users.
 */
import { type Subprocess, spawn } from "bun";
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { publicConfig } from "../../src/base/config-table.ts";
import { parseProxyConfig, PROXY_CONFIG } from "../../src/proxy/proxy-config.ts";
import { evenMap, ProxyProcess, TRANSPORTS } from "../support/proxy-process.ts";
import { freePort, RedisProcess } from "../support/redis-process.ts";
import { decodeReplyTree, RespClient } from "../support/resp-client.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(60_000);

const SHOAL = join(import.meta.dir, "../../bin/shoal");
const DENIED_KEY = "-NOPERM this user has no permissions to access one of the keys used as arguments\r\n";
const WRONG = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";

const USERS = [
  "alice on >secret ~orders:* &orders +@all -@dangerous",
  "bob on >b1 >b2 %R~orders:* +get +mget",
  "admin on >adminpass ~* &* +@all",
  "default off",
];

let servers: RedisProcess[];

beforeAll(async () => {
  servers = await Promise.all([RedisProcess.start(), RedisProcess.start(), RedisProcess.start()]);
});

afterAll(() => Promise.all(servers.map((server) => server.dispose())));

function addresses(): string[] {
  return servers.map((server) => server.addr);
}

async function loggedIn(port: number, user: string, password: string): Promise<RespClient> {
  const client = await RespClient.connect(port);
  expect(await client.text("AUTH", user, password)).toBe("+OK\r\n");
  return client;
}

describe.each([...TRANSPORTS])("%s", (io) => {
  let proxy: ProxyProcess;
  let admin: RespClient;
  const connect = (user: string, password: string) => loggedIn(proxy.port, user, password);

  beforeAll(async () => {
    proxy = await ProxyProcess.start(addresses(), { io, users: USERS });
    admin = await connect("admin", "adminpass");
  });

  afterAll(async () => {
    admin.close();
    await proxy.dispose();
  });

  test("nobody in particular may do nothing", async () => {
    const client = await proxy.connect();
    expect(await client.text("GET", "orders:1")).toBe("-NOAUTH Authentication required.\r\n");
    expect(await client.text("AUTH", "default", "")).toBe(WRONG);
    expect(await client.text("AUTH", "x")).toBe(WRONG);
    expect(await client.text("AUTH", "bob", "secret")).toBe(WRONG);
    expect(await client.text("AUTH", "bob", "b2")).toBe("+OK\r\n");
    client.close();
  });

  test("rights hold for keys of several groups, in pipelines and transactions", async () => {
    const alice = await connect("alice", "secret");
    for (let i = 0; i < 30; i++) expect(await alice.text("SET", `orders:${i}`, "v")).toBe("+OK\r\n");
    const keys = Array.from({ length: 30 }, (_, i) => `orders:${i}`);
    expect(await alice.text("MGET", ...keys)).toBe(`*30\r\n${"$1\r\nv\r\n".repeat(30)}`);
    expect(await alice.text("MGET", ...keys, "other")).toBe(DENIED_KEY);
    expect(await alice.text("KEYS", "*")).toContain(
      "NOPERM this user has no permissions to run the 'keys' command",
    );
    expect(await alice.text("MULTI")).toBe("+OK\r\n");
    expect(await alice.text("GET", "other")).toBe(DENIED_KEY);
    expect(await alice.text("EXEC")).toBe("-EXECABORT Transaction discarded because of previous errors.\r\n");
    const bob = await connect("bob", "b1");
    expect(await bob.text("GET", "orders:1")).toBe("$1\r\nv\r\n");
    expect(await bob.text("SET", "orders:1", "w")).toContain("'set' command");
    for (const client of [alice, bob]) client.close();
  });

  test("values that arrive in pieces are checked whole", async () => {
    const alice = await connect("alice", "secret");
    const large = "x".repeat(3_000_000);
    expect(await alice.text("SET", "stolen", large)).toBe(DENIED_KEY);
    expect(await alice.text("SET", "orders:big", large)).toBe("+OK\r\n");
    expect(await alice.text("STRLEN", "orders:big")).toBe(":3000000\r\n");
    alice.close();
  });

  test("scripts are not a way around", async () => {
    const alice = await connect("alice", "secret");
    const body = "return redis.call('set', 'elsewhere', '1')";
    expect(await alice.text("EVAL", body, "0")).toContain("-NOPERM this user has limited rights");
    expect(await alice.text("EVALSHA", "f".repeat(40), "0")).toContain("-NOPERM");
    expect(await alice.text("FCALL", "f", "0")).toContain("-NOPERM");
    expect(await alice.text("SORT", "orders:l", "BY", "x_*")).toContain(
      "NOPERM this user has no permissions",
    );
    alice.close();
  });

  test("CLIENT LIST names users, CLIENT KILL USER finds them", async () => {
    const bob = await connect("bob", "b1");
    expect(await admin.text("CLIENT", "LIST")).toContain(" user=bob ");
    expect(await admin.text("CLIENT", "LIST")).not.toContain("b1");
    expect(await admin.text("CLIENT", "KILL", "USER", "bob")).toBe(":1\r\n");
    await bob.untilClosed();
    expect(await admin.text("CLIENT", "KILL", "USER", "nobody")).toBe("-ERR No such user 'nobody'\r\n");
  });

  test("a change of rights holds at once, for those who are there", async () => {
    expect(await admin.text("ACL", "SETUSER", "carol", "on", ">c", "~*", "&*", "+@all")).toBe("+OK\r\n");
    const carol = await connect("carol", "c");
    expect(await carol.text("SET", "carol:1", "v")).toBe("+OK\r\n");
    expect(await carol.text("MULTI")).toBe("+OK\r\n");
    expect(await carol.text("SET", "carol:1", "w")).toBe("+QUEUED\r\n");
    expect(await admin.text("ACL", "SETUSER", "carol", "resetkeys", "~only:*")).toBe("+OK\r\n");
    expect(await carol.text("EXEC")).toStartWith("-EXECABORT");
    expect(await carol.text("GET", "carol:1")).toBe(DENIED_KEY);
    expect(await carol.text("SET", "only:1", "v")).toBe("+OK\r\n");
    expect(await admin.text("ACL", "SETUSER", "carol", "allkeys")).toBe("+OK\r\n");
    expect(await carol.text("GET", "carol:1")).toBe("$1\r\nv\r\n");
    // Off: who is in stays in, as on a server.
    expect(await admin.text("ACL", "SETUSER", "carol", "off")).toBe("+OK\r\n");
    expect(await carol.text("GET", "carol:1")).toBe("$1\r\nv\r\n");
    expect(await carol.text("AUTH", "carol", "c")).toBe(WRONG);
    expect(await admin.text("ACL", "DELUSER", "carol", "nobody")).toBe(":1\r\n");
    await carol.untilClosed();
  });

  test("a user who deletes himself gets his answer first", async () => {
    await admin.text("ACL", "SETUSER", "dora", "on", ">d", "+@all");
    const dora = await connect("dora", "d");
    expect(await dora.text("ACL", "DELUSER", "dora")).toBe(":1\r\n");
    await dora.untilClosed();
  });

  test("subscriptions: by right, and gone with it", async () => {
    const alice = await connect("alice", "secret");
    expect(await alice.text("SUBSCRIBE", "secrets")).toContain("one of the channels");
    expect(await alice.text("PSUBSCRIBE", "*")).toContain("one of the channels");
    expect(await alice.text("SUBSCRIBE", "orders")).toContain("subscribe");
    expect(await admin.text("ACL", "SETUSER", "alice", "resetchannels")).toBe("+OK\r\n");
    await alice.untilClosed();
    await admin.text("ACL", "SETUSER", "alice", "&orders");
  });

  test("the log of denials", async () => {
    await admin.text("ACL", "LOG", "RESET");
    const bob = await connect("bob", "b1");
    for (const key of ["x", "x", "y"]) await bob.text("GET", key);
    // A server logs the word of a failed log-in as it was written.
    await bob.text("AUTH", "bob", "nonsense");
    await bob.text("hello", "3", "AUTH", "bob", "nonsense");
    const entries = decodeReplyTree(await admin.command("ACL", "LOG")).items.map(({ items }) => {
      return Array.from({ length: 5 }, (_, i) => items[i * 2 + 1].text).join(" ");
    });
    expect(entries).toEqual([
      "1 auth toplevel hello bob",
      "1 auth toplevel AUTH bob",
      "1 key toplevel y bob",
      "2 key toplevel x bob",
    ]);
    expect(String(await admin.command("ACL", "LOG"))).not.toContain("nonsense");
    bob.close();
  });

  test("SAVE and LOAD say where users are kept", async () => {
    for (const word of ["SAVE", "LOAD"]) expect(await admin.text("ACL", word)).toContain("proxy.toml");
  });
});

test("restricted_scripts lets scripts run on the keys that they declare", async () => {
  const proxy = await ProxyProcess.start(addresses(), { users: USERS, restricted_scripts: true });
  const alice = await loggedIn(proxy.port, "alice", "secret");
  expect(await alice.text("EVAL", "return 1", "1", "orders:1")).toBe(":1\r\n");
  expect(await alice.text("EVAL", "return 1", "1", "other")).toBe(DENIED_KEY);
  alice.close();
  await proxy.dispose();
});

test("acl_forward: the servers get the users too, with hashes, but not the proxy's own", async () => {
  const proxy = await ProxyProcess.start(addresses());
  const client = await proxy.connect();
  expect(await client.text("ACL", "SETUSER", "fred", "on", ">f", "~*", "+get")).toBe("+OK\r\n");
  for (const server of servers) {
    expect(String(await server.command("ACL", "LIST"))).toContain("user fred on #");
  }
  // The proxy is "default" there: were its password changed, it would be locked out.
  expect(await client.text("ACL", "SETUSER", "default", ">new")).toBe("+OK\r\n");
  expect(await servers[0].command("PING")).toBe("PONG");
  expect(String(await servers[0].command("ACL", "LIST"))).toContain("user default on nopass");
  const other = await proxy.connect();
  expect(await other.text("GET", "k")).toStartWith("-NOAUTH");
  expect(await client.text("ACL", "DELUSER", "fred")).toBe(":1\r\n");
  expect(String(await servers[2].command("ACL", "LIST"))).not.toContain("fred");
  for (const each of [client, other]) each.close();
  await proxy.dispose();
});

test("the servers' users are other users: right ones, wrong ones", async () => {
  const server = await RedisProcess.start([
    "--user",
    "shoal",
    "on",
    ">at-server",
    "~*",
    "&*",
    "+@all",
    "--user",
    "default",
    "on",
    "nopass",
    "+ping",
  ]);
  const given = { server_username: "shoal", server_password: "at-server" };
  const good = await ProxyProcess.start([server.addr], { ...given, requirepass: "of-proxy" });
  const client = await RespClient.connect(good.port);
  expect(await client.text("AUTH", "at-server")).toBe(WRONG);
  expect(await client.text("AUTH", "of-proxy")).toBe("+OK\r\n");
  for (const protocol of ["2", "3"]) {
    await client.command("HELLO", protocol);
    expect(await client.text("SET", "k", "v")).toBe("+OK\r\n");
    expect(await client.text("BLPOP", "nolist", "0.01")).toMatch(/^(\*-1|_)\r\n$/);
  }
  expect(await client.text("ACL", "WHOAMI")).toBe("$7\r\ndefault\r\n");
  client.close();
  await good.dispose();

  // A server that refuses the proxy counts as lost, and its requests wait; here the error is wanted at once.
  const mistaken = { ...given, server_password: "wrong", hold_timeout_ms: 0 };
  const wrong = await ProxyProcess.start([server.addr], mistaken);
  const other = await wrong.connect();
  const told = await other.text("SET", "k", "v");
  expect(told).toContain("the server refused AUTH: WRONGPASS");
  expect(told).not.toContain("wrong ");
  other.close();
  await wrong.dispose();
  await server.dispose();
});

describe("a whole proxy with two workers", () => {
  let folder: string;
  let port: number;
  let proxy: Subprocess<"ignore", "pipe", "pipe">;
  let output = "";

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "shoal-users-"));
    port = await freePort();
    writeFileSync(join(folder, "map.json"), JSON.stringify(evenMap(addresses())));
    const lines = [
      `listen = "127.0.0.1:${port}"`,
      `map_file = "${folder}/map.json"`,
      "workers = 2",
      'log_level = "debug"',
    ];
    writeFileSync(join(folder, "proxy.toml"), [...lines, `users = ${JSON.stringify(USERS)}`].join("\n"));
    proxy = spawn([SHOAL, "proxy", "--config", join(folder, "proxy.toml")], {
      stdout: "pipe",
      stderr: "pipe",
    });
    for (const stream of [proxy.stdout, proxy.stderr]) void collect(stream);
    await until(async () => {
      (await RespClient.connect(port)).close();
      return true;
    }, "the proxy listens");
  });

  async function collect(stream: ReadableStream<Uint8Array>): Promise<void> {
    for await (const chunk of stream) output += Buffer.from(chunk).toString();
  }

  afterAll(async () => {
    proxy.kill("SIGTERM");
    await proxy.exited;
    rmSync(folder, { recursive: true, force: true });
  });

  function workers(): number[] {
    const text = readFileSync(`/proc/${proxy.pid}/task/${proxy.pid}/children`, "utf8");
    return text.split(" ").filter(Boolean).map(Number);
  }

  /** Clients at both workers: the kernel deals connections out, so many are made. */
  async function atEachWorker(user: string, password: string): Promise<RespClient[]> {
    const byWorker = new Map<string, RespClient>();
    await until(async () => {
      const client = await loggedIn(port, user, password);
      const info = decodeReplyTree(await client.command("CLIENT", "ID")).text;
      const worker = String(Number(info) % 2);
      if (byWorker.has(worker)) client.close();
      else byWorker.set(worker, client);
      return byWorker.size === 2;
    }, "a client at each worker");
    return [...byWorker.values()];
  }

  test("a change reaches all workers before it is confirmed, and those that are started later", async () => {
    const [first, second] = await atEachWorker("admin", "adminpass");
    expect(await first.text("ACL", "SETUSER", "erin", "on", ">e", "~*", "+@all", "-flushall")).toBe(
      "+OK\r\n",
    );
    expect(await second.text("ACL", "GETUSER", "erin")).toContain("-flushall");
    expect(await second.text("ACL", "SETUSER", "erin", "+flushall", ">later")).toBe("+OK\r\n");
    expect(await first.text("ACL", "LIST")).toBe(await second.text("ACL", "LIST"));
    const before = workers();
    for (const pid of before) process.kill(pid, "SIGKILL");
    await until(
      () => workers().length === 2 && workers().every((pid) => !before.includes(pid)),
      "new workers",
    );
    await until(async () => (await atEachWorker("erin", "later")).length === 2, "erin at both");
    const [third, fourth] = await atEachWorker("admin", "adminpass");
    expect(await third.text("ACL", "DELUSER", "erin")).toBe(":1\r\n");
    expect(await fourth.text("ACL", "GETUSER", "erin")).toBe("$-1\r\n");
    await third.command("ACL", "LOG", "RESET");
    await fourth.command("AUTH", "x", "y");
    expect(decodeReplyTree(await third.command("ACL", "LOG")).items.length).toBe(1);
    for (const each of [first, second, third, fourth]) each.close();
  });

  test("no secret in logs, process lists and shown configuration", () => {
    const commandLines = [proxy.pid, ...workers()].map((pid) => readFileSync(`/proc/${pid}/cmdline`, "utf8"));
    const values = { map_file: "x", users: USERS };
    const shown = JSON.stringify(publicConfig(PROXY_CONFIG, parseProxyConfig(values, { file: "t" })));
    expect(output).toContain("user changed");
    for (const text of [output, ...commandLines, shown]) {
      for (const secret of ["secret", "adminpass", "later"]) expect(text).not.toContain(secret);
    }
  });
});
