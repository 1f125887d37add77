/**
 * CLIENT TRACKING with NOLOOP, with and without BCAST: a client hears of everybody's writes but its own, be
 * the others at a server, at this proxy, or on the very connections that the proxy shares among them. And
 * how many keys are remembered.
 */
import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { Rig, TRANSPORTS } from "../robustness/rig.ts";
import { RedisProcess } from "../support/redis-process.ts";
import { until } from "../support/until.ts";
import { TrackingClient, type Value } from "./tracking-client.ts";

setDefaultTimeout(30_000);

let servers: RedisProcess[];

beforeAll(async () => {
  servers = await Promise.all([RedisProcess.start(), RedisProcess.start(), RedisProcess.start()]);
});

afterAll(async () => {
  await Promise.all(servers.map((server) => server.dispose()));
});

describe.each(TRANSPORTS)("NOLOOP (%s)", (io) => {
  let rig: Rig;
  const clients: TrackingClient[] = [];

  beforeAll(async () => {
    rig = await Rig.start(servers, io, { reconnect_backoff_ms_min: 10, reconnect_backoff_ms_max: 50 });
  });
  afterAll(() => rig.dispose());
  afterEach(() => {
    for (const client of clients.splice(0)) client.close();
  });

  async function connect(protocol: 2 | 3 = 3): Promise<TrackingClient> {
    const client = await TrackingClient.connect(rig.port, protocol);
    clients.push(client);
    return client;
  }

  async function tracking(...mode: string[]): Promise<TrackingClient> {
    const client = await connect();
    expect(await client.call("CLIENT", "TRACKING", "ON", "NOLOOP", ...mode)).toBe("OK");
    return client;
  }

  /** The keys that come up to and with `last`, in order. */
  async function toldUntil(client: TrackingClient, last: string): Promise<string[]> {
    const told: string[] = [];
    await until(() => {
      for (const push of client.pushes.splice(0)) {
        const keys = (push as Value[]).at(-1) as string[] | null;
        told.push(...(keys ?? ["everything"]));
      }
      return told.includes(last);
    }, `told of ${last}`);
    return told;
  }

  /** What is told of one group comes in order: after the mark nothing of before is on its way. */
  async function expectTold(
    client: TrackingClient,
    group: number,
    keys: readonly string[],
    write: (mark: string) => Promise<unknown>,
  ): Promise<void> {
    const mark = rig.keyIn(group, "mark");
    await client.call("GET", mark);
    await write(mark);
    expect((await toldUntil(client, mark)).toSorted()).toEqual([...keys, mark].toSorted());
  }

  const MODES = [[], ["BCAST"]];

  test.each(MODES)("own writes are not told, others' are %s", async (...mode) => {
    const client = await tracking(...mode);
    const other = await connect();
    for (const group of [0, 1, 2]) {
      const [one, two, three] = rig.keysIn(group, 3, "own");
      await client.call("MGET", one, two, three);
      await client.call("SET", one, "mine");
      await client.call("MSET", one, "mine", two, "mine");
      await client.call("EVAL", "redis.call('SET', KEYS[1], 'mine')", "1", three);
      await client.call("DEL", two);
      // A server takes its own scripts for others, with BCAST.
      await expectTold(client, group, mode.includes("BCAST") ? [three] : [], (mark) =>
        other.call("SET", mark, "theirs"),
      );
      await client.call("MGET", one, two, three);
      expect(await servers[group].command("SET", two, "theirs")).toBe("OK");
      await other.call("SET", one, "theirs");
      await expectTold(client, group, [one, two], (mark) => other.call("SET", mark, "again"));
    }
  });

  test.each(MODES)("in a transaction %s", async (...mode) => {
    const client = await tracking(...mode);
    const other = await connect();
    const [one, two] = [`{${rig.keyIn(1, "t")}}:1`, `{${rig.keyIn(1, "t")}}:2`];
    await client.call("DEL", one, two);
    await client.call("MGET", one, two);
    const calls = [["MULTI"], ["SET", one, "1"], ["GET", one], ["INCR", two], ["EXEC"]];
    expect((await client.batch(calls)).at(-1)).toEqual(["OK", "1", 1]);
    await expectTold(client, 1, [], (mark) => other.call("SET", mark, "theirs"));
    await client.call("GET", two);
    await other.batch([["MULTI"], ["INCR", two], ["EXEC"]]);
    await expectTold(client, 1, [two], (mark) => other.call("SET", mark, "again"));
  });

  test.each(MODES)("clients with the same options tell each other %s", async (...mode) => {
    const [one, two] = [await tracking(...mode), await tracking(...mode)];
    const keys = [0, 1, 2].map((group) => rig.keyIn(group, "shared"));
    for (const client of [one, two]) await client.call("MGET", ...keys);
    await one.call("MSET", ...keys.flatMap((key) => [key, "one's"]));
    const told: string[] = [];
    await until(() => {
      told.push(...two.pushes.splice(0).flatMap((push) => (push as [string, string[]])[1]));
      return keys.every((key) => told.includes(key));
    }, "the other one is told");
    expect(told.toSorted()).toEqual(keys.toSorted());
    expect(await one.taken()).toEqual([]);
    await two.call("MGET", ...keys);
    await one.call("EVAL", "redis.call('SET', KEYS[1], 'script')", "1", keys[0]);
    // What a script writes only the server knows, and without BCAST it does not say it.
    const news = mode.includes("BCAST") ? keys[0] : "everything";
    expect(await toldUntil(two, news)).toEqual([news]);
  });

  test("with BCAST a write that changes nothing does not hide another's", async () => {
    const client = await tracking("BCAST");
    const other = await connect();
    const key = rig.keyIn(0, "unchanged");
    await other.call("SET", key, "there");
    await toldUntil(client, key);
    for (let i = 0; i < 5; i++) {
      await client.call("SETNX", key, "mine");
      await client.call("HDEL", rig.keyIn(0, "nosuch"), "field");
    }
    await other.call("SET", key, "theirs");
    await expectTold(client, 0, [key], (mark) => other.call("SET", mark, "theirs"));
  });

  test("with BCAST and prefixes, redirected, over RESP2", async () => {
    const target = await connect(2);
    const id = String(await target.call("CLIENT", "ID"));
    await target.call("SUBSCRIBE", "__redis__:invalidate");
    const client = await connect(2);
    const mode = ["ON", "BCAST", "NOLOOP", "REDIRECT", id, "PREFIX", "user:", "PREFIX", "mark"];
    expect(await client.call("CLIENT", "TRACKING", ...mode)).toBe("OK");
    const other = await connect();
    await client.call("SET", "user:1", "mine");
    await other.call("SET", "item:1", "theirs");
    await other.call("SET", "user:2", "theirs");
    expect(await toldUntil(target, "user:2")).toEqual(["user:2"]);
    await client.call("SET", "user:2", "mine");
    await other.call("SET", "mark", "theirs");
    expect(await toldUntil(target, "mark")).toEqual(["mark"]);
  });

  test.each(MODES)("after SELECT and HELLO it is still so %s", async (...mode) => {
    const client = await tracking(...mode);
    const other = await connect();
    await other.call("SELECT", "3");
    await client.call("SELECT", "3");
    await client.call("HELLO", "2");
    await client.call("HELLO", "3");
    const key = rig.keyIn(2, "selected");
    await client.call("GET", key);
    await until(async () => {
      // A link to the servers takes a moment for a new database; until then own writes are told too.
      await client.call("SET", key, "mine");
      await client.call("GET", key);
      return (await client.taken()).length === 0;
    }, "own writes are not told");
    await expectTold(client, 2, [], (mark) => other.call("SET", mark, "theirs"));
    await other.call("SET", key, "theirs");
    await expectTold(client, 2, [key], (mark) => other.call("SET", mark, "again"));
  });

  test.each(MODES)(
    "a lost connection is told as everything, and what follows is told again %s",
    async (...mode) => {
      const client = await tracking(...mode);
      const other = await connect();
      const key = rig.keyIn(0, "lost");
      await client.call("GET", key);
      await servers[0].command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
      await toldUntil(client, "everything");
      await until(async () => (await other.call("SET", key, "1")) === "OK", "the server is reached again");
      await until(async () => {
        await client.call("GET", key);
        await other.call("SET", key, "2");
        return (await client.taken()).some((push) => (push as Value[])[1]?.toString() === key);
      }, "told again");
    },
  );

  test("a client that tracks no more is told nothing", async () => {
    const [client, other] = [await tracking("BCAST"), await connect()];
    await client.call("CLIENT", "TRACKING", "OFF");
    const witness = await tracking("BCAST");
    await other.call("SET", "anything", "1");
    await toldUntil(witness, "anything");
    expect(await client.taken()).toEqual([]);
  });

  test("no more keys are remembered than tracking-table-max-keys says; INFO counts who tracks", async () => {
    const [reader, broadcast, writer] = await Promise.all([connect(), connect(), connect()]);
    await reader.call("CLIENT", "TRACKING", "ON");
    await broadcast.call("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "a:", "PREFIX", "b:");
    const fields = String(await reader.call("INFO", "everything"));
    expect(fields).toContain("tracking_clients:2\r\n");
    expect(fields).toContain("tracking_total_prefixes:2\r\n");
    await reader.call("SET", "unrelated", "1");
    const keys = [0, 1, 2].flatMap((index) => rig.keysIn(index, 10, "many"));
    await reader.call("MGET", ...keys);
    expect(await writer.call("CONFIG", "SET", "tracking-table-max-keys", "5")).toBe("OK");
    const told: string[] = [];
    await until(() => {
      told.push(...reader.pushes.splice(0).flatMap((push) => (push as [string, string[]])[1]));
      return new Set(told).size >= keys.length - 5;
    }, "room is made");
    // Told once each, be it by the proxy or by a server that makes room as well.
    expect(new Set(told).size).toBe(told.length);
    expect(await writer.call("CONFIG", "SET", "tracking-table-max-keys", "1000000")).toBe("OK");
  });
});
