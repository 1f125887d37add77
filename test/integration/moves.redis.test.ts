/** Moving slots, seen from the controller: real servers, proxies that only acknowledge. */
import { afterEach, describe, expect, test } from "bun:test";
import { RedisServer } from "../../src/redis/redis-server.ts";
import { type RedisProcess, testEnv } from "../support/redis-process.ts";
import { until } from "../support/until.ts";
import { MovesRig, keyInSlot, slotOfText } from "./moves-rig.ts";

const rigs: MovesRig[] = [];
afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.stop();
});

async function start(...args: Parameters<typeof MovesRig.start>): Promise<MovesRig> {
  const rig = await MovesRig.start(...args);
  rigs.push(rig);
  return rig;
}

/** What reads a value whole, by type; sets and hashes have no order of their own. */
const READERS: Record<string, (key: string) => string[]> = {
  string: (key) => ["GET", key],
  hash: (key) => ["HGETALL", key],
  list: (key) => ["LRANGE", key, "0", "-1"],
  set: (key) => ["SMEMBERS", key],
  zset: (key) => ["ZRANGE", key, "0", "-1", "WITHSCORES"],
  stream: (key) => ["XRANGE", key, "-", "+"],
};

/** Everything of one database as texts that can be compared; times to live to the millisecond, absolute. */
async function contents(server: RedisProcess, database: number): Promise<Map<string, string>> {
  const { client } = server;
  const select = ["SELECT", String(database)];
  const [, keys] = await client.pipeline([select, ["KEYS", "*"]]);
  const found = new Map<string, string>();
  for (const key of keys as string[]) {
    const [, type, expires] = await client.pipeline([select, ["TYPE", key], ["PEXPIRETIME", key]]);
    const [, value] = await client.pipeline([select, READERS[String(type)](key)]);
    const unordered = type === "set" ? (value as string[]).toSorted() : value;
    found.set(key, `${String(expires)} ${String(type)} ${JSON.stringify(unordered)}`);
  }
  await client.command(["SELECT", "0"]);
  return found;
}

async function fill(server: RedisProcess): Promise<void> {
  const in0 = (...words: string[]): Promise<unknown> => server.client.command(words);
  for (let i = 0; i < 300; i++) await in0("SET", `s${i}`, "v".repeat(i));
  for (let i = 0; i < 50; i++) {
    await in0("HSET", `h${i}`, "f", `${i}`, "g", "\x00\xff\r\n");
    await in0("RPUSH", `l${i}`, "a", "b", `${i}`);
    await in0("SADD", `set${i}`, "a", `${i}`);
    await in0("ZADD", `z${i}`, "1", "a", "2", `${i}`);
    await in0("XADD", `x${i}`, "1-1", "f", `${i}`);
    await in0("SET", `ttl${i}`, "soon gone", "PX", `${100_000 + i * 7}`);
    await in0("SET", `\x00\xff\x80 \r\n{${i}`, "binary");
  }
  for (const database of ["3", "15"]) {
    await in0("SELECT", database);
    for (let i = 0; i < 100; i++) await in0("SET", `db${database}:${i}`, database);
  }
  await in0("SELECT", "0");
}

describe("a move", () => {
  test("takes every key of the slots, all types and databases, with its time to live", async () => {
    const rig = await start(2, 1);
    const [a, b] = rig.groups;
    rig.addProxy("p1");
    await fill(a.primary);
    // What a server that was used before may hold: unreachable, and to be gone before the move.
    await b.primary.command("SET", keyInSlot(7, "stray"), "of an older life");
    const before = new Map<number, Map<string, string>>();
    for (const database of [0, 3, 15]) before.set(database, await contents(a.primary, database));
    await rig.move(0, 399, "g2");
    await rig.untilIdle();
    expect(rig.ownerOf(0)).toBe("g2");
    expect(rig.ownerOf(400)).toBe("g1");
    for (const [database, expected] of before) {
      const atSource = await contents(a.primary, database);
      const atTarget = await contents(b.primary, database);
      for (const [key, value] of expected) {
        const [home, other] = slotOfText(key) < 400 ? [atTarget, atSource] : [atSource, atTarget];
        expect(other.has(key)).toBe(false);
        const [expires, held] = splitOnce(home.get(key) ?? "missing ");
        const [wantedExpires, wanted] = splitOnce(value);
        expect({ key, held }).toEqual({ key, held: wanted });
        // MIGRATE carries the time that is left; what the call itself takes comes on top.
        const late = Number(expires) - Number(wantedExpires);
        expect(late).toBeGreaterThanOrEqual(0);
        expect(late).toBeLessThan(Number(wantedExpires) < 0 ? 1 : 500);
      }
      expect(atSource.size + atTarget.size).toBe(expected.size);
    }
    const kinds = rig.eventKinds();
    expect(kinds.filter((kind) => /^(slots-|strays|move-)/.test(kind))).toEqual([
      "move-planned",
      "strays-deleted",
      "slots-locked",
      "slots-moving",
      "move-finished",
    ]);
    expect(String(await a.primary.command("ACL", "USERS"))).not.toContain("shoal-mover");
  }, 30_000);

  test("plans are checked: unknown groups and slots, slots that are on their way elsewhere", async () => {
    const rig = await start(3);
    const proxy = rig.addProxy("p1");
    await until(() => proxy.login !== null, "the proxy has its login");
    await expect(rig.move(0, 1, "g9")).rejects.toThrow(
      "Cannot move slots 0-1 to group g9: there is no such group",
    );
    await expect(rig.move(1000, 1024, "g2")).rejects.toThrow("the slots are 0 to 1023");
    await rig.api("POST", "/api/v1/moves/pause");
    await rig.move(0, 9, "g2");
    await expect(rig.move(5, 20, "g3")).rejects.toThrow("slots 0-9 are being moved to group g2 (m1.g1)");
    expect(await rig.move(0, 9, "g2")).toEqual({ id: "" });
    expect((await rig.moves()).moves).toMatchObject([{ id: "m1.g1.g2", phase: "planned", source: "g1" }]);
    await rig.api("POST", "/api/v1/moves/cancel");
    expect((await rig.moves()).moves).toEqual([]);
    await rig.api("POST", "/api/v1/moves/resume");
  }, 30_000);

  test("goes as fast as it is told, stops, goes on; its cancel brings back what has gone", async () => {
    const rig = await start(3, 1);
    const [a, b, c] = rig.groups;
    rig.addProxy("p1");
    await a.primary.command("EVAL", "for i=1,3000 do redis.call('set','k'..i,i) end", "0");
    const before = await contents(a.primary, 0);
    await rig.api("POST", "/api/v1/moves/limit", { keysPerSecond: 200 });
    const moves = [
      { from: 0, to: 99, target: "g2" },
      { from: 100, to: 199, target: "g3" },
    ];
    await rig.api("POST", "/api/v1/moves", { moves });
    await until(async () => (await rig.moves()).moves.some((row) => row.keysMoved > 20), "some have gone");
    await rig.api("POST", "/api/v1/moves/pause");
    const size = async (): Promise<number> => Number(await a.primary.command("DBSIZE"));
    let left = await size();
    // A batch may have been under way.
    await until(async () => left === (left = await size()), "nothing moves any more");
    expect((await rig.moves()).paused).toBe(true);
    await rig.api("POST", "/api/v1/moves/cancel");
    expect((await rig.moves()).moves.every((row) => row.back)).toBe(true);
    await rig.api("POST", "/api/v1/moves/limit", { keysPerSecond: null });
    await rig.api("POST", "/api/v1/moves/resume");
    await rig.untilIdle();
    expect(await contents(a.primary, 0)).toEqual(before);
    expect([await b.primary.command("DBSIZE"), await c.primary.command("DBSIZE")]).toEqual([0, 0]);
    expect(rig.controller.state.map?.ranges[0]).toEqual({ from: 0, to: 341 - 1, group: "g1" });
  }, 30_000);

  test("a key that would block its servers is refused, and moved when that is forced", async () => {
    const rig = await start(2, 0, { move_block_limit_ms: 5 });
    const [a, b] = rig.groups;
    rig.addProxy("p1");
    const big = keyInSlot(3, "big");
    await a.primary.command("EVAL", "for i=1,20000 do redis.call('hset',KEYS[1],'f'..i,i) end", "1", big);
    await a.primary.command("SET", keyInSlot(4), "small");
    await rig.move(0, 9, "g2");
    await rig.untilIdle();
    expect([rig.ownerOf(2), rig.ownerOf(3), rig.ownerOf(4)]).toEqual(["g2", "g1", "g2"]);
    const { refused } = await rig.moves();
    expect(refused).toMatchObject([{ slot: 3, source: "g1", target: "g2", key: big }]);
    expect((await rig.status()).problems.join()).toContain(`Slot 3 was not moved to g2: key "${big}"`);
    await rig.move(0, 9, "g2", true);
    await rig.untilIdle();
    expect(rig.ownerOf(3)).toBe("g2");
    expect(await b.primary.command("HLEN", big)).toBe(20_000);
    expect((await rig.moves()).refused).toEqual([]);
  }, 30_000);

  test("L9: a target without memory stops the move, says so, and it goes on with room", async () => {
    const rig = await start(2);
    const [a, b] = rig.groups;
    rig.addProxy("p1");
    await a.primary.command(
      "EVAL",
      "for i=1,2000 do redis.call('set','k'..i,string.rep('x',500),'PX',600000) end",
      "0",
    );
    const before = await contents(a.primary, 0);
    await b.primary.command("CONFIG", "SET", "maxmemory", "1mb");
    await rig.move(0, 511, "g2");
    await until(async () => (await rig.status()).problems.join().includes("OOM"), "the problem is shown");
    await b.primary.command("CONFIG", "SET", "maxmemory", "0");
    await rig.untilIdle();
    const after = new Map([...(await contents(a.primary, 0)), ...(await contents(b.primary, 0))]);
    expect([...after.keys()].toSorted()).toEqual([...before.keys()].toSorted());
    for (const [key, value] of after) {
      const late = Number(splitOnce(value)[0]) - Number(splitOnce(before.get(key) as string)[0]);
      expect(late).toBeGreaterThanOrEqual(0);
      expect(late).toBeLessThan(500);
    }
  }, 30_000);

  test("L8: a key left on both sides: the target's copy stays, the source's goes", async () => {
    const rig = await start(2, 1);
    const [a, b] = rig.groups;
    rig.addProxy("p1");
    await a.primary.command("EVAL", "for i=1,5000 do redis.call('set','k'..i,'old') end", "0");
    await rig.api("POST", "/api/v1/moves/limit", { keysPerSecond: 100 });
    await rig.move(0, 511, "g2");
    await until(async () => (await rig.moves()).moves[0]?.keysMoved > 0, "some have gone");
    await rig.api("POST", "/api/v1/moves/pause");
    const left = (await a.primary.command("KEYS", "*")) as string[];
    const both = left.filter((key) => slotOfText(key) < 512).slice(-20);
    expect(both.length).toBe(20);
    for (const key of both) await b.primary.command("SET", key, "new");
    await rig.api("POST", "/api/v1/moves/limit", { keysPerSecond: null });
    await rig.api("POST", "/api/v1/moves/resume");
    await rig.untilIdle();
    for (const key of both) {
      expect(await b.primary.command("GET", key)).toBe("new");
      expect(await a.primary.command("EXISTS", key)).toBe(0);
    }
    expect(rig.eventKinds()).toContain("source-copies-deleted");
    expect(Number(await a.primary.command("DBSIZE")) + Number(await b.primary.command("DBSIZE"))).toBe(5000);
  }, 30_000);
});

describe("locks and fences", () => {
  test("a living proxy that does not acknowledge: unlocked in time, tried again", async () => {
    const rig = await start(2, 0, { lock_timeout_ms: 200 });
    const [good, slow] = [rig.addProxy("p1"), rig.addProxy("p2")];
    await until(() => good.acked !== null && slow.acked !== null, "both serve");
    slow.acks = false;
    await rig.move(0, 9, "g2");
    await until(
      () => rig.eventKinds().filter((kind) => kind === "slots-unlocked").length >= 2,
      "unlocked, twice",
    );
    const reason = rig.controller.events.all().find((event) => event.kind === "slots-unlocked")?.fields[
      "reason"
    ];
    expect(reason).toContain("proxy p2 has not acknowledged version");
    expect((await rig.status()).problems.join()).toContain("proxy p2");
    slow.acks = true;
    await rig.untilIdle();
    expect(rig.ownerOf(5)).toBe("g2");
  }, 30_000);

  test("L10: a silent proxy is fenced at both sides; it comes back with another password", async () => {
    const rig = await start(2);
    const [a, b] = rig.groups;
    const [good, lost] = [rig.addProxy("p1"), rig.addProxy("p2")];
    await until(() => good.login !== null && lost.login !== null && lost.acked !== null, "both have logins");
    const login = lost.login!;
    const asLost = (password: string, address = a.primary.addr): RedisServer =>
      new RedisServer(testEnv(), {
        address,
        credentials: { user: login.user, password },
        connectTimeoutMs: 1000,
        commandTimeoutMs: 1000,
      });
    const connection = asLost(login.password);
    await connection.command(["SET", "before", "1"]);
    const atTarget = asLost(login.password, b.primary.addr);
    await atTarget.ping();
    lost.alive = false;
    const beganMs = performance.now();
    await rig.move(0, 9, "g2");
    await rig.untilIdle();
    // One lease (1.5 s here), and what the rest takes.
    expect(performance.now() - beganMs).toBeLessThan(4500);
    expect(rig.eventKinds()).toContain("proxy-fenced");
    await expect(connection.command(["SET", "late", "1"])).rejects.toThrow();
    const again = asLost(login.password);
    await expect(again.command(["SET", "late", "1"])).rejects.toThrow("refused our credentials");
    // At the target too: it may believe that the slots come from there.
    await expect(atTarget.command(["PING"])).rejects.toThrow();
    expect(await a.primary.command("EXISTS", "late")).toBe(0);
    // It wakes up with what it knew, learns the map, and is let in again.
    lost.alive = true;
    await lost.report();
    expect(rig.eventKinds()).not.toContain("proxy-let-in");
    void lost.follow();
    await until(() => lost.login!.password !== login.password, "it has another password");
    const newer = asLost(lost.login!.password);
    await until(async () => (await newer.command(["SET", "again", "1"])) === "OK", "it may write again");
    for (const each of [connection, atTarget, again, newer]) each.close();
  }, 30_000);

  test("a silent proxy without a login: a person is asked, and the move waits", async () => {
    const rig = await start(2, 0, { proxy_logins: "off" });
    const [good, lost] = [rig.addProxy("p1"), rig.addProxy("p2")];
    await until(() => good.acked !== null && lost.acked !== null, "both serve");
    expect(lost.login).toBeNull();
    lost.alive = false;
    await rig.move(0, 9, "g2");
    await until(
      async () => (await rig.status()).problems.join().includes("it can't be fenced"),
      "a person is asked",
    );
    expect(rig.ownerOf(5)).toBe("g1");
    await expect(rig.api("POST", "/api/v1/proxies/p1/forget")).rejects.toThrow("Cannot forget proxy p1");
    await rig.api("POST", "/api/v1/proxies/p2/forget");
    expect(rig.eventKinds()).toContain("proxy-forgotten");
    await rig.untilIdle();
    expect(rig.ownerOf(5)).toBe("g2");
  }, 30_000);

  test("logins are made again at a server that was restarted, and no password is in any answer", async () => {
    const rig = await start(1);
    const proxy = rig.addProxy("p1");
    await until(() => proxy.login !== null, "it has a login");
    const { user, password } = proxy.login!;
    const [{ primary }] = rig.groups;
    const may = async (): Promise<boolean> =>
      String(await primary.command("ACL", "GETUSER", user)).includes("on");
    await until(may, "the server knows it");
    await primary.kill();
    await primary.launch();
    await until(may, "the restarted server knows it");
    const paths = ["/api/v1/status", "/api/v1/map", "/api/v1/moves"];
    const shown = await Promise.all(paths.map((path) => rig.api("GET", path)));
    expect(JSON.stringify([shown, rig.controller.events.all()])).not.toContain(password);
  }, 30_000);
});

function splitOnce(text: string): [string, string] {
  const space = text.indexOf(" ");
  return [text.slice(0, space), text.slice(space + 1)];
}
