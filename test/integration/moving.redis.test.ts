/** Slots that move while clients use them: locked, pulled before use, served by the target. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { encode, type RawClient, ReplyFault } from "../robustness/raw-client.ts";
import { Rig, TRANSPORTS } from "../robustness/rig.ts";
import { RedisProcess } from "../support/redis-process.ts";
import { until } from "../support/until.ts";
import { moveMap, settle, startMove } from "./moving-rig.ts";

setDefaultTimeout(60_000);

let servers: RedisProcess[];
let rig: Rig;
let client: RawClient;

/** A reply that must not be here yet, however often another client goes round. */
async function staysAway(reply: Promise<unknown>, rounds = 50): Promise<void> {
  let here = false;
  void reply.then(() => (here = true)).catch(() => undefined);
  const other = await rig.connect();
  for (let i = 0; i < rounds; i++) expect(await other.call("PING")).toBe("PONG");
  other.close();
  expect(here).toBe(false);
}

async function start(io: (typeof TRANSPORTS)[number], settings = {}): Promise<void> {
  rig = await Rig.start(servers, io, settings);
  client = await rig.connect();
}

/** What a server has of a key, past the proxy. */
function valueAt(server: number, key: string): Promise<unknown> {
  return servers[server].command("GET", key);
}

beforeEach(async () => {
  servers = await Promise.all([RedisProcess.start(), RedisProcess.start()]);
});

afterEach(async () => {
  await rig.dispose();
  await Promise.all(servers.map((server) => server.dispose()));
});

describe.each(TRANSPORTS)("locked (%s)", (io) => {
  test("requests wait, those for other slots don't; unlocked, nothing has changed", async () => {
    await start(io);
    const [key, elsewhere] = [rig.keyIn(0), rig.keyIn(1)];
    expect(await client.call("SET", key, "1")).toBe("OK");
    await settle(rig, moveMap(rig, "locked", 2));
    const other = await rig.connect();
    const held = client.call("INCR", key);
    expect(await other.call("SET", elsewhere, "x")).toBe("OK");
    await staysAway(held);
    await settle(rig, moveMap(rig, "serving", 3));
    expect(await held).toBe(2);
    expect(await valueAt(0, key)).toBe("2");
  });

  test("L10: acknowledged only when what was under way has ended", async () => {
    await start(io, { server_timeout_ms: 20_000, server_connect_timeout_ms: 20_000 });
    const key = rig.keyIn(0);
    expect(await client.call("SET", key, "1")).toBe("OK");
    const [plain, watching, streaming] = [client, await rig.connect(), await rig.connect()];
    const large = ["SET", rig.keyIn(0, "large"), "z".repeat(3 << 20)];
    // From here on there are two connections that servers have answered on: what goes there is under way.
    await watching.call("WATCH", key);
    await streaming.call(...large);
    await watching.call("UNWATCH");
    const clients = async (): Promise<string> => String(await servers[0].command("CLIENT", "LIST"));
    await until(async () => (await clients()).includes("cmd=unwatch"), "both are given back");
    await plain.call("GET", key);
    servers[0].signal("SIGSTOP");
    const replies = [plain.call("INCR", key), watching.call("WATCH", key), streaming.call(...large)];
    await until(() => rig.counters["inFlight"] >= 3, "the requests are under way");
    rig.sendMap(moveMap(rig, "locked", 2));
    await staysAway(Promise.race(replies));
    expect(rig.acks).not.toContain(2);
    servers[0].signal("SIGCONT");
    expect(await Promise.all(replies)).toEqual([2, "OK", "OK"]);
    await until(() => rig.acks.includes(2), "map 2 is acknowledged");
  });

  test("L10: of two proxies with different maps only one uses the slot", async () => {
    await start(io);
    const late = await Rig.start(servers, io);
    const other = await late.connect();
    const key = rig.keyIn(0);
    await settle(rig, moveMap(rig, "locked", 2));
    const held = client.call("INCR", key);
    for (let i = 0; i < 10; i++) await other.call("INCR", key);
    await staysAway(held);
    await settle(late, moveMap(late, "locked", 2));
    const alsoHeld = other.call("INCR", key);
    await settle(rig, moveMap(rig, "moving", 3));
    expect(await held).toBe(11);
    await staysAway(alsoHeld);
    await settle(late, moveMap(late, "moving", 3));
    expect(await alsoHeld).toBe(12);
    await settle(rig, moveMap(rig, "moved", 4));
    expect([await client.call("INCR", key), await other.call("INCR", key)]).toEqual([13, 14]);
    expect([await valueAt(0, key), await valueAt(1, key)]).toEqual([null, "14"]);
    await late.dispose();
  });

  test("a client that sends a large value slowly does not hold the lock up", async () => {
    await start(io);
    const [slow, key] = [await rig.connect(), rig.keyIn(0)];
    const request = encode("SET", key, "z".repeat(4 << 20));
    await slow.writeAll(request.subarray(0, 3 << 20));
    await until(() => rig.counters["inFlight"] > 0, "half of it is at the server");
    await settle(rig, moveMap(rig, "locked", 2));
    expect(((await slow.next()) as ReplyFault).text).toMatch(/its slot is about to move .* has not run/);
    await settle(rig, moveMap(rig, "moving", 3));
    slow.write(request.subarray(3 << 20));
    expect(await slow.call("GET", key)).toBeNull();
    expect(await slow.call("SET", key, "v")).toBe("OK");
  });

  test("a lock that stays is an error in the end, and names the slot", async () => {
    await start(io);
    const map = moveMap(rig, "locked", 2);
    await settle(rig, { ...map, options: { hold_timeout_ms: 200 } });
    expect(await client.fault("GET", rig.keyIn(0))).toMatch(/^TRYAGAIN Slot \d+ is locked/);
    expect(await client.call("GET", rig.keyIn(1))).toBeNull();
    // The time is the lock's: who comes later is told at once.
    const begun = performance.now();
    for (let i = 0; i < 20; i++) await client.fault("GET", rig.keyIn(0));
    expect(performance.now() - begun).toBeLessThan(2000);
  });
});

describe.each(TRANSPORTS)("moving (%s)", (io) => {
  test("a key is pulled before anything runs: types, times to live, databases", async () => {
    await start(io);
    const [text, list, hash, set, zset, stream] = ["s", "l", "h", "e", "z", "x"].map((name) =>
      rig.keyIn(0, name),
    );
    await client.call("SET", text, "1", "PX", "100000");
    await client.call("RPUSH", list, "a", "b");
    await client.call("HSET", hash, "f", "v");
    await client.call("SADD", set, "m");
    await client.call("ZADD", zset, "1.5", "m");
    await client.call("XADD", stream, "1-1", "f", "v");
    const other = await rig.connect();
    await other.call("SELECT", "3");
    await other.call("SET", text, "in 3");
    await startMove(rig);
    expect(await client.call("INCR", text)).toBe(2);
    expect(Number(await client.call("PTTL", text))).toBeGreaterThan(90_000);
    expect(await client.call("RPUSH", list, "c")).toBe(3);
    expect(await client.call("HGET", hash, "f")).toBe("v");
    expect(await client.call("SISMEMBER", set, "m")).toBe(1);
    expect(await client.call("ZSCORE", zset, "m")).toBe("1.5");
    expect(await client.call("XLEN", stream)).toBe(1);
    expect(await servers[0].command("DBSIZE")).toBe(0);
    expect(await servers[1].command("DBSIZE")).toBe(6);
    expect(await other.call("APPEND", text, "!")).toBe(5);
    expect(await client.call("MOVE", text, "3")).toBe(0);
    expect(await client.call("COPY", text, rig.keyIn(0, "s"), "DB", "3", "REPLACE")).toBe(1);
    expect(await other.call("GET", text)).toBe("2");
    // Nobody's keys: they are asked for at the source, and made at the target.
    expect(await client.call("SET", rig.keyIn(0, "new"), "n")).toBe("OK");
    expect(await valueAt(1, rig.keyIn(0, "new"))).toBe("n");
    await settle(rig, moveMap(rig, "moved", 4));
    expect(await client.call("GET", text)).toBe("2");
  });

  test("several keys: split commands, scripts, transactions, RENAME, SORT, large values", async () => {
    await start(io);
    const tag = rig.keyIn(0, "tag");
    const [a, b, c] = ["a", "b", "c"].map((name) => `{${tag}}${name}`);
    const far = rig.keyIn(1, "far");
    for (const key of [a, b, c, far]) await client.call("SET", key, key);
    await client.call("RPUSH", `{${tag}}list`, "3", "1", "2");
    await startMove(rig);
    expect(await client.call("MGET", a, far, rig.keyIn(0, "none"))).toEqual([a, far, null]);
    expect(await client.call("MSET", b, "1", far, "2")).toBe("OK");
    expect(await client.call("RENAME", b, c)).toBe("OK");
    expect(await client.call("GET", c)).toBe("1");
    const script = "redis.call('SET', KEYS[2], 'by script') return redis.call('GET', KEYS[1])";
    expect(await client.call("EVAL", script, "2", a, `{${tag}}d`)).toBe(a);
    const transaction = await rig.connect();
    const fresh = `{${tag}}fresh`;
    await servers[0].command("SET", fresh, "5");
    expect(await transaction.call("MULTI")).toBe("OK");
    expect(await transaction.call("INCR", fresh)).toBe("QUEUED");
    expect(await transaction.call("GET", a)).toBe("QUEUED");
    expect(await transaction.call("EXEC")).toEqual([6, a]);
    expect(await client.call("SORT", `{${tag}}list`, "STORE", `{${tag}}sorted`)).toBe(3);
    expect(await client.call("LRANGE", `{${tag}}sorted`, "0", "-1")).toEqual(["1", "2", "3"]);
    const large = rig.keyIn(0, "large");
    await servers[0].command("SET", large, "old");
    expect(await client.call("SET", large, "y".repeat(3 << 20), "GET")).toBe("old");
    expect(await client.call("DEL", a, c, far, large)).toBe(4);
    expect(await servers[0].command("DBSIZE")).toBe(0);
  });

  test("SORT by keys that it does not name", async () => {
    await start(io);
    const tag = rig.keyIn(0, "tag");
    const key = (name: string) => `{${tag}}${name}`;
    for (const [i, element] of ["c", "a", "b"].entries()) {
      await client.call("RPUSH", key("list"), element);
      await client.call("SET", key(`weight_${element}`), String(3 - i));
      await client.call("HSET", key(`data_${element}`), "name", `name of ${element}`);
    }
    await startMove(rig);
    const words = ["SORT", key("list"), "BY", key("weight_*"), "GET", "#", "GET", key("data_*->name")];
    const sorted = ["b", "name of b", "a", "name of a", "c", "name of c"];
    expect(await client.call(...words)).toEqual(sorted);
    expect(await servers[0].command("DBSIZE")).toBe(0);
    await servers[0].command("SET", key("weight_d"), "9");
    expect(await client.call("MULTI")).toBe("OK");
    await client.call("RPUSH", key("list"), "d");
    await client.call("SORT", key("list"), "BY", key("weight_*"));
    expect(await client.call("EXEC")).toEqual([4, ["b", "a", "c", "d"]]);
  });

  test("a pipeline: its keys come in few requests, its replies in order", async () => {
    await start(io);
    const keys = rig.keysIn(0, 200);
    for (const key of keys) await servers[0].command("SET", key, key);
    await startMove(rig);
    client.write(Buffer.concat(keys.map((key) => encode("GET", key))));
    expect(await client.take(keys.length)).toEqual(keys);
    await until(() => rig.counters["pulledKeys"] === keys.length, "they are counted");
    expect(rig.counters["pulls"]).toBeLessThan(20);
  });

  test("L8: a key on both sides: the target's copy is the truth, the source's goes", async () => {
    await start(io);
    const keys = rig.keysIn(0, 20);
    for (const key of keys) await servers[0].command("SET", key, "old");
    await startMove(rig);
    // As a MIGRATE leaves it whose answer was lost, and after which the key was written.
    for (const key of keys.slice(0, 7)) await servers[1].command("SET", key, "new");
    const values = await client.call("MGET", ...keys);
    expect(values).toEqual(keys.map((_, i) => (i < 7 ? "new" : "old")));
    expect(await servers[0].command("DBSIZE")).toBe(0);
    await servers[1].command("DEL", keys[0]);
    expect(await client.call("GET", keys[0])).toBeNull();
  });

  test("L8: the target freezes in the middle: the client waits, and gets what is right", async () => {
    await start(io);
    const keys = rig.keysIn(0, 5);
    for (const key of keys) await servers[0].command("SET", key, "1");
    await startMove(rig);
    expect(await client.call("GET", rig.keyIn(0, "first"))).toBeNull();
    servers[1].signal("SIGSTOP");
    const clients = await Promise.all(keys.map(() => rig.connect()));
    const replies = clients.map((each, i) => each.call("INCR", keys[i]));
    await until(() => rig.counters["pullRetries"] > 0, "a pull has been repeated", 30_000);
    servers[1].signal("SIGCONT");
    expect(await Promise.all(replies)).toEqual(keys.map(() => 2));
    for (const key of keys) expect([await valueAt(0, key), await valueAt(1, key)]).toEqual([null, "2"]);
  });

  test("L9: a target without memory: an error that says so, and the key stays where it is", async () => {
    await start(io);
    const key = rig.keyIn(0);
    await servers[0].command("SET", key, "1");
    await startMove(rig);
    await servers[1].command("CONFIG", "SET", "maxmemory", "1");
    expect(await client.fault("INCR", key)).toMatch(
      /^OOM Cannot move key '.*' from group g1 to group g2: command/,
    );
    expect(await client.call("MULTI")).toBe("OK");
    expect(await client.call("GET", key)).toBe("QUEUED");
    expect(await client.fault("EXEC")).toMatch(/^EXECABORT .*OOM Cannot move key/);
    expect(await valueAt(0, key)).toBe("1");
    await servers[1].command("CONFIG", "SET", "maxmemory", "0");
    expect(await client.call("INCR", key)).toBe(2);
  });

  test("L9: a key that has expired on its way does not come back", async () => {
    await start(io);
    const [key, short] = [rig.keyIn(0, "a"), rig.keyIn(0, "b")];
    await servers[0].command("SET", short, "x", "PX", "30");
    await startMove(rig);
    expect([null, "x"]).toContain((await client.call("GET", short)) as string | null);
    await until(async () => (await client.call("GET", short)) === null, "it has expired");
    expect(await client.call("EXISTS", key, short)).toBe(0);
    expect(await servers[0].command("DBSIZE")).toBe(0);
  });

  test("a source that is gone: the client waits for it, and is told in the end", async () => {
    await start(io);
    const key = rig.keyIn(0);
    await servers[0].command("SET", key, "1");
    await settle(rig, moveMap(rig, "locked", 2));
    const map = moveMap(rig, "moving", 3);
    await settle(rig, { ...map, options: { hold_timeout_ms: 700 } });
    servers[0].signal("SIGKILL");
    const reply = await client.call("GET", key);
    expect(reply).toBeInstanceOf(ReplyFault);
    expect((reply as ReplyFault).text).toMatch(/Cannot move key '.*' from group g1 to group g2/);
    expect(await client.call("SET", rig.keyIn(1), "v")).toBe("OK");
    const begun = performance.now();
    for (let i = 0; i < 10; i++) await client.fault("GET", rig.keyIn(0, `later:${i}`));
    expect(performance.now() - begun).toBeLessThan(5000);
  });

  test("many clients at once: each key once, each increment counts", async () => {
    await start(io);
    const keys = rig.keysIn(0, 200);
    for (const key of keys) await servers[0].command("SET", key, "0");
    const clients = await Promise.all(Array.from({ length: 20 }, () => rig.connect()));
    const state = { running: true };
    const counts = new Map(keys.map((key) => [key, 0]));
    const load = clients.map(async (each, who) => {
      for (let i = who; state.running; i++) {
        const key = keys[(i * 31) % keys.length];
        expect(typeof (await each.call("INCR", key))).toBe("number");
        counts.set(key, (counts.get(key) as number) + 1);
      }
    });
    await startMove(rig);
    for (let sweep = 0; sweep < keys.length; sweep += 10)
      await servers[0].command(
        "MIGRATE",
        "127.0.0.1",
        String(servers[1].port),
        "",
        "0",
        "1000",
        "KEYS",
        ...keys.slice(sweep, sweep + 10),
      );
    await settle(rig, moveMap(rig, "moved", 4));
    state.running = false;
    await Promise.all(load);
    for (const key of keys) expect(await valueAt(1, key)).toBe(String(counts.get(key)));
    expect(await servers[0].command("DBSIZE")).toBe(0);
  });
});
