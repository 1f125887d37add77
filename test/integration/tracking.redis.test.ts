/**
 * CLIENT TRACKING through a proxy over three groups: each key that a client has read is reported to it once
 * when it changes, whoever changes it.
 */
import {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  describe,
  expect,
  setDefaultTimeout,
  test,
} from "bun:test";
import { mapOf, Rig, TRANSPORTS } from "../robustness/rig.ts";
import { RedisProcess } from "../support/redis-process.ts";
import { until } from "../support/until.ts";
import { Fault, TrackingClient, type Value } from "./tracking-client.ts";

setDefaultTimeout(30_000);

let servers: RedisProcess[];

beforeAll(async () => {
  servers = await Promise.all([RedisProcess.start(), RedisProcess.start(), RedisProcess.start()]);
});

afterAll(async () => {
  await Promise.all(servers.map((server) => server.dispose()));
});

describe.each(TRANSPORTS)("CLIENT TRACKING (%s)", (io) => {
  let rig: Rig;
  /** The client that tracks. */
  let reader: TrackingClient;
  /** Clients of the proxy, and of the servers behind it. */
  let writer: TrackingClient;
  const clients: TrackingClient[] = [];

  beforeAll(async () => {
    // A group that is down answers with an error at once.
    const quick = { hold_timeout_ms: 0, reconnect_backoff_ms_min: 10, reconnect_backoff_ms_max: 50 };
    rig = await Rig.start(servers, io, quick);
  });
  afterAll(() => rig.dispose());

  async function connect(protocol: 2 | 3 = 3): Promise<TrackingClient> {
    const client = await TrackingClient.connect(rig.port, protocol);
    clients.push(client);
    return client;
  }

  beforeEach(async () => {
    writer = await connect();
    expect(await writer.call("FLUSHALL")).toBe("OK");
    reader = await connect();
  });
  afterEach(() => {
    for (const client of clients.splice(0)) client.close();
  });

  /** `count` keys of one slot of group `index`. */
  function tagged(index: number, count: number, name: string): string[] {
    return Array.from({ length: count }, (_, i) => `{${rig.keyIn(index, name)}}:${i}`);
  }

  /** Sets a key past the proxy. */
  async function setDirectly(key: string, value: string): Promise<void> {
    const index = [0, 1, 2].find((each) => rig.keyIn(each, key.split(":")[0]) === key) ?? -1;
    expect(index).not.toBe(-1);
    expect(await servers[index].command("SET", key, value)).toBe("OK");
  }

  /** The keys that `client` is told about until each of `keys` was named; sorted. */
  async function untilTold(client: TrackingClient, keys: readonly string[]): Promise<string[]> {
    const told: string[] = [];
    await until(
      () => {
        told.push(...client.pushes.splice(0).flatMap((push) => keysOf(push)));
        return keys.every((key) => told.includes(key));
      },
      `told about ${keys.join(" ")}`,
    );
    return told.toSorted();
  }

  function keysOf(push: Value): string[] {
    const [kind, keys] = push as [string, string[] | null];
    expect(kind).toBe("invalidate");
    return keys ?? ["everything"];
  }

  /** Nothing that happened before is still on its way: a key of each group is tracked, changed, and told. */
  async function expectNothingTold(client: TrackingClient): Promise<void> {
    const marks = [0, 1, 2].map((index) => rig.keyIn(index, "mark"));
    const watcher = await connect();
    await watcher.call("CLIENT", "TRACKING", "ON");
    await watcher.call("MGET", ...marks);
    await writer.call("MSET", ...marks.flatMap((mark) => [mark, "x"]));
    await untilTold(watcher, marks);
    expect(await client.taken()).toEqual([]);
    watcher.close();
  }

  test("tells each change of what was read, once, whoever made it", async () => {
    const keys = [0, 1, 2].flatMap((index) => rig.keysIn(index, 2, "t"));
    expect(await reader.call("CLIENT", "TRACKING", "ON")).toBe("OK");
    for (const key of keys) expect(await reader.call("GET", key)).toBeNull();
    for (const key of keys) await writer.call("SET", key, "1");
    expect(await untilTold(reader, keys)).toEqual(keys.toSorted());
    // Told once, for it was not read again.
    for (const key of keys) await writer.call("SET", key, "2");
    await expectNothingTold(reader);
    const direct = [0, 1, 2].map((index) => rig.keyIn(index, "direct"));
    expect(await reader.call("MGET", ...direct)).toEqual([null, null, null]);
    for (const key of direct) await setDirectly(key, "3");
    expect(await untilTold(reader, direct)).toEqual(direct.toSorted());
    // Its own writes too, without NOLOOP.
    await reader.call("GET", keys[0]);
    await reader.call("DEL", keys[0]);
    expect(await untilTold(reader, [keys[0]])).toEqual([keys[0]]);
    await reader.call("GET", keys[1]);
    expect(await reader.call("CLIENT", "TRACKING", "OFF")).toBe("OK");
    await writer.call("SET", keys[1], "4");
    await expectNothingTold(reader);
  });

  test("tells a change behind the reply that it outdates", async () => {
    const key = rig.keyIn(1, "order");
    await reader.call("CLIENT", "TRACKING", "ON");
    for (let i = 0; i < 200; i++) {
      let last = "";
      reader.onPush = () => (last = "push");
      const replies = reader.batch(
        [
          ["GET", key],
          ["GET", key],
          ["GET", key],
        ],
        () => (last = "reply"),
      );
      await Promise.all([replies, writer.call("SET", key, String(i))]);
      const now = String(i);
      if ((await replies).at(-1) !== now)
        await until(() => last === "push", "the older value is invalidated");
    }
    reader.onPush = (push) => reader.pushes.push(push);
  });

  test("expiry, renaming, FLUSHALL, scripts and databases", async () => {
    const [a, b, c] = tagged(2, 3, "s");
    await writer.call("MSET", a, "1", b, "1", c, "1");
    await reader.call("CLIENT", "TRACKING", "ON");
    await reader.call("MGET", a, b, c);
    await writer.call("PEXPIRE", a, "1");
    await writer.call("RENAME", b, `${b}:renamed`);
    expect(await untilTold(reader, [a, b])).toEqual([a, b].toSorted());
    expect(await reader.call("EVAL", "return redis.call('GET', KEYS[1])", "1", c)).toBe("1");
    await writer.call("EVAL", "return redis.call('SET', KEYS[1], '2')", "1", c);
    expect(await untilTold(reader, [c])).toEqual([c]);
    await reader.call("SELECT", "3");
    await reader.call("GET", a);
    const other = await connect();
    await other.call("SELECT", "3");
    await other.call("SET", a, "of three");
    expect(await untilTold(reader, [a])).toEqual([a]);
    await reader.call("GET", c);
    await writer.call("FLUSHALL");
    await untilTold(reader, ["everything"]);
  });

  test("what a transaction reads counts from EXEC on", async () => {
    const [a, b] = tagged(0, 2, "tx");
    await reader.call("CLIENT", "TRACKING", "ON");
    await reader.batch([["MULTI"], ["GET", a], ["GET", b]]);
    // Somebody else reads it, so that the server tells of this change; the transaction has not read it yet.
    const other = await connect();
    await other.call("CLIENT", "TRACKING", "ON");
    await other.call("GET", a);
    await writer.call("SET", a, "1");
    await untilTold(other, [a]);
    expect(await reader.call("EXEC")).toEqual(["1", null]);
    await writer.call("MSET", a, "2", b, "2");
    expect(await untilTold(reader, [a, b])).toEqual([a, b].toSorted());
    // With WATCH, over a connection of its own.
    await reader.call("WATCH", a);
    await reader.batch([["MULTI"], ["GET", a]]);
    expect(await reader.call("EXEC")).toEqual(["2"]);
    await writer.call("SET", a, "3");
    expect(await untilTold(reader, [a])).toEqual([a]);
    // A discarded one has read nothing.
    await reader.batch([["MULTI"], ["GET", a], ["DISCARD"]]);
    await writer.call("SET", a, "4");
    await expectNothingTold(reader);
  });

  test("OPTIN and OPTOUT with CLIENT CACHING, about one command or one transaction", async () => {
    const [a, b, c, d] = tagged(1, 4, "o");
    const change = (): Promise<Value> => writer.call("MSET", ...[a, b, c, d].flatMap((key) => [key, "x"]));
    await reader.call("CLIENT", "TRACKING", "ON", "OPTIN");
    await reader.batch([
      ["GET", a],
      ["CLIENT", "CACHING", "YES"],
      ["GET", b],
      ["GET", c],
    ]);
    await change();
    expect(await untilTold(reader, [b])).toEqual([b]);
    await reader.batch([
      ["CLIENT", "CACHING", "YES"],
      ["MULTI"],
      ["GET", a],
      ["GET", d],
      ["EXEC"],
      ["GET", b],
    ]);
    await change();
    expect(await untilTold(reader, [a, d])).toEqual([a, d].toSorted());
    await expectNothingTold(reader);
    await reader.call("CLIENT", "TRACKING", "OFF");
    await reader.call("CLIENT", "TRACKING", "ON", "OPTOUT");
    await reader.batch([
      ["GET", a],
      ["CLIENT", "CACHING", "NO"],
      ["GET", b],
      ["GET", c],
    ]);
    await change();
    expect(await untilTold(reader, [a, c])).toEqual([a, c].toSorted());
    await reader.batch([
      ["CLIENT", "CACHING", "NO"],
      ["MULTI"],
      ["GET", a],
      ["GET", d],
      ["EXEC"],
      ["GET", b],
    ]);
    await change();
    expect(await untilTold(reader, [b])).toEqual([b]);
    await expectNothingTold(reader);
  });

  test("BCAST tells what begins with the prefixes, read or not", async () => {
    const of = (prefix: string): string[] => [0, 1, 2].map((index) => rig.keyIn(index, prefix));
    await reader.call("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "user", "PREFIX", "order");
    const all = await connect();
    await all.call("CLIENT", "TRACKING", "ON", "BCAST");
    const keys = [...of("user"), ...of("order"), ...of("other")];
    await writer.call("MSET", ...keys.flatMap((key) => [key, "1"]));
    expect(await untilTold(reader, keys.slice(0, 6))).toEqual(keys.slice(0, 6).toSorted());
    expect(await untilTold(all, keys)).toEqual(keys.toSorted());
    for (const key of of("user")) await setDirectly(key, "2");
    expect(await untilTold(reader, of("user"))).toEqual(of("user").toSorted());
    // Many keys in one frame of the server.
    const many = Array.from({ length: 5000 }, (_, i) => `user:many:${i}`);
    await writer.call("MSET", ...many.flatMap((key) => [key, "1"]));
    expect(new Set(await untilTold(reader, many))).toEqual(new Set(many));
    all.close();
  });

  test("NOLOOP keeps quiet about its own writes and tells those of others", async () => {
    const keys = [0, 1, 2].map((index) => rig.keyIn(index, "noloop"));
    await reader.call("CLIENT", "TRACKING", "ON", "NOLOOP");
    await reader.call("MGET", ...keys);
    await reader.call("MSET", ...keys.flatMap((key) => [key, "mine"]));
    await expectNothingTold(reader);
    await reader.call("MGET", ...keys);
    await writer.call("MSET", ...keys.flatMap((key) => [key, "another's"]));
    expect(await untilTold(reader, keys)).toEqual(keys.toSorted());
  });

  test("a waiting client is told while it waits", async () => {
    const key = rig.keyIn(0, "waits");
    await reader.call("CLIENT", "TRACKING", "ON");
    await reader.call("GET", key);
    const popped = reader.call("BLPOP", rig.keyIn(1, "list"), "20");
    await until(async () => String(await writer.call("CLIENT", "LIST")).includes("cmd=blpop"), "BLPOP waits");
    await writer.call("SET", key, "1");
    expect(await untilTold(reader, [key])).toEqual([key]);
    await writer.call("RPUSH", rig.keyIn(1, "list"), "element");
    expect(await popped).toEqual([rig.keyIn(1, "list"), "element"]);
  });

  describe("REDIRECT", () => {
    test.each([2, 3] as const)("to a client of RESP3, from one of RESP%d", async (protocol) => {
      const target = await connect();
      const id = String(await target.call("CLIENT", "ID"));
      const data = await connect(protocol);
      expect(await data.call("CLIENT", "TRACKING", "ON", "REDIRECT", id)).toBe("OK");
      expect(await data.call("CLIENT", "GETREDIR")).toBe(Number(id));
      const keys = [0, 1, 2].map((index) => rig.keyIn(index, "redirected"));
      await data.call("MGET", ...keys);
      await writer.call("MSET", ...keys.flatMap((key) => [key, "1"]));
      expect(await untilTold(target, keys)).toEqual(keys.toSorted());
      expect(await data.taken()).toEqual([]);
    });

    test("to a client of RESP2 that is subscribed, as messages", async () => {
      const target = await connect(2);
      const id = String(await target.call("CLIENT", "ID"));
      const channel = "__redis__:invalidate";
      expect(await target.call("SUBSCRIBE", channel)).toEqual(["subscribe", channel, 1]);
      await reader.call("CLIENT", "TRACKING", "ON", "REDIRECT", id);
      const key = rig.keyIn(2, "messages");
      await reader.call("GET", key);
      await writer.call("SET", key, "1");
      await until(() => target.pushes.length > 0, "the message");
      expect(target.pushes.splice(0)).toEqual([["message", channel, [key]]]);
      await reader.call("GET", key);
      await writer.call("FLUSHALL");
      await until(() => target.pushes.length > 0, "the message about everything");
      expect(target.pushes[0]).toEqual(["message", channel, null]);
    });

    test("to a client that goes away: said to the one that tracks", async () => {
      const target = await connect();
      const id = Number(await target.call("CLIENT", "ID"));
      await reader.call("CLIENT", "TRACKING", "ON", "REDIRECT", String(id));
      const key = rig.keyIn(0, "broken");
      await reader.call("GET", key);
      target.close();
      await until(
        async () => !String(await writer.call("CLIENT", "LIST")).includes(`id=${id} `),
        "the target is gone",
      );
      await writer.call("SET", key, "1");
      await until(() => reader.pushes.length > 0, "told that it is broken");
      expect(reader.pushes.splice(0)).toEqual([["tracking-redir-broken", id]]);
      const info = (await reader.call("CLIENT", "TRACKINGINFO")) as Value[];
      expect(info.slice(0, 4)).toEqual(["flags", ["on", "broken_redirect"], "redirect", id]);
      expect(await reader.call("CLIENT", "TRACKING", "ON", "REDIRECT", String(id))).toBeInstanceOf(Fault);
      expect(await reader.call("CLIENT", "TRACKING", "ON")).toBe("OK");
      expect(await reader.call("CLIENT", "GETREDIR")).toBe(0);
    });
  });

  test("what may have been missed is told as everything", async () => {
    const keys = [0, 1, 2].map((index) => rig.keyIn(index, "missed"));
    const broadcast = await connect();
    await broadcast.call("CLIENT", "TRACKING", "ON", "BCAST");
    await reader.call("CLIENT", "TRACKING", "ON");
    await reader.call("MGET", ...keys);
    // All connections of one server, those on which it tells of changes among them.
    await servers[1].command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
    await untilTold(reader, ["everything"]);
    await untilTold(broadcast, ["everything"]);
    await until(async () => (await reader.call("GET", keys[1])) === null, "the server is reached again");
    await until(async () => {
      await reader.call("GET", keys[1]);
      await setDirectly(keys[1], "after the kill");
      return reader.pushes.splice(0).some((push) => keysOf(push).includes(keys[1]));
    }, "tracked again");
    await until(
      () => broadcast.pushes.splice(0).some((push) => keysOf(push).includes(keys[1])),
      "broadcast again",
    );
    // A map in which the slots are served elsewhere.
    await reader.call("MGET", ...keys);
    await reader.taken();
    const addresses = servers.map((server) => server.addr);
    rig.sendMap(mapOf([addresses[1], addresses[2], addresses[0]], 2 + rig.acks.length));
    await untilTold(reader, ["everything"]);
    await reader.call("GET", keys[0]);
    await servers[1].command("SET", keys[0], "of the new place");
    await untilTold(reader, [keys[0]]);
    const again = 3 + rig.acks.length;
    rig.sendMap(mapOf(addresses, again));
    await until(() => rig.acks.includes(again), "the first map again");
  });

  test("a group that is down holds nobody up, and is tracked when it is back", async () => {
    const keys = [0, 1, 2].map((index) => rig.keyIn(index, "down"));
    await servers[2].kill();
    await until(async () => (await reader.call("GET", keys[2])) instanceof Fault, "the server is missed");
    await reader.call("CLIENT", "TRACKING", "ON");
    await reader.call("GET", keys[0]);
    await setDirectly(keys[0], "1");
    await untilTold(reader, [keys[0]]);
    await servers[2].launch();
    await until(async () => (await reader.call("GET", keys[2])) === null, "the server is reached again");
    await until(async () => {
      await reader.call("GET", keys[2]);
      await setDirectly(keys[2], "2");
      return reader.pushes.splice(0).some((push) => keysOf(push).includes(keys[2]));
    }, "tracked again");
  });
});
