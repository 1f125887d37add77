/** Reads that were under way when their connection broke are answered all the same, and rightly. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { ClusterMap } from "../../src/topology/cluster-map.ts";
import { encode, type RawClient, type Reply, ReplyFault } from "../robustness/raw-client.ts";
import { mapOf, Rig, slotOfKey, type Settings, TRANSPORTS } from "../robustness/rig.ts";
import { RedisProcess } from "../support/redis-process.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(60_000);

const QUICK = { server_timeout_ms: 1200, reconnect_backoff_ms_max: 100 };

let servers: RedisProcess[];
let rig: Rig;

beforeEach(async () => {
  servers = await Promise.all([RedisProcess.start(), RedisProcess.start()]);
});

afterEach(async () => {
  await rig.dispose();
  await Promise.all(servers.map((server) => server.dispose()));
});

async function startRig(io: (typeof TRANSPORTS)[number], settings: Settings = {}): Promise<void> {
  rig = await Rig.start(servers.slice(0, 2), io, { ...QUICK, ...settings });
}

/** The first map with other groups or ranges. */
function mapWith(version: number, change: (map: ClusterMap) => Partial<ClusterMap>): ClusterMap {
  const map = mapOf(
    servers.slice(0, 2).map((server) => server.addr),
    version,
  );
  return { ...map, ...change(map) };
}

function withG2(part: Partial<ClusterMap["groups"][number]>): (map: ClusterMap) => Partial<ClusterMap> {
  return ({ groups }) => ({ groups: groups.map((each) => (each.id === "g2" ? { ...each, ...part } : each)) });
}

/** A replica of g2's primary that is in sync. */
async function startReplica(): Promise<RedisProcess> {
  const replica = await RedisProcess.start(["--replicaof", "127.0.0.1", String(servers[1].port)]);
  servers.push(replica);
  await until(
    async () => String(await replica.command("INFO", "replication")).includes("link_status:up"),
    "in sync",
  );
  return replica;
}

/** One request of a connection of its own. */
async function send(...words: string[]): Promise<{ reply: Promise<Reply> }> {
  const client = await rig.connect();
  return { reply: client.call(...words) };
}

/** A client in another database or protocol, whose connection to the server of `key` is there. */
async function otherClient(key: string, ...words: string[]): Promise<RawClient> {
  const client = await rig.connect();
  await client.call(...words);
  await client.call("GET", key);
  return client;
}

async function infoNumber(name: string): Promise<number> {
  const client = await rig.connect();
  const text = String(await client.call("INFO", "shoal"));
  client.close();
  return Number(new RegExp(`${name}:(\\d+)`).exec(text)?.[1] ?? -1);
}

/**
 * What was written to the proxy before is under way: it had come before this was asked, and what has come is
 * taken in the same turn. INFO can't tell, as it asks the frozen server.
 */
async function allTaken(): Promise<void> {
  const client = await rig.connect();
  for (const word of ["one", "two"]) expect(await client.call("ECHO", word)).toBe(word);
  client.close();
}

const textOf = (reply: Reply): string => (reply as ReplyFault).text;

describe.each(TRANSPORTS)("%s", (io) => {
  test("a primary that dies: its replica answers what only reads, and who has written is told", async () => {
    await startRig(io);
    const [key, counter] = rig.keysIn(1, 2);
    const [other, another] = rig.keysIn(0, 2, "other");
    const setup = await rig.connect();
    for (const each of [key, counter, other]) expect(await setup.call("SET", each, "7")).toBe("OK");
    expect(await setup.call("RPUSH", `{${key}}l`, "x", "y")).toBe(2);
    const replica = await startReplica();
    const pipelined = await rig.connect();
    const resp3 = await otherClient(key, "HELLO", "3");
    const inOne = await otherClient(key, "SELECT", "1");
    servers[1].signal("SIGSTOP");
    const reads = await Promise.all([
      send("GET", key),
      send("MGET", other, key, counter),
      send("EXISTS", key, other, "nothing"),
      send("KEYS", `*${key}*`),
      send("LRANGE", `{${key}}l`, "0", "-1"),
      { reply: resp3.call("GET", key) },
      { reply: inOne.call("GET", key) },
    ]);
    const told = await Promise.all([
      send("INCR", counter),
      send("MSET", another, "8", counter, "8"),
      send("EVAL_RO", "return redis.call('get', KEYS[1])", "1", key),
    ]);
    pipelined.write(
      Buffer.concat([
        encode("GET", counter),
        encode("GET", key),
        encode("INCR", counter),
        encode("GET", key),
      ]),
    );
    await allTaken();
    await servers[1].kill();
    for (const { reply } of told) expect(textOf(await reply)).toEndWith("the command may have run");
    await until(async () => (await infoNumber("shoal_held_clients")) === reads.length + 1, "they wait");
    await replica.command("REPLICAOF", "NO", "ONE");
    rig.sendMap(mapWith(2, withG2({ primary: replica.addr })));
    const answers = await Promise.all(reads.map(({ reply }) => reply));
    (answers[3] as string[]).sort((a, b) => a.length - b.length);
    expect(answers).toEqual(["7", ["7", "7", "7"], 2, [key, `{${key}}l`], ["x", "y"], "7", null]);
    const [passed, first, incr, second] = await pipelined.take(4);
    // What it reads of the counter must not be newer than its own INCR, which may have run.
    for (const fault of [passed, incr]) expect(textOf(fault)).toEndWith("the command may have run");
    expect([first, second]).toEqual(["7", "7"]);
    expect(await replica.command("GET", counter)).toBe("7");
    expect(await infoNumber("shoal_reads_sent_again")).toBe(reads.length + 2);
    expect(await infoNumber("shoal_held_clients")).toBe(0);
  });

  test("a primary that is frozen and replaced: reads are answered by the next one", async () => {
    await startRig(io, { server_timeout_ms: 30_000 });
    const key = rig.keyIn(1);
    const client = await rig.connect();
    expect(await client.call("SET", key, "7")).toBe("OK");
    const replica = await startReplica();
    servers[1].signal("SIGSTOP");
    client.write(Buffer.concat([encode("GET", key), encode("STRLEN", key)]));
    await allTaken();
    await until(
      () => rig.sights.some(({ addr, state }) => addr === servers[1].addr && state === "down"),
      "the freeze is seen",
    );
    await replica.command("REPLICAOF", "NO", "ONE");
    await replica.command("SET", key, "newer");
    rig.sendMap(mapWith(2, withG2({ primary: replica.addr })));
    expect(await client.take(2)).toEqual(["newer", 5]);
    servers[1].signal("SIGCONT");
    expect(await client.call("GET", key)).toBe("newer");
  });

  test("under load, cut off again and again: every read is answered, with its own value", async () => {
    await startRig(io);
    const keys = rig.keysIn(1, 20, "k");
    const setup = await rig.connect();
    const valueOf = (i: number): string => `${keys[i]}:`.padEnd(i % 5 === 0 ? 9000 : 20 + i * 7, "v");
    for (const [i, key] of keys.entries()) expect(await setup.call("SET", key, valueOf(i))).toBe("OK");
    const counter = rig.keyIn(1, "counter");
    const phase = { running: true };
    const seen = { reads: 0, added: 0, unknown: 0 };
    // Large ones leave in blocks of their own, which are not kept.
    const large = "w".repeat(40_000);
    const load = Array.from({ length: 8 }, async (_, salt) => {
      const client: RawClient = await rig.connect();
      while (phase.running) {
        const requests = keys.map((key, i) =>
          i % 7 === 3 ? encode("MGET", key, keys[i - 1]) : encode("GET", key),
        );
        const last = salt < 2 ? encode("SET", `${counter}:large:${salt}`, large) : encode("INCR", counter);
        client.write(Buffer.concat([...requests, last]));
        for (const i of keys.keys()) {
          const reply = await client.next();
          expect(reply).toEqual(i % 7 === 3 ? [valueOf(i), valueOf(i - 1)] : valueOf(i));
          seen.reads++;
        }
        const wrote = await client.next();
        if (salt < 2) continue;
        if (wrote instanceof ReplyFault) seen.unknown++;
        else seen.added++;
      }
    });
    for (let round = 0; round < 10; round++) {
      const before = seen.reads;
      await until(() => seen.reads > before + 600, "served");
      await servers[1].command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
    }
    phase.running = false;
    await Promise.all(load);
    const counted = Number(await servers[1].command("GET", counter));
    const again = await infoNumber("shoal_reads_sent_again");
    console.log(`${io}: ${seen.reads} reads, ${again} of them sent again; ${seen.unknown} writes unknown`);
    expect(again).toBeGreaterThan(0);
    expect(counted).toBeGreaterThanOrEqual(seen.added);
    expect(counted).toBeLessThanOrEqual(seen.added + seen.unknown);
  });

  test("its slot moves by then: the key is fetched first, then the new home answers", async () => {
    await startRig(io);
    const key = rig.keyIn(1);
    const client = await rig.connect();
    expect(await client.call("SET", key, "7")).toBe("OK");
    servers[1].signal("SIGSTOP");
    const read = client.call("GET", key);
    await allTaken();
    const slot = slotOfKey(key);
    const move = { to: "g1", phase: "moving" as const };
    rig.sendMap(
      mapWith(2, ({ ranges }) => ({
        ranges: ranges.flatMap((range) => {
          if (slot < range.from || slot > range.to) return [range];
          const pieces = [
            { ...range, to: slot - 1 },
            { ...range, from: slot, to: slot, move },
            { ...range, from: slot + 1 },
          ];
          return pieces.filter(({ from, to }) => from <= to);
        }),
      })),
    );
    await until(async () => (await infoNumber("shoal_server_timeouts")) > 0, "the connection is given up");
    servers[1].signal("SIGCONT");
    expect(await read).toBe("7");
    expect(await servers[0].command("GET", key)).toBe("7");
    expect(await servers[1].command("EXISTS", key)).toBe(0);
  });

  test("what was read from a replica that dies: the primary answers, where it may", async () => {
    await startRig(io);
    const key = rig.keyIn(1);
    const client = await rig.connect();
    expect(await client.call("SET", key, "7")).toBe("OK");
    const replica = await startReplica();
    const use = async (version: number, read_from: string): Promise<void> => {
      const map = mapWith(version, withG2({ replicas: [replica.addr] }));
      rig.sendMap({ ...map, options: { read_from } });
      await until(() => rig.acks.includes(version), "in force");
    };
    await use(2, "prefer-replica");
    const reader = await rig.connect();
    const replicaReads = async (): Promise<number> => infoNumber("shoal_replica_reads");
    const readOne = async (): Promise<boolean> => {
      const before = await replicaReads();
      expect(await reader.call("GET", key)).toBe("7");
      return (await replicaReads()) > before;
    };
    await until(readOne, "the replica is read");
    const before = await infoNumber("shoal_replica_reads");
    replica.signal("SIGSTOP");
    const read = reader.call("GET", key);
    await until(async () => (await infoNumber("shoal_replica_reads")) > before, "it is under way");
    await replica.kill();
    expect(await read).toBe("7");
    expect(await infoNumber("shoal_reads_sent_again")).toBe(1);
  });
});
