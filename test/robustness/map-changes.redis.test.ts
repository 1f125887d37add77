/** A new map under load: nothing lost, nothing crossed, nothing acknowledged too early. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { ClusterMap } from "../../src/topology/cluster-map.ts";
import { RedisProcess } from "../support/redis-process.ts";
import { until } from "../support/until.ts";
import { encode, type RawClient } from "./raw-client.ts";
import { mapOf, Rig, TRANSPORTS } from "./rig.ts";

setDefaultTimeout(60_000);

let servers: RedisProcess[];
let rig: Rig;

beforeEach(async () => {
  servers = await Promise.all([RedisProcess.start(), RedisProcess.start()]);
});

afterEach(async () => {
  await rig.dispose();
  await Promise.all(servers.map((server) => server.dispose()));
});

function addresses(): string[] {
  return servers.map((server) => server.addr);
}

/** The map in which group g1 or g2 has all slots. */
function allIn(group: string, version: number, term = 1): ClusterMap {
  return mapOf(addresses(), version, term, [{ from: 0, to: 1023, group }]);
}

/** Sets a key on a server past the proxy. */
async function put(server: number, key: string, value: string): Promise<void> {
  await servers[server].command("SET", key, value);
}

/** Whether a reply stays away although the worker works: other requests go round many times. */
async function staysAway(pending: () => boolean, busy: RawClient): Promise<boolean> {
  const deadline = performance.now() + 300;
  while (performance.now() < deadline) {
    expect(await busy.call("PING")).toBe("PONG");
    if (!pending()) return false;
  }
  return true;
}

/** Whether a new client gets the new place's value; before the map is in force it would wait for ever. */
async function answersElsewhere(key: string): Promise<boolean> {
  const probe = await rig.connect();
  const late = Bun.sleep(200).then(() => null);
  const reply = await Promise.race([probe.call("GET", key).catch(() => null), late]);
  probe.close();
  return reply === "new place";
}

describe.each(TRANSPORTS)("a new map (%s)", (io) => {
  test("back and forth while clients pipeline: each reply belongs to its request", async () => {
    rig = await Rig.start(servers, io);
    const keys = Array.from({ length: 60 }, (_, i) => `moving:${i}`);
    for (const server of [0, 1])
      await servers[server].command("MSET", ...keys.flatMap((key) => [key, `${key}@${server}`]));
    const clients = await Promise.all(Array.from({ length: 8 }, () => rig.connect()));
    const phase = { running: true };
    let replies = 0;
    const load = clients.map(async (client, who) => {
      for (let round = who; phase.running; round++) {
        const asked = Array.from({ length: 50 }, (_, i) => keys[(round * 7 + i * 13) % keys.length]);
        client.write(Buffer.concat([...asked.map((key) => encode("GET", key)), encode("MGET", ...asked)]));
        for (const key of asked) expect([`${key}@0`, `${key}@1`]).toContain((await client.next()) as string);
        const list = (await client.next()) as string[];
        expect(list.map((value) => value.split("@")[0])).toEqual(asked);
        replies += 51;
      }
    });
    for (let version = 2; version <= 30; version++) {
      const before = replies;
      rig.sendMap(allIn(version % 2 === 0 ? "g1" : "g2", version));
      await until(
        () => rig.acks.includes(version) && replies > before + 300,
        `map ${version} is acknowledged`,
      );
    }
    phase.running = false;
    await Promise.all(load);
    console.log(`${io}: ${replies} replies across 29 maps`);
    expect(rig.acks).toEqual(Array.from({ length: 30 }, (_, i) => i + 1));
    expect(await clients[0].call("GET", keys[0])).toBe(`${keys[0]}@0`);
  });

  test("older ones, and those of another cluster, are refused and not acknowledged", async () => {
    rig = await Rig.start(servers, io);
    await put(0, "k", "first");
    await put(1, "k", "second");
    const client = await rig.connect();
    rig.sendMap(allIn("g1", 7, 3));
    await until(() => rig.acks.includes(7), "map 7 is acknowledged");
    rig.sendMap(allIn("g2", 6, 3));
    rig.sendMap(allIn("g2", 7, 3));
    rig.sendMap(allIn("g2", 9, 2));
    rig.sendMap({ ...allIn("g2", 9, 3), cluster: "another" });
    rig.sendMap({ ...allIn("g2", 9, 3), slots: 1000 });
    rig.sendMap({ ...allIn("g2", 9, 3), ranges: [{ from: 0, to: 1000, group: "g2" }] });
    rig.sendMap(allIn("g1", 8, 3));
    await until(() => rig.acks.includes(8), "map 8 is acknowledged");
    expect(rig.acks).toEqual([1, 7, 8]);
    expect(await client.call("GET", "k")).toBe("first");
  });

  test.each([2, 3])(
    "another primary: EXEC answers nil, scripts and functions are there (RESP%d)",
    async (resp) => {
      const spare = await RedisProcess.start();
      servers.push(spare);
      rig = await Rig.start(servers.slice(0, 2), io);
      const client = await rig.connect();
      await client.call("HELLO", String(resp));
      const key = rig.keyIn(1);
      const sha = String(await client.call("SCRIPT", "LOAD", "return {KEYS[1], 'script'}"));
      const library = "#!lua name=l\nredis.register_function('f', function(keys) return keys[1] end)";
      expect(await client.call("FUNCTION", "LOAD", library)).toBe("l");
      expect(await client.call("WATCH", key)).toBe("OK");
      rig.sendMap(mapOf([servers[0].addr, spare.addr], 2));
      await until(() => rig.acks.includes(2), "the map is acknowledged");
      expect(await client.call("MULTI")).toBe("OK");
      expect(await client.call("SET", key, "v")).toBe("QUEUED");
      expect(await client.call("EXEC")).toBeNull();
      expect(await client.call("GET", key)).toBeNull();
      // The new primary has seen neither the script nor the library.
      expect(await client.call("EVALSHA", sha, "1", key)).toEqual([key, "script"]);
      expect(await client.call("FCALL", "f", "1", key)).toBe(key);
      await client.call("MULTI");
      await client.call("EVALSHA", sha, "1", key);
      await client.call("FCALL", "f", "1", key);
      expect(await client.call("EXEC")).toEqual([[key, "script"], key]);
    },
  );

  /** How a slot leaves its server: its group gets another primary, or another group gets the slot. */
  const changes: ReadonlyArray<readonly [string, () => ClusterMap]> = [
    ["another primary", () => mapOf([servers[1].addr, servers[1].addr], 2)],
    ["another group", () => allIn("g2", 2)],
  ];

  /** What is under way at the old place meanwhile. */
  const underWay: ReadonlyArray<readonly [string, (key: string, elsewhere: string) => Buffer]> = [
    ["GET", (key) => encode("GET", key)],
    ["MSET over both", (key, elsewhere) => encode("MSET", key, "x", elsewhere, "y")],
    ["SET of 3 MiB", (key) => encode("SET", key, Buffer.alloc(3 << 20, "z"))],
  ];

  for (const [change, makeMap] of changes) {
    test.each(underWay)(
      `${change}, while %s is under way: acknowledged after its end`,
      async (_name, requestFor) => {
        rig = await Rig.start(servers, io, { server_timeout_ms: 20_000, server_connect_timeout_ms: 20_000 });
        const [key, elsewhere] = [rig.keyIn(0, "late"), rig.keyIn(1, "late")];
        await put(0, key, "old place");
        await put(1, key, "new place");
        const [client, other] = [await rig.connect(), await rig.connect()];
        expect(await client.call("GET", key)).toBe("old place");
        // From here on there is a connection for large values: on a new one nothing would be under way yet.
        expect(await client.call("SET", rig.keyIn(0, "large"), "z".repeat(3 << 20))).toBe("OK");
        servers[0].signal("SIGSTOP");
        client.write(requestFor(key, elsewhere));
        await until(
          async () => ((await other.call("CLIENT", "LIST")) as string).split("\n").length === 3,
          "it works",
        );
        await until(() => rig.counters["inFlight"] > 0, "the request is under way");
        rig.sendMap(makeMap());
        await until(() => answersElsewhere(key), "the map is in force");
        // The same client's next request to that slot waits for its turn.
        client.write(encode("GET", key));
        let answers = 0;
        const first = client.next().then((reply) => (answers++, reply));
        expect(await staysAway(() => !rig.acks.includes(2) && answers === 0, other)).toBe(true);
        servers[0].signal("SIGCONT");
        expect(["OK", "old place"]).toContain((await first) as string);
        expect(await client.next()).toBe("new place");
        await until(() => rig.acks.includes(2), "the map is acknowledged");
        await until(() => rig.counters["inFlight"] === 0, "nothing is left");
      },
    );
  }

  test("a server that never answers again does not hold up the acknowledgement for ever", async () => {
    rig = await Rig.start(servers, io, { server_timeout_ms: 500 });
    const key = rig.keyIn(0, "late");
    await put(1, key, "new place");
    const [client, other] = [await rig.connect(), await rig.connect()];
    expect(await client.call("GET", key)).toBeNull();
    servers[0].signal("SIGSTOP");
    client.write(Buffer.concat([encode("GET", key), encode("GET", key)]));
    await until(() => rig.counters["inFlight"] > 0, "the request is under way");
    rig.sendMap(allIn("g2", 2));
    expect(await other.call("PING")).toBe("PONG");
    await until(() => rig.acks.includes(2), "the map is acknowledged");
    expect(await client.take(2)).toHaveLength(2);
    expect(await client.call("GET", key)).toBe("new place");
  });
});
