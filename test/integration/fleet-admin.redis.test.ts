/** CONFIG, SLOWLOG, LATENCY, MEMORY, ROLE and their kind over several groups, beside a server alone. */
import { afterAll, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { RespClient } from "../support/resp-client.ts";
import { ask, FleetRig, membersOf, shapeOf } from "./fleet-rig.ts";

setDefaultTimeout(60_000);

let rig: FleetRig;
let keys: string[];

beforeAll(async () => {
  rig = await FleetRig.start({ enable_debug: true });
  keys = await rig.keyOfEachGroup();
});

afterAll(() => rig.dispose());

/** Calls whose answers are equal to the byte. */
const SAME: readonly string[] = [
  "ROLE",
  "ROLE a",
  "LASTSAVE a",
  "SWAPDB",
  "SWAPDB 0 1",
  "SWAPDB 1 0",
  "SWAPDB a 1",
  "SWAPDB 0 b",
  "SWAPDB 0 99",
  "CONFIG",
  "CONFIG NOSUCH",
  "CONFIG GET",
  "CONFIG GET hz",
  "CONFIG GET nosuch",
  "CONFIG GET hz nosuch maxmemory-policy hz",
  "CONFIG SET hz",
  "CONFIG SET nosuch 1",
  "CONFIG SET hz 12",
  "CONFIG SET hz abc",
  "CONFIG SET hz 10 nosuch 1",
  "CONFIG SET hz 10 hz 11",
  "CONFIG SET hz 10 maxmemory-policy noeviction",
  "CONFIG RESETSTAT",
  "CONFIG RESETSTAT a",
  "CONFIG REWRITE",
  "CONFIG HELP",
  "SLOWLOG",
  "SLOWLOG NOSUCH",
  "SLOWLOG HELP",
  "SLOWLOG RESET",
  "SLOWLOG LEN",
  "SLOWLOG LEN a",
  "SLOWLOG GET",
  "SLOWLOG GET 0",
  "SLOWLOG GET -1",
  "SLOWLOG GET -2",
  "SLOWLOG GET abc",
  "SLOWLOG GET 1 2",
  "LATENCY",
  "LATENCY NOSUCH",
  "LATENCY HELP",
  "LATENCY RESET",
  "LATENCY LATEST",
  "LATENCY LATEST a",
  "LATENCY HISTORY command",
  "LATENCY HISTORY",
  "LATENCY GRAPH command",
  "LATENCY HISTOGRAM nosuch",
  "LATENCY RESET command nosuch",
  "MEMORY",
  "MEMORY NOSUCH",
  "MEMORY HELP",
  "MEMORY PURGE",
  "MEMORY PURGE a",
  "MEMORY STATS a",
  "MEMORY USAGE nosuch",
  "MEMORY USAGE nosuch SAMPLES -1",
  "MEMORY USAGE nosuch SAMPLES 5",
  "OBJECT HELP",
  "OBJECT FREQ nosuch",
  "OBJECT ENCODING nosuch",
  "OBJECT REFCOUNT nosuch",
  "OBJECT IDLETIME nosuch",
  "WAIT 0 0",
  "WAIT 1 10",
  "WAIT -1 10",
  "WAIT abc 10",
  "WAIT 1 abc",
  "WAIT 1 -1",
  "WAIT 1",
  "WAITAOF 0 0 10",
  "CLIENT PAUSE",
  "CLIENT PAUSE abc",
  "CLIENT PAUSE -1",
  "CLIENT PAUSE 1.5",
  "CLIENT PAUSE 1 NOSUCH",
  "CLIENT PAUSE 1 WRITE x",
  "CLIENT PAUSE 1 WRITE",
  "CLIENT UNPAUSE",
  "CLIENT UNPAUSE x",
  "MONITOR a",
  "MIGRATE",
  "MIGRATE 127.0.0.1 1 nosuch 0 100",
  "MIGRATE 127.0.0.1 1 nosuch abc 100",
  "MIGRATE 127.0.0.1 1 nosuch 0 abc",
  "MIGRATE 127.0.0.1 1 nosuch 0 100 NOSUCH",
  "MIGRATE 127.0.0.1 1  0 100 KEYS nosuch{a} other{a}",
  "MIGRATE 127.0.0.1 1 k 0 100 KEYS a",
  "MIGRATE 127.0.0.1 1 here 0 100",
  "DEBUG",
  "DEBUG SLEEP 0",
  "DEBUG SET-ACTIVE-EXPIRE 1",
  "DEBUG STRINGMATCH-LEN 10 a*",
  "DEBUG OBJECT nosuch",
  "DEBUG DIGEST-VALUE here nosuch{a}",
  "DEBUG DIGEST-VALUE here",
  "DEBUG PROTOCOL map",
  "DEBUG NOSUCH",
  "DEBUG HELP",
];

describe.each(["2", "3"])("RESP%s", (protocol) => {
  let proxy: RespClient;
  let bare: RespClient;

  beforeEach(async () => {
    [proxy, bare] = [await rig.client(protocol), await rig.bareClient(protocol)];
    for (const server of [...rig.servers, rig.bare]) {
      for (const family of ["SLOWLOG", "LATENCY"]) await server.command(family, "RESET");
      await server.command("SET", "here", "v");
      await server.command(
        "CONFIG",
        "SET",
        "latency-monitor-threshold",
        "0",
        "slowlog-log-slower-than",
        "1000000",
      );
    }
  });

  test.each(SAME)("%s", async (text) => {
    const call = text.split(" ");
    const [here, there] = [await proxy.command(...call), await bare.command(...call)];
    const crossSlot = here.toString("latin1").startsWith("-CROSSSLOT");
    if (!crossSlot) expect(sorted(text, here)).toBe(sorted(text, there));
    expect(here[0]).toBe(crossSlot ? 45 : there[0]);
    proxy.close();
    bare.close();
  });

  test("SLOWLOG: newest first, numbered uniquely, with the server's name", async () => {
    for (const server of rig.servers) await server.command("CONFIG", "SET", "slowlog-log-slower-than", "0");
    await bare.command("CONFIG", "SET", "slowlog-log-slower-than", "0");
    for (const key of keys) await proxy.command("SET", key, "v");
    await bare.command("SET", "k", "v");
    const entries = (await ask(proxy, "SLOWLOG", "GET", "1000")).items;
    const [shape] = (await ask(bare, "SLOWLOG", "GET", "1")).items.map(shapeOf);
    const sets = entries.filter((entry) => entry.items[3].items[0].text === "SET");
    expect(sets.map((entry) => entry.items[3].items[1].text).sort()).toEqual([...keys].sort());
    expect(shapeOf(sets[0])).toBe(shape);
    for (const entry of sets) {
      const group = keys.indexOf(entry.items[3].items[1].text);
      expect(entry.items[5].text).toBe(`g${group + 1} ${rig.servers[group].addr}`);
      expect(Number(entry.items[0].text) % 4096).toBe(group + 1);
    }
    const times = entries.map((entry) => Number(entry.items[1].text));
    expect(times).toEqual([...times].sort((a, b) => b - a));
    expect(new Set(entries.map((entry) => entry.items[0].text)).size).toBe(entries.length);
    expect((await ask(proxy, "SLOWLOG", "GET", "2")).items.length).toBe(2);
    expect(Number((await ask(proxy, "SLOWLOG", "LEN")).text)).toBeGreaterThanOrEqual(entries.length);
    await proxy.command("CONFIG", "SET", "slowlog-log-slower-than", "-1");
    expect(await proxy.text("SLOWLOG", "RESET")).toBe("+OK\r\n");
    expect(await proxy.text("SLOWLOG", "LEN")).toBe(":0\r\n");
  });

  test("LATENCY: events of one name are one event", async () => {
    for (const client of [proxy, bare]) {
      await client.command("CONFIG", "SET", "latency-monitor-threshold", "1");
      await client.command("DEBUG", "SLEEP", "0.002");
      await client.command("SET", "here", "v");
    }
    const latest = (await ask(proxy, "LATENCY", "LATEST")).items;
    expect(latest.map((event) => event.items[0].text)).toEqual(["command"]);
    const history = await ask(proxy, "LATENCY", "HISTORY", "command");
    expect(history.items.length).toBe(rig.servers.length);
    for (const words of [["LATEST"], ["GRAPH", "command"], ["DOCTOR"], ["HISTOGRAM", "set"]]) {
      const [here, there] = [await ask(proxy, "LATENCY", ...words), await ask(bare, "LATENCY", ...words)];
      // A histogram has as many bounds as there were different times.
      const [a, b] = [here, there].map((tree) => shapeOf(tree).replace(/(::)+/g, "::"));
      expect(a).toBe(b);
    }
    expect(await proxy.text("LATENCY", "RESET", "nosuch")).toBe(":0\r\n");
    expect(await proxy.text("LATENCY", "RESET")).toBe(":1\r\n");
    expect(await proxy.text("LATENCY", "LATEST")).toBe("*0\r\n");
  });

  test("LATENCY HISTOGRAM adds up what each group has counted", async () => {
    await proxy.command("CONFIG", "RESETSTAT");
    for (let i = 0; i < 30; i++) await proxy.command("SET", keys[i % keys.length], "v");
    const set = membersOf(membersOf(await ask(proxy, "LATENCY", "HISTOGRAM", "set")).get("set") as never);
    expect(set.get("calls")?.text).toBe("30");
    const counts = [...membersOf(set.get("histogram_usec") as never).values()].map((each) =>
      Number(each.text),
    );
    expect(counts).toEqual([...counts].sort((a, b) => a - b));
    expect(counts.at(-1)).toBe(30);
  });

  test("MEMORY: sums, shares, and texts per group", async () => {
    const [here, there] = [await ask(proxy, "MEMORY", "STATS"), await ask(bare, "MEMORY", "STATS")];
    expect(here.type).toBe(there.type);
    const [mine, its] = [membersOf(here), membersOf(there)];
    expect([...mine.keys()].sort()).toEqual([...its.keys()].sort());
    for (const [name, value] of its) expect(shapeOf(mine.get(name) as never)).toBe(shapeOf(value));
    const keyspaces = await Promise.all(rig.servers.map((server) => server.command("INFO", "keyspace")));
    const counts = [...keyspaces.join("").matchAll(/keys=(\d+)/g)].map((match) => Number(match[1]));
    expect(Number(mine.get("keys.count")?.text)).toBe(counts.reduce((sum, each) => sum + each, 0));
    expect(Number(mine.get("peak.percentage")?.text)).toBeGreaterThan(10);
    for (const word of ["DOCTOR", "MALLOC-STATS"]) {
      const text = (await ask(proxy, "MEMORY", word)).text;
      for (const group of ["g1", "g2", "g3"]) expect(text).toContain(`Group ${group}:`);
    }
  });

  test("LASTSAVE is the oldest; BGSAVE and BGREWRITEAOF reach every group", async () => {
    const times = await Promise.all(rig.servers.map((server) => server.command("LASTSAVE")));
    expect(await proxy.text("LASTSAVE")).toBe(`:${Math.min(...(times as number[]))}\r\n`);
    expect(await proxy.text("BGSAVE", "SCHEDULE")).toContain("Background saving");
    for (const server of rig.servers) {
      const text = String(await server.command("INFO", "persistence"));
      const saves = Number(/rdb_saves:(\d+)/.exec(text)?.[1]);
      expect(saves > 0 || text.includes("rdb_bgsave_in_progress:1")).toBe(true);
    }
    expect(await proxy.text("SAVE")).toContain("refused");
  });

  test("CONFIG SET reaches every group, but not what belongs to the proxy", async () => {
    expect(await proxy.text("CONFIG", "SET", "lfu-log-factor", "7")).toBe("+OK\r\n");
    for (const server of rig.servers) {
      expect(await server.command("CONFIG", "GET", "lfu-log-factor")).toEqual(["lfu-log-factor", "7"]);
    }
    for (const name of ["requirepass", "PORT", "masterauth"]) {
      const reply = await proxy.text("CONFIG", "SET", "hz", "20", name, "1");
      expect(reply).toStartWith(`-ERR CONFIG SET failed (possibly related to argument '${name}')`);
    }
    expect(await rig.servers[0].command("CONFIG", "GET", "hz")).toEqual(["hz", "10"]);
    for (const server of rig.servers) await server.command("CONFIG", "SET", "masterauth", "hidden");
    const shown = membersOf(await ask(proxy, "CONFIG", "GET", "*"));
    expect(shown.get("masterauth")?.text).toBe("");
    expect(shown.get("port")?.text).toBe(String(rig.proxy.port));
    await proxy.command("MULTI");
    expect(await proxy.text("CONFIG", "GET", "masterauth")).toStartWith("-");
  });

  test("MIGRATE: away by key, not into the cluster, and to itself without waiting", async () => {
    const target = rig.bare;
    await proxy.command("SET", "leaving", "v");
    const { port } = target;
    expect(await proxy.text("MIGRATE", "127.0.0.1", String(port), "leaving", "0", "1000", "REPLACE")).toBe(
      "+OK\r\n",
    );
    expect(await target.command("GET", "leaving")).toBe("v");
    expect(await proxy.text("EXISTS", "leaving")).toBe(":0\r\n");
    const own = ["127.0.0.1", String(rig.proxy.port)];
    expect(await proxy.text("MIGRATE", ...own, "nosuch", "9", "5000")).toBe("+NOKEY\r\n");
    expect(await proxy.text("MIGRATE", ...own, keys[0], "9", "5000")).toStartWith("-IOERR ");
    const inside = String(rig.servers[1].port);
    expect(await proxy.text("MIGRATE", "127.0.0.1", inside, keys[0], "0", "100")).toStartWith(
      "-ERR Cannot migrate",
    );
  });
});

/** A map's members come in the order of a hash table. */
function sorted(call: string, raw: Buffer): string {
  const text = raw.toString("latin1");
  return call.startsWith("CONFIG GET") ? text.split("\r\n").sort().join(" ") : text;
}

test("in a transaction: what has its answer at once, and an error for what has not", async () => {
  const client = await rig.client();
  await client.command("MULTI");
  const calls = [
    ["ROLE"],
    ["DEBUG", "SLEEP", "0"],
    ["MIGRATE", "127.0.0.1", "1", "k", "0", "10"],
    ["MONITOR"],
  ];
  const last = [
    ["CLIENT", "UNPAUSE"],
    ["CLIENT", "UNBLOCK", "999999"],
  ];
  for (const call of [...calls, ...last]) expect(await client.text(...call)).toBe("+QUEUED\r\n");
  const replies = (await ask(client, "EXEC")).items;
  expect(replies.map((reply) => reply.type).join("")).toBe("*---+:");
  expect(await client.text("PING")).toBe("+PONG\r\n");
  for (const call of [
    ["SLOWLOG", "GET"],
    ["WAIT", "0", "0"],
  ]) {
    await client.command("MULTI");
    expect(await client.text(...call)).toStartWith("-CROSSSLOT ");
    expect(await client.text("EXEC")).toStartWith("-EXECABORT ");
  }
  client.close();
});

test("SWAPDB swaps in every group, for every session", async () => {
  const [one, other] = [await rig.client(), await rig.client("3")];
  for (const client of [one, other]) await client.command("SELECT", "5");
  for (const key of keys) await one.command("SET", key, "five");
  await other.command("SELECT", "6");
  expect(await one.text("SWAPDB", "5", "6")).toBe("+OK\r\n");
  for (const key of keys) {
    expect(await one.text("GET", key)).toBe("$-1\r\n");
    expect(await other.text("GET", key)).toBe("$4\r\nfive\r\n");
  }
  for (const client of [one, other]) client.close();
});

test("one group: its own answers, in a transaction too", async () => {
  const client = await rig.narrow.connect();
  await client.command("MULTI");
  for (const call of [
    ["CONFIG", "SET", "hz", "10"],
    ["LASTSAVE"],
    ["WAIT", "0", "0"],
    ["ROLE"],
    ["SLOWLOG", "LEN"],
  ]) {
    expect(await client.text(...call)).toBe("+QUEUED\r\n");
  }
  const replies = (await ask(client, "EXEC")).items;
  expect(replies.map((reply) => reply.type).join("")).toBe("+::*:");
  await client.command("CONFIG", "SET", "slowlog-log-slower-than", "0");
  await client.command("SET", keys[0], "v");
  expect((await ask(client, "SLOWLOG", "GET", "1")).items[0].items[5].text).toBe("");
  client.close();
});

test("DEBUG is refused unless it is switched on", async () => {
  const { proxy } = await FleetRig.start().then(async (quiet) => {
    const client = await quiet.client();
    const texts = [];
    for (const call of [["OBJECT", "k"], ["SLEEP", "0"], ["DIGEST"], ["HELP"]]) {
      texts.push(await client.text("DEBUG", ...call));
    }
    await quiet.dispose();
    return { proxy: texts };
  });
  for (const text of proxy) expect(text).toStartWith("-ERR DEBUG command not allowed");
  const client = await rig.client();
  for (const call of ["DIGEST", "SEGFAULT", "RESTART", "POPULATE"]) {
    expect(await client.text("DEBUG", call, ...(call === "POPULATE" ? ["1"] : []))).toContain(
      "is refused by the proxy",
    );
  }
  expect(await client.text("DEBUG", "OBJECT", keys[2])).toContain("encoding:embstr");
  client.close();
});
