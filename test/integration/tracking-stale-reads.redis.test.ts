/**
 * Readers with a cache of their own, writers elsewhere: after each quiet moment a cache holds what the server
 * holds, whatever happened to connections, servers and the map meanwhile.
 *
 *   readers (caches) ─▶ proxy A ─▶ three servers ◀─ proxy B ◀─ writers
 *                                     ▲─────────────────────── writers past the proxies
 *
 *   SHOAL_TRACKING_SEED=123    begins with this seed instead of one from the clock
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
import { createClient } from "redis";
import { SeededRandom } from "../differential/streams/seeded-random.ts";
import { mapOf, Rig, slotOfKey, TRANSPORTS } from "../robustness/rig.ts";
import type { SlotRange } from "../../src/topology/cluster-map.ts";
import { RedisProcess } from "../support/redis-process.ts";
import { until } from "../support/until.ts";
import { CachingClient, TrackingClient } from "./tracking-client.ts";

setDefaultTimeout(60_000);

const SEED = Number(process.env.SHOAL_TRACKING_SEED ?? Date.now() % 1_000_000_000);
/** How long an invalidation may be on its way. */
const ARRIVAL_MS = 3000;
const READERS = 6;
const STEPS = 120;
const KEYS = [0, 1, 2].flatMap((tag) =>
  Array.from({ length: 12 }, (_, i) => (i < 4 ? `{tag${tag}}:${i}` : `k:${tag}:${i}`)),
);
/** How readers track; those with NOLOOP also write, and are told of others' writes only. */
const MODES: Readonly<Record<string, readonly string[][]>> = {
  readers: [[], [], [], ["BCAST"], ["OPTOUT"], ["BCAST", "PREFIX", "k:", "PREFIX", "{tag"]],
  "readers that write": [
    ["NOLOOP"],
    ["NOLOOP"],
    ["BCAST", "NOLOOP"],
    ["BCAST", "NOLOOP"],
    ["BCAST", "NOLOOP", "PREFIX", "k:", "PREFIX", "{tag"],
    [],
  ],
};
/** What happens, once under load and once in quiet. */
const EVENTS = ["nothing", "kill", "restart", "map", "flush", "map", "kill"] as const;

let servers: RedisProcess[];

beforeAll(async () => {
  servers = await Promise.all([RedisProcess.start(), RedisProcess.start(), RedisProcess.start()]);
});
afterAll(async () => {
  await Promise.all(servers.map((server) => server.dispose()));
});

describe.each(TRANSPORTS)("no stale reads (%s)", (io) => {
  let rigs: Rig[];
  let random: SeededRandom;
  /** Which server holds the first, second and third share of the slots. */
  let order: number[];
  let mapVersion: number;
  let version: number;

  beforeEach(async () => {
    random = new SeededRandom(SEED);
    order = [0, 1, 2];
    mapVersion = 1;
    version = 0;
    const settings = { reconnect_backoff_ms_min: 10, reconnect_backoff_ms_max: 50 };
    rigs = await Promise.all([0, 1].map(() => Rig.start(servers, io, settings)));
  });
  afterEach(() => Promise.all(rigs.map((rig) => rig.dispose())));

  const shares = (): SlotRange[] => [...mapOf(servers.map((server) => server.addr)).ranges];

  function serverOf(key: string): RedisProcess {
    const slot = slotOfKey(key);
    return servers[order[shares().findIndex(({ from, to }) => slot >= from && slot <= to)]];
  }

  async function valueOf(key: string): Promise<string | null> {
    return (await serverOf(key).command("GET", key)) as string | null;
  }

  async function happen(event: (typeof EVENTS)[number]): Promise<void> {
    const victim = servers[random.int(3)];
    if (event === "kill") await victim.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
    else if (event === "flush") await victim.command("FLUSHALL");
    else if (event === "restart") {
      await victim.kill();
      await victim.launch();
    } else if (event === "map") {
      order = [order[1], order[2], order[0]];
      const addresses = servers.map((server) => server.addr);
      const ranges = shares().map(({ from, to }, i) => ({ from, to, group: `g${order[i] + 1}` }));
      // The servers stay, the slots are served by others of them.
      const map = mapOf(addresses, ++mapVersion, 1, ranges);
      for (const rig of rigs) rig.sendMap(map);
      await until(() => rigs.every((rig) => rig.acks.includes(mapVersion)), "the map is in force");
    }
  }

  /** Errors are part of this: a server is away at times, or loads, which in a transaction is an EXECABORT. */
  async function tolerant(work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      expect(String(error)).toMatch(/Cannot reach|LOADING|EXECABORT|connection/);
    }
  }

  /** Writes growing versions, through proxy B and past it. */
  async function write(through: TrackingClient, direct: boolean): Promise<void> {
    for (let step = 0; step < STEPS; step++) {
      const key = random.pick(KEYS);
      const value = String(++version);
      if (direct) await tolerant(() => serverOf(key).command("SET", key, value));
      else await tolerant(() => through.call("SET", key, value));
    }
  }

  async function read(reader: CachingClient, mode: readonly string[]): Promise<void> {
    for (let step = 0; step < STEPS; step++) {
      const kind = random.int(10);
      if (kind > 7 && mode.includes("NOLOOP")) {
        const value = String(++version);
        await tolerant(() => reader.set(random.pick(KEYS), value, mode.includes("BCAST")));
      } else if (kind === 0)
        await tolerant(() => reader.getAll(Array.from({ length: 5 }, () => random.pick(KEYS))));
      else if (kind === 1) {
        const tag = random.int(3);
        await tolerant(() => reader.getInTransaction([`{tag${tag}}:0`, `{tag${tag}}:${random.int(4)}`]));
      } else await tolerant(() => reader.get(random.pick(KEYS)));
    }
  }

  test.each(Object.keys(MODES))(`%s: cached is what is there (SHOAL_TRACKING_SEED=${SEED})`, async (name) => {
    const modes = MODES[name];
    const readers = await Promise.all(
      Array.from({ length: READERS }, (_, i) =>
        CachingClient.connect(rigs[0].port, ...modes[i % modes.length]),
      ),
    );
    const library = createClient({
      url: `redis://127.0.0.1:${rigs[0].port}`,
      RESP: 3,
      clientSideCache: { ttl: 0, maxEntries: 0, evictPolicy: "LRU" },
    });
    library.on("error", () => undefined);
    await library.connect();
    const writer = await TrackingClient.connect(rigs[1].port);

    const readLibrary = async (): Promise<void> => {
      for (let step = 0; step < STEPS; step++) await tolerant(() => library.get(random.pick(KEYS)));
    };
    /** Keys of which something else is cached than the server has. */
    const stale = async (): Promise<string[]> => {
      const wrong: string[] = [];
      for (const key of KEYS) {
        const value = await valueOf(key);
        readers.forEach(({ cache }, i) => {
          if (cache.has(key) && cache.get(key) !== value) wrong.push(`reader ${i}: ${key}`);
        });
        if ((await library.get(key)) !== value) wrong.push(`node-redis: ${key}`);
      }
      return wrong;
    };
    const expectNoneStale = async (when: string): Promise<void> => {
      let wrong: string[] = [];
      const agrees = async (): Promise<boolean> => (wrong = await stale()).length === 0;
      await until(agrees, `no stale value ${when}`, ARRIVAL_MS).catch((error: Error) => {
        throw new Error(`${error.message}: ${wrong.join(", ")}`, { cause: error.cause });
      });
      // A cache that holds nothing would never be stale. A server may be away for a moment more.
      await until(async () => {
        const fill = Promise.all(readers.map((reader) => reader.getAll(KEYS)));
        await Promise.all([fill, ...KEYS.map((key) => library.get(key))]);
        return readers.every(({ cache }) => cache.size > KEYS.length / 2);
      }, "the caches fill again");
    };
    for (const event of EVENTS) {
      const readAndWrite = [readLibrary(), write(writer, false), write(writer, true)];
      await Promise.all([
        ...readers.map((reader, i) => read(reader, modes[i % modes.length])),
        ...readAndWrite,
        happen(event),
      ]);
      await expectNoneStale(`after ${event} under load`);
      await happen(event);
      await expectNoneStale(`after ${event} in quiet`);
    }
    for (const reader of readers) expect(reader.hits).toBeGreaterThan(STEPS / 2);
    expect(library.clientSideCache?.stats().hitCount).toBeGreaterThan(STEPS);
    for (const reader of readers) {
      expect(reader.closed).toBe(false);
      reader.close();
    }
    writer.close();
    library.destroy();
  });
});
