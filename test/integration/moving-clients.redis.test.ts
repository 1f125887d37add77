/** Clients in the middle of something while their slot moves: blocked, watching, scanning. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { type RawClient, ReplyFault } from "../robustness/raw-client.ts";
import { Rig, TRANSPORTS } from "../robustness/rig.ts";
import { RedisProcess } from "../support/redis-process.ts";
import { until } from "../support/until.ts";
import { TrackingClient } from "./tracking-client.ts";
import { moveMap, settle, startMove } from "./moving-rig.ts";

setDefaultTimeout(60_000);

let servers: RedisProcess[];
let rig: Rig;
let client: RawClient;

async function start(io: (typeof TRANSPORTS)[number], settings = {}): Promise<void> {
  rig = await Rig.start(servers, io, settings);
  client = await rig.connect();
}

async function blockedAt(server: number): Promise<number> {
  const text = String(await servers[server].command("INFO", "clients"));
  return Number(/blocked_clients:(\d+)/.exec(text)?.[1]);
}

/** Moves `keys` as the controller does. */
async function sweep(from: number, to: number, keys: readonly string[]): Promise<void> {
  if (keys.length === 0) return;
  const words = ["MIGRATE", "127.0.0.1", String(servers[to].port), "", "0", "1000", "KEYS", ...keys];
  await servers[from].command(...words);
}

beforeEach(async () => {
  servers = await Promise.all([RedisProcess.start(), RedisProcess.start(), RedisProcess.start()]);
});

afterEach(async () => {
  await rig.dispose();
  await Promise.all(servers.map((server) => server.dispose()));
});

describe.each(TRANSPORTS)("blocked while its slot moves (%s)", (io) => {
  test("L15: called back at the lock, served at the target", async () => {
    await start(io);
    const keys = ["l", "z", "s", "m", "g"].map((name) => rig.keyIn(0, name));
    const [list, zset, stream, multi, group] = keys;
    await servers[0].command("XADD", stream, "1-1", "f", "old");
    await servers[0].command("XGROUP", "CREATE", group, "grp", "$", "MKSTREAM");
    const calls = [
      ["BLPOP", list, "0"],
      ["BZPOPMIN", zset, "0"],
      ["XREAD", "COUNT", "9", "BLOCK", "0", "STREAMS", stream, "$"],
      ["BLMPOP", "0", "1", multi, "RIGHT", "COUNT", "9"],
      ["XREADGROUP", "GROUP", "grp", "block", "BLOCK", "0", "STREAMS", group, ">"],
    ];
    const clients = await Promise.all(calls.map(() => rig.connect()));
    const replies = clients.map((each, i) => each.call(...calls[i]));
    await until(async () => (await blockedAt(0)) === calls.length, "all wait at the source");
    await settle(rig, moveMap(rig, "locked", 2));
    expect(await blockedAt(0)).toBe(0);
    await settle(rig, moveMap(rig, "moving", 3));
    await until(async () => (await blockedAt(1)) === calls.length, "all wait at the target");
    await client.call("RPUSH", list, "x");
    await client.call("ZADD", zset, "1", "y");
    await client.call("XADD", stream, "2-1", "f", "v");
    await client.call("RPUSH", multi, "a", "b");
    await client.call("XADD", group, "5-1", "f", "v");
    expect(await Promise.all(replies)).toEqual([
      [list, "x"],
      [zset, "y", "1"],
      [[stream, [["2-1", ["f", "v"]]]]],
      [multi, ["b", "a"]],
      [[group, [["5-1", ["f", "v"]]]]],
    ]);
    await settle(rig, moveMap(rig, "moved", 4));
    expect(await clients[0].call("GET", "x")).toBeNull();
  });

  test("the time goes on, CLIENT UNBLOCK works in between, and so does going away", async () => {
    await start(io);
    const list = rig.keyIn(0);
    const [timed, unblocked, byError, leaver] = await Promise.all([1, 2, 3, 4].map(() => rig.connect()));
    const ids = await Promise.all([unblocked, byError].map((each) => each.call("CLIENT", "ID")));
    const begun = performance.now();
    const replies = [
      timed.call("BRPOP", list, "0.8"),
      ...[unblocked, byError, leaver].map((each) => each.call("BRPOP", list, "0")),
    ];
    void replies[3].catch(() => undefined);
    await until(async () => (await blockedAt(0)) === 4, "all wait at the source");
    await settle(rig, moveMap(rig, "locked", 2));
    expect(await client.call("CLIENT", "UNBLOCK", String(ids[0]))).toBe(1);
    expect(await client.call("CLIENT", "UNBLOCK", String(ids[1]), "ERROR")).toBe(1);
    expect(await replies[1]).toBeNull();
    expect(((await replies[2]) as ReplyFault).text).toMatch(/^UNBLOCKED/);
    leaver.close();
    await settle(rig, moveMap(rig, "moving", 3));
    expect(await replies[0]).toBeNull();
    const tookMs = performance.now() - begun;
    expect(tookMs).toBeGreaterThan(750);
    expect(await client.call("RPUSH", list, "kept")).toBe(1);
    expect(await client.call("LPOP", list)).toBe("kept");
    await until(async () => (await blockedAt(1)) === 0, "nobody waits any more");
  });

  test("L15: elements pushed all the while: each is popped once, none is lost", async () => {
    await start(io);
    const lists = rig.keysIn(0, 4);
    const popped: string[] = [];
    const state = { running: true };
    const poppers = await Promise.all(Array.from({ length: 16 }, () => rig.connect()));
    const pops = poppers.map(async (each, i) => {
      while (state.running) {
        const reply = (await each.call("BLPOP", lists[i % 4], lists[i % 4], "0.2")) as string[] | null;
        if (reply !== null) popped.push(reply[1]);
      }
    });
    let pushed = 0;
    const pusher = (async () => {
      for (; state.running; pushed++) await client.call("RPUSH", lists[pushed % 4], `e${pushed}`);
    })();
    for (let version = 2; version < 26; version += 4) {
      const [from, to] = version % 8 === 2 ? [0, 1] : [1, 0];
      const back = from === 1;
      // The way back is a move of the slots that g2 has by then.
      const map = (phase: "locked" | "moving" | "moved", at: number) => {
        if (!back) return moveMap(rig, phase, at);
        const moved = moveMap(rig, "moved", at);
        const ranges = moved.ranges.map((range, i) => {
          if (i > 0) return range;
          return phase === "moved" ? { ...range, group: "g1" } : { ...range, move: { to: "g1", phase } };
        });
        return { ...moved, ranges };
      };
      await settle(rig, map("locked", version));
      await settle(rig, map("moving", version + 1));
      await sweep(from, to, lists);
      await settle(rig, map("moved", version + 2));
      const before = popped.length;
      await until(() => popped.length > before + 20, "they go on");
    }
    state.running = false;
    await Promise.all([...pops, pusher]);
    for (const list of lists) popped.push(...((await client.call("LRANGE", list, "0", "-1")) as string[]));
    expect(popped.length).toBe(pushed);
    expect(new Set(popped).size).toBe(pushed);
  });
});

describe.each(TRANSPORTS)("watching while its slot moves (%s)", (io) => {
  test("EXEC answers nil when the slot has moved meanwhile, also there and back", async () => {
    await start(io);
    const key = rig.keyIn(0);
    for (const [first, last] of [
      [2, 3],
      [4, 6],
    ]) {
      expect(await client.call("WATCH", key)).toBe("OK");
      for (let version = first; version <= last; version++)
        await settle(
          rig,
          moveMap(rig, version % 3 === 2 ? "locked" : version % 3 === 0 ? "moving" : "serving", version),
        );
      expect(await client.call("MULTI")).toBe("OK");
      expect(await client.call("SET", key, "v")).toBe("QUEUED");
      expect(await client.call("EXEC")).toBeNull();
      expect(await client.call("GET", key)).toBeNull();
    }
  });

  test("an EXEC that comes while the slot is locked waits; unlocked, it runs", async () => {
    await start(io);
    const key = rig.keyIn(0);
    expect(await client.call("WATCH", key)).toBe("OK");
    expect(await client.call("MULTI")).toBe("OK");
    await settle(rig, moveMap(rig, "locked", 2));
    expect(await client.call("SET", key, "v")).toBe("QUEUED");
    const reply = client.call("EXEC");
    await settle(rig, moveMap(rig, "serving", 3));
    expect(await reply).toEqual(["OK"]);
  });

  test("on a moving slot it sees what others change", async () => {
    await start(io);
    const key = rig.keyIn(0);
    await client.call("SET", key, "1");
    await startMove(rig);
    const other = await rig.connect();
    for (const disturbed of [false, true]) {
      expect(await client.call("WATCH", key)).toBe("OK");
      if (disturbed) await other.call("INCR", key);
      expect(await client.call("MULTI")).toBe("OK");
      expect(await client.call("INCR", key)).toBe("QUEUED");
      expect(await client.call("EXEC")).toEqual(disturbed ? null : [2]);
    }
  });

  test("a transaction whose keys are parted by a second group before EXEC does not run", async () => {
    const all = servers;
    servers = [all[0]];
    await start(io);
    servers = all;
    expect(await client.call("MULTI")).toBe("OK");
    const two = { servers } as unknown as Rig;
    const [a, b] = [rig.keyIn.call(two, 0), rig.keyIn.call(two, 1)];
    expect(await client.call("SET", a, "1")).toBe("QUEUED");
    expect(await client.call("SET", b, "1")).toBe("QUEUED");
    await settle(rig, moveMap(two, "serving", 2));
    expect(await client.fault("EXEC")).toMatch(/^EXECABORT .*CROSSSLOT/);
  });
});

describe.each(TRANSPORTS)("tracking while its slot moves (%s)", (io) => {
  test("what was read before the move is invalidated, what is read after it is tracked", async () => {
    await start(io);
    const key = rig.keyIn(0);
    await client.call("SET", key, "1");
    const tracking = await TrackingClient.connect(rig.port);
    const told = (what: string | null) =>
      tracking.pushes.some((push) => {
        const keys = (push as unknown[])[1];
        return what === null ? keys === null : Array.isArray(keys) && keys.includes(what);
      });
    expect(await tracking.call("CLIENT", "TRACKING", "ON")).toBe("OK");
    expect(await tracking.call("GET", key)).toBe("1");
    await startMove(rig);
    await until(() => told(null), "all that was read is forgotten");
    expect(await tracking.call("GET", key)).toBe("1");
    // The source tells of the key that has left it, which is one message too many and no harm.
    await until(async () => (await tracking.call("GET", key)) === "1", "it is read again");
    tracking.pushes.length = 0;
    await client.call("INCR", key);
    await until(() => told(key), "the change at the target is told");
    expect(await tracking.call("GET", key)).toBe("2");
    tracking.close();
  });
});

describe.each(TRANSPORTS)("the whole keyspace while slots move (%s)", (io) => {
  /** Scans to the end; `between` is called after each call. */
  async function scanAll(between: (calls: number) => Promise<void>): Promise<Set<string>> {
    const seen = new Set<string>();
    let cursor = "0";
    let calls = 0;
    do {
      const [next, keys] = (await client.call("SCAN", cursor, "COUNT", "20")) as [string, string[]];
      for (const key of keys) seen.add(key);
      cursor = next;
      await between(++calls);
    } while (cursor !== "0");
    return seen;
  }

  test.each([
    ["from a group that is still to come to one that has been", 2, 0],
    ["the other way round", 0, 2],
  ] as const)("SCAN misses no key that goes %s", async (_name, from, to) => {
    await start(io);
    const keys = [0, 1, 2].flatMap((group) => rig.keysIn(group, 150, `scan${group}`));
    for (const key of keys) await client.call("SET", key, "v");
    const moving = rig.keysIn(from, 150, `scan${from}`);
    const seen = await scanAll(async (calls) => {
      if (calls === 2) await settle(rig, moveMap(rig, "locked", 2, from, to));
      if (calls === 3) await settle(rig, moveMap(rig, "moving", 3, from, to));
      // Groups are scanned in order: at 10 calls the first is done, the last not begun.
      if (calls === 12) await sweep(from, to, moving.slice(0, 100));
      if (calls === 20) await sweep(from, to, moving.slice(100));
      if (calls === 21) await settle(rig, moveMap(rig, "moved", 4, from, to));
    });
    expect([...seen].toSorted()).toEqual(keys.toSorted());
  });

  test("SCAN misses no key when one move follows the other", async () => {
    await start(io);
    const keys = [0, 1, 2].flatMap((group) => rig.keysIn(group, 60, `scan${group}`));
    for (const key of keys) await client.call("SET", key, "v");
    const moving = rig.keysIn(2, 60, `scan2`);
    let version = 1;
    let hops = 0;
    const seen = await scanAll(async (calls) => {
      if (calls % 3 !== 0 || hops === 6) return;
      const [from, to] = [(hops + 2) % 3, hops % 3];
      const owner = (at: number) => `g${at + 1}`;
      const map = moveMap(rig, "serving", ++version);
      const ranges = map.ranges.map((range, i) => (i === 2 ? { ...range, group: owner(from) } : range));
      const phase = (name: "locked" | "moving") =>
        ranges.map((range, i) => (i === 2 ? { ...range, move: { to: owner(to), phase: name } } : range));
      await settle(rig, { ...map, ranges: phase("locked") });
      await settle(rig, { ...map, version: ++version, ranges: phase("moving") });
      await sweep(from, to, moving);
      const done = ranges.map((range, i) => (i === 2 ? { ...range, group: owner(to) } : range));
      await settle(rig, { ...map, version: ++version, ranges: done });
      hops++;
    });
    expect([...seen].toSorted()).toEqual(keys.toSorted());
  });

  test("KEYS sees each key once, FLUSHALL leaves none, while keys are on their way", async () => {
    await start(io);
    const keys = rig.keysIn(0, 300);
    for (const key of keys) await servers[0].command("SET", key, "v");
    await startMove(rig);
    const moves = (async () => {
      for (let i = 0; i < keys.length; i += 3) await sweep(0, 1, keys.slice(i, i + 3));
    })();
    for (let i = 0; i < 10; i++) {
      const found = (await client.call("KEYS", "*")) as string[];
      expect(found.toSorted()).toEqual(keys.toSorted());
    }
    await moves;
    expect(await client.call("FLUSHALL")).toBe("OK");
    for (let round = 0; round < 5; round++) {
      for (const key of keys) await servers[0].command("SET", key, "v");
      const again = (async () => {
        for (let i = 0; i < keys.length; i += 3) await sweep(0, 1, keys.slice(i, i + 3));
      })();
      expect(await client.call("FLUSHALL")).toBe("OK");
      await again;
      for (const server of servers) expect(await server.command("DBSIZE")).toBe(0);
    }
    expect(await client.fault("SWAPDB", "0", "1")).toMatch(/^ERR SWAPDB can't run while slots move/);
  });
});
