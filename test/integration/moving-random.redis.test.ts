/**
 * Random slots move between three groups, again and again, under two proxies that hear of it at different
 * moments, while clients do everything at once.
 *
 *   clients ─▶ worker A, worker B ─▶ g1 g2 g3 ◀─ sweep: SCAN, MIGRATE, as the controller does it
 *
 * Each client knows what its keys must hold, so each reply is judged when it comes; counters that all share
 * are judged at the end. No error is allowed. The seed is printed; SHOAL_TEST_SEED=n repeats the choices.
 */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { SlotRange } from "../../src/topology/cluster-map.ts";
import { SeededRandom } from "../differential/streams/seeded-random.ts";
import type { RawClient, Reply } from "../robustness/raw-client.ts";
import { mapOf, Rig, slotOfKey, TRANSPORTS } from "../robustness/rig.ts";
import { RedisProcess } from "../support/redis-process.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(120_000);

const GROUPS = 3;
const SLOTS = 1024;
const CLIENTS_PER_RIG = 6;
const MOVES = 14;
const COUNTERS = 40;

let servers: RedisProcess[];
let rigs: Rig[] = [];
let random: SeededRandom;

beforeEach(async () => {
  servers = await Promise.all(Array.from({ length: GROUPS }, () => RedisProcess.start()));
  const seed = Number(process.env["SHOAL_TEST_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
  console.log(`moves at random: seed ${seed}`);
  random = new SeededRandom(seed);
});

afterEach(async () => {
  await Promise.all(rigs.map((rig) => rig.dispose()));
  await Promise.all(servers.map((server) => server.dispose()));
});

/** The controller's part: who has each slot, and the moves. */
class Mover {
  readonly owners: number[] = Array.from({ length: SLOTS }, (_, slot) => Math.floor((slot * GROUPS) / SLOTS));
  #version = 1;
  #turn = 0;

  /** Hands a map out, to each proxy at another moment; all have acknowledged it when this resolves. */
  async publish(targets: ReadonlyMap<number, number>, phase: "locked" | "moving" | null): Promise<void> {
    const ranges: SlotRange[] = this.owners.map((owner, slot) => {
      const range = { from: slot, to: slot, group: `g${owner + 1}` };
      const to = targets.get(slot);
      return phase === null || to === undefined ? range : { ...range, move: { to: `g${to + 1}`, phase } };
    });
    const map = mapOf(
      servers.map((server) => server.addr),
      ++this.#version,
      1,
      ranges,
    );
    for (const rig of rigs) {
      await Bun.sleep(random.int(20));
      rig.sendMap(map);
    }
    await until(
      () => rigs.every((rig) => rig.acks.includes(map.version)),
      `map ${map.version} is acknowledged`,
      30_000,
    );
  }

  async move(): Promise<void> {
    const targets = new Map<number, number>();
    const count = 100 + random.int(800);
    // A group is never source and target at a time: two servers that migrate to each other stand still.
    const [first, second, third] = [0, 1, 2].map((_, i) => (this.#turn + i) % GROUPS);
    const [sources, takers] = random.int(2) === 0 ? [[first], [second, third]] : [[first, second], [third]];
    this.#turn++;
    for (let i = 0; i < count; i++) {
      const slot = random.int(SLOTS);
      if (sources.includes(this.owners[slot])) targets.set(slot, takers[random.int(takers.length)]);
    }
    await this.publish(targets, "locked");
    if (random.int(5) === 0) return this.publish(targets, null);
    await this.publish(targets, "moving");
    if (random.int(3) === 0) void this.#freeze(servers[random.int(GROUPS)]);
    for (let source = 0; source < GROUPS; source++) await this.#sweep(source, targets);
    for (const [slot, to] of targets) this.owners[slot] = to;
    return this.publish(new Map(), null);
  }

  async #freeze(server: RedisProcess): Promise<void> {
    server.signal("SIGSTOP");
    await Bun.sleep(100 + random.int(200));
    server.signal("SIGCONT");
  }

  async #sweep(source: number, targets: ReadonlyMap<number, number>): Promise<void> {
    for (const database of [0, 1]) {
      let cursor = "0";
      do {
        const [next, keys] = (await this.#at(source, database, "SCAN", cursor, "COUNT", "50")) as [
          string,
          string[],
        ];
        cursor = next;
        for (let target = 0; target < GROUPS; target++) {
          const leaves = (slot: number) => this.owners[slot] === source && targets.get(slot) === target;
          const moving = keys.filter((key) => leaves(slotOfKey(key)));
          await this.#migrate(source, target, database, moving);
        }
        await Bun.sleep(random.int(5));
      } while (cursor !== "0");
    }
  }

  async #migrate(source: number, target: number, database: number, keys: readonly string[]): Promise<void> {
    if (keys.length === 0) return;
    const words = ["MIGRATE", "127.0.0.1", String(servers[target].port), "", String(database), "500", "KEYS"];
    try {
      await this.#at(source, database, ...words, ...keys);
    } catch (error) {
      const text = String(error);
      if (keys.length > 1) for (const key of keys) await this.#migrate(source, target, database, [key]);
      else if (text.includes("BUSYKEY")) await this.#at(source, database, "UNLINK", keys[0]);
      else await this.#migrate(source, target, database, keys);
    }
  }

  /** The connection is in database 0, but for this one command. */
  async #at(server: number, database: number, ...words: string[]): Promise<unknown> {
    const { client } = servers[server];
    if (database === 0) return client.command(words);
    const replies = await client.pipeline([["SELECT", String(database)], words, ["SELECT", "0"]]);
    const reply: unknown = replies[1];
    if (reply instanceof Error || (typeof reply === "object" && reply !== null && "text" in reply))
      throw new Error(String((reply as { text: string }).text));
    return reply;
  }
}

/** One client: random calls about its own keys, and counters that all share. */
class Player {
  readonly counts = new Map<string, number>();
  readonly #client: RawClient;
  readonly #name: string;
  readonly #values = new Map<string, string>();
  readonly #lists = new Map<string, string[]>();
  #calls = 0;

  constructor(client: RawClient, name: string) {
    this.#client = client;
    this.#name = name;
  }

  get calls(): number {
    return this.#calls;
  }

  async play(): Promise<void> {
    this.#calls++;
    const acts = [
      this.#count,
      this.#set,
      this.#many,
      this.#list,
      this.#transact,
      this.#script,
      this.#watch,
      this.#block,
    ];
    await acts[random.int(acts.length)].call(this);
  }

  #key(kind: string): string {
    return `${kind}:${this.#name}:${random.int(60)}`;
  }

  async #count(): Promise<void> {
    const key = `counter:${random.int(COUNTERS)}`;
    expect(await this.#client.call("INCR", key)).toBeNumber();
    this.counts.set(key, (this.counts.get(key) ?? 0) + 1);
  }

  async #set(): Promise<void> {
    const key = this.#key("value");
    const before = this.#values.get(key) ?? null;
    if (random.int(3) === 0) {
      expect(await this.#client.call("DEL", key)).toBe(before === null ? 0 : 1);
      this.#values.delete(key);
      return;
    }
    expect(await this.#client.call("SET", key, `v${this.#calls}`, "GET")).toBe(before);
    this.#values.set(key, `v${this.#calls}`);
  }

  async #many(): Promise<void> {
    const keys = [...new Set(Array.from({ length: 1 + random.int(12) }, () => this.#key("value")))];
    const known = keys.map((key) => this.#values.get(key) ?? null);
    expect(await this.#client.call("MGET", ...keys)).toEqual(known);
    expect(await this.#client.call("MSET", ...keys.flatMap((key) => [key, `m${this.#calls}`]))).toBe("OK");
    for (const key of keys) this.#values.set(key, `m${this.#calls}`);
    expect(await this.#client.call("EXISTS", ...keys)).toBe(keys.length);
  }

  async #list(): Promise<void> {
    const key = this.#key("list");
    const list = this.#lists.get(key) ?? [];
    this.#lists.set(key, list);
    list.push(`e${this.#calls}`);
    expect(await this.#client.call("RPUSH", key, `e${this.#calls}`)).toBe(list.length);
    expect(await this.#client.call("LRANGE", key, "0", "-1")).toEqual([...list]);
  }

  async #transact(): Promise<void> {
    const [a, b] = [`{tag:${random.int(30)}}a`, ""].map((key, _, [first]) => key || first.replace(/a$/, "b"));
    for (const words of [["MULTI"], ["INCR", a], ["INCR", b]]) await this.#client.call(...words);
    const [first, second] = (await this.#client.call("EXEC")) as Reply[];
    expect(first).toBe(second);
    for (const key of [a, b]) this.counts.set(key, (this.counts.get(key) ?? 0) + 1);
  }

  async #script(): Promise<void> {
    const key = `counter:${random.int(COUNTERS)}`;
    expect(await this.#client.call("EVAL", "return redis.call('INCRBY', KEYS[1], 3)", "1", key)).toBeNumber();
    this.counts.set(key, (this.counts.get(key) ?? 0) + 3);
  }

  async #watch(): Promise<void> {
    const key = this.#key("value");
    const before = this.#values.get(key) ?? null;
    expect(await this.#client.call("WATCH", key)).toBe("OK");
    expect(await this.#client.call("GET", key)).toBe(before);
    for (const words of [["MULTI"], ["SET", key, `w${this.#calls}`]]) await this.#client.call(...words);
    const done = await this.#client.call("EXEC");
    if (done === null) return;
    expect(done).toEqual(["OK"]);
    this.#values.set(key, `w${this.#calls}`);
  }

  async #block(): Promise<void> {
    const key = this.#key("queue");
    if (random.int(2) === 0) {
      expect(await this.#client.call("BLPOP", key, "0.01")).toBeNull();
      return;
    }
    await this.#client.call("RPUSH", key, `b${this.#calls}`);
    expect(await this.#client.call("BLPOP", key, "10")).toEqual([key, `b${this.#calls}`]);
  }
}

describe.each(TRANSPORTS)("slots that move at random (%s)", (io) => {
  test("no wrong answer, no error, nothing lost, nothing twice", async () => {
    const settings = { server_timeout_ms: 20_000, server_connect_timeout_ms: 20_000 };
    rigs = await Promise.all([Rig.start(servers, io, settings), Rig.start(servers, io, settings)]);
    const players: Player[] = [];
    for (const [r, rig] of rigs.entries()) {
      for (let i = 0; i < CLIENTS_PER_RIG; i++) {
        const client = await rig.connect();
        // A third of them in another database; its keys are other ones, and so are its counters.
        const elsewhere = i % 3 === 2;
        if (elsewhere) await client.call("SELECT", "1");
        players.push(new Player(client, `${r}.${i}`));
      }
    }
    const mover = new Mover();
    await mover.publish(new Map(), null);
    const state = { running: true };
    const games = players.map(async (player) => {
      while (state.running) await player.play();
    });
    const scans = (async () => {
      const client = await rigs[0].connect();
      while (state.running) expect(Array.isArray(await client.call("KEYS", "counter:*"))).toBe(true);
    })();
    const moves = (async () => {
      for (let i = 0; i < MOVES; i++) await mover.move();
    })();
    await Promise.race([moves, ...games]);
    state.running = false;
    await Promise.all([moves, scans, ...games]);
    const checker = await rigs[1].connect();
    for (const database of [0, 1]) {
      await checker.call("SELECT", String(database));
      const counts = new Map<string, number>();
      for (const [i, player] of players.entries()) {
        if (((i % CLIENTS_PER_RIG) % 3 === 2 ? 1 : 0) !== database) continue;
        for (const [key, count] of player.counts) counts.set(key, (counts.get(key) ?? 0) + count);
      }
      for (const [key, count] of counts)
        expect([key, await checker.call("GET", key)]).toEqual([key, String(count)]);
    }
    const calls = players.reduce((sum, player) => sum + player.calls, 0);
    const pulled = rigs.reduce((sum, rig) => sum + (rig.counters["pulledKeys"] ?? 0), 0);
    console.log(`${io}: ${calls} acts across ${MOVES} moves, ${pulled} keys pulled by the proxies`);
    expect(pulled).toBeGreaterThan(0);
  });
});
