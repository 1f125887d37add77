/** Reads from replicas of which one is really behind: its stream of changes is kept on the way to it. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { ClusterMap } from "../../src/topology/cluster-map.ts";
import { mapOf, Rig, TRANSPORTS } from "../robustness/rig.ts";
import { RedisProcess } from "../support/redis-process.ts";
import { RelayedRedis } from "../support/redis-relay.ts";
import { RespClient } from "../support/resp-client.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(30_000);

/** What was under way to a frozen replica ends later than the replica counts as silent. */
const SETTINGS = { server_timeout_ms: 1500, reconnect_backoff_ms_max: 100, zone: "near" };
/** A replica that is silent for so long is not read; see offset-sampler.ts. */
const SILENT_MS = 700;
const KEY = "count";

let primary: RelayedRedis;
let a: RedisProcess;
let b: RedisProcess;
let rig: Rig;
let version = 1;

beforeAll(async () => {
  primary = await RelayedRedis.behindRelay();
  const following = ["--replicaof", "127.0.0.1", String(primary.relay?.port)];
  [a, b] = await Promise.all([RedisProcess.start(following), RedisProcess.start(following)]);
  await primary.command("SET", KEY, "0");
  for (const replica of [a, b])
    await until(async () => (await replica.command("GET", KEY)) === "0", "in sync");
  rig = await Rig.start([primary], TRANSPORTS[0], SETTINGS);
});

afterAll(async () => {
  await rig.dispose();
  for (const server of [a, b, primary]) {
    server.signal("SIGCONT");
    await server.dispose();
  }
});

async function use(options: ClusterMap["options"], zones: Record<string, string> = {}): Promise<void> {
  const map = mapOf([primary.addr], ++version);
  const groups = map.groups.map((group) => ({ ...group, replicas: [a.addr, b.addr], zones }));
  rig.sendMap({ ...map, groups, options });
  await until(() => rig.acks.includes(version), "the map is in force");
}

async function write(value: number, ...untilAt: RedisProcess[]): Promise<void> {
  await primary.command("SET", KEY, String(value));
  for (const replica of untilAt)
    await until(async () => (await replica.command("GET", KEY)) === String(value), "it has it");
}

async function callsAt(server: RedisProcess, command: string): Promise<number> {
  const stats = String(await server.command("INFO", "commandstats"));
  return Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0);
}

const readsAt = (server: RedisProcess): Promise<number> => callsAt(server, "get");

/** A session that never may see a smaller number than it has seen. */
class Reader {
  seen = -1;
  readonly #client: RespClient;

  private constructor(client: RespClient) {
    this.#client = client;
  }

  static async connect(): Promise<Reader> {
    return new Reader(await RespClient.connect(rig.port));
  }

  /** An error is no answer, and nothing that goes backwards. */
  async read(): Promise<void> {
    const reply = await this.#client.text("GET", KEY);
    if (reply.startsWith("-")) return;
    const value = Number(reply.split("\r\n")[1]);
    expect(value).toBeGreaterThanOrEqual(this.seen);
    this.seen = value;
  }

  close(): void {
    this.#client.close();
  }
}

const readAll = (readers: readonly Reader[]): Promise<unknown> =>
  Promise.all(readers.map((one) => one.read()));

/** Sessions that all read from replicas by now, and some from each. */
async function settledReaders(): Promise<Reader[]> {
  let readers: Reader[] = [];
  await until(async () => {
    const before = await Promise.all([primary, a, b].map(readsAt));
    await readAll(readers);
    const after = await Promise.all([primary, a, b].map(readsAt));
    if (after[0] === before[0] && after[1] > before[1] && after[2] > before[2]) return true;
    // A session stays where it began, and the first ones began where the connection was there first.
    for (const reader of readers) reader.close();
    readers = await Promise.all(Array.from({ length: 6 }, () => Reader.connect()));
    await readAll(readers);
    return false;
  }, "both replicas are read, and the primary is not");
  return readers;
}

describe("a replica that is behind", () => {
  test.each(["replica", "prefer-replica"])(
    "L13: %s: who has read the newer state does not fall back to it",
    async (read_from) => {
      await use({ read_from });
      await write(1, a, b);
      const readers = await settledReaders();
      primary.relay?.holdReplica(b.port);
      await write(2, a);
      await readAll(readers);
      const ahead = readers.filter((one) => one.seen === 2);
      expect([ahead.length > 0, ahead.length < readers.length]).toEqual([true, true]);
      // The one that is ahead freezes: the other one answers, and does not have what these have seen. For one
      // session a connection breaks, for the others a server has fallen silent.
      a.signal("SIGSTOP");
      const frozenMs = performance.now();
      const readsBefore = await readsAt(b);
      const underWay = ahead[0].read();
      await until(() => performance.now() - frozenMs > SILENT_MS, "it counts as silent");
      await readAll(readers.filter((one) => one !== ahead[0]));
      await underWay;
      await readAll(readers);
      expect(await readsAt(b)).toBeGreaterThan(readsBefore);
      primary.relay?.heal();
      await until(async () => {
        await readAll(readers);
        return readers.every((one) => one.seen === 2);
      }, "the other one has caught up and is read by all");
      a.signal("SIGCONT");
      for (const reader of readers) reader.close();
    },
  );

  test("L13: one that was started again from an older file is not read on from", async () => {
    await use({ read_from: "replica" });
    const early = await Reader.connect();
    await early.read();
    await write(11, a, b);
    const samples = await callsAt(primary, "role");
    await until(async () => (await callsAt(primary, "role")) > samples + 1, "the proxy knows this state");
    await a.command("SAVE");
    await write(12, a, b);
    const readers = await settledReaders();
    expect(readers.every((one) => one.seen === 12)).toBe(true);
    // Nobody reads while it is away. It goes on from where its file ends: connected, and behind.
    primary.relay?.holdReplica(a.port);
    await a.kill();
    await a.launch();
    await until(async () => String(await a.command("ROLE")).includes(",connected,"), "it follows again");
    expect(await a.command("GET", KEY)).toBe("11");
    const before = await readsAt(a);
    await until(async () => {
      const fresh = await Reader.connect();
      await fresh.read();
      fresh.close();
      return (await readsAt(a)) > before;
    }, "sessions that have seen nothing yet read from it");
    await readAll(readers);
    primary.relay?.heal();
    await until(async () => (await a.command("GET", KEY)) === "12", "it has caught up");
    await readAll(readers);
    for (const reader of [early, ...readers]) reader.close();
  });
});

test("nearest: the proxy's own zone answers as long as it can", async () => {
  await use({ read_from: "nearest" }, { [a.addr]: "near", [b.addr]: "far", [primary.addr]: "far" });
  await write(21, a, b);
  await until(async () => {
    const before = await readsAt(a);
    const reader = await Reader.connect();
    await reader.read();
    reader.close();
    return (await readsAt(a)) > before;
  }, "the zone is known");
  const readers = await Promise.all(Array.from({ length: 8 }, () => Reader.connect()));
  const before = await Promise.all([primary, a, b].map(readsAt));
  for (let round = 0; round < 5; round++) await readAll(readers);
  const after = await Promise.all([primary, a, b].map(readsAt));
  expect(after.map((count, i) => count - before[i])).toEqual([0, 40, 0]);
  a.signal("SIGSTOP");
  await until(async () => {
    await readAll(readers);
    return (await readsAt(primary)) + (await readsAt(b)) > after[0] + after[2] + 8;
  }, "the other zone answers");
  a.signal("SIGCONT");
  await until(async () => {
    const reader = await Reader.connect();
    await reader.read();
    reader.close();
    return (await readsAt(a)) > after[1] + 8;
  }, "and the own one again");
  for (const reader of readers) reader.close();
});
