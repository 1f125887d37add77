/** Moving slots while controllers and servers die at random moments; and a source that forgets (L8b). */
import { afterEach, describe, expect, test } from "bun:test";
import { RedisServer } from "../../src/redis/redis-server.ts";
import { claimServer, moverUser } from "../../src/controller/moves/mover-user.ts";
import { type RedisProcess, testEnv } from "../support/redis-process.ts";
import { until } from "../support/until.ts";
import { MovesRig, slotOfText } from "./moves-rig.ts";

const KEYS = 3000;

const rigs: MovesRig[] = [];
const others: RedisServer[] = [];
afterEach(async () => {
  for (const other of others.splice(0)) other.close();
  for (const rig of rigs.splice(0)) await rig.stop();
});

async function start(...args: Parameters<typeof MovesRig.start>): Promise<MovesRig> {
  const rig = await MovesRig.start(...args);
  rigs.push(rig);
  return rig;
}

/** `k1` … `kN`, each with its own value. */
async function fill(server: RedisProcess): Promise<void> {
  await server.command("EVAL", `for i=1,${KEYS} do redis.call('set','k'..i,'v'..i) end`, "0");
}

async function keysOf(server: RedisProcess): Promise<string[]> {
  return (await server.command("KEYS", "*")) as string[];
}

/** Every key is at exactly one of the servers, with its value. */
async function checkAll(servers: readonly RedisProcess[]): Promise<void> {
  const seen: string[] = [];
  for (const server of servers) {
    const keys = await keysOf(server);
    seen.push(...keys);
    if (keys.length === 0) continue;
    const values = (await server.command("MGET", ...keys)) as string[];
    keys.forEach((key, index) =>
      expect({ key, value: values[index] }).toEqual({ key, value: `v${key.slice(1)}` }),
    );
  }
  expect(seen.length).toBe(KEYS);
  expect(new Set(seen).size).toBe(KEYS);
}

function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

const newSeed = (): number => Number(process.env["SEED"] ?? Math.floor(Math.random() * 1e9));

describe("a move", () => {
  test("goes on from the store when its controller dies, wherever it was", async () => {
    const seed = newSeed();
    console.log(`seed ${seed}`);
    const next = random(seed);
    const rig = await start(3, 0, { lease_ms: 600 });
    const proxy = rig.addProxy("p1");
    await until(() => proxy.acked !== null, "the proxy serves");
    const servers = rig.groups.map(({ primary }) => primary);
    await fill(servers[0]);
    await rig.api("POST", "/api/v1/moves/limit", { keysPerSecond: 300 });
    await rig.move(0, 170, "g2");
    await rig.move(171, 340, "g3");
    for (let death = 2; death <= 5 && (await rig.moves()).moves.length > 0; death++) {
      const dying = rig.controller;
      await until(() => next() < 0.05, "a moment");
      // Nothing is finished and nothing is given back: what is under way is left as it is.
      await dying.stop();
      await rig.startController("c1");
      await until(() => rig.controller.state.leading, "the next one leads");
      void proxy.follow();
    }
    await rig.api("POST", "/api/v1/moves/limit", { keysPerSecond: null });
    await rig.untilIdle(30_000);
    await checkAll(servers);
    const strange = (await keysOf(servers[0])).filter((key) => slotOfText(key) < 341);
    expect(strange).toEqual([]);
  }, 60_000);

  test("goes on when source and target are killed and come back", async () => {
    const seed = newSeed();
    console.log(`seed ${seed}`);
    const next = random(seed);
    const durable = ["--appendonly", "yes", "--appendfsync", "always"];
    const rig = await start(2, 0, { failover: "manual" }, durable);
    const proxy = rig.addProxy("p1");
    await until(() => proxy.acked !== null, "the proxy serves");
    const servers = rig.groups.map(({ primary }) => primary);
    await fill(servers[0]);
    await rig.api("POST", "/api/v1/moves/limit", { keysPerSecond: 1500 });
    await rig.move(0, 511, "g2");
    for (let kill = 0; kill < 4; kill++) {
      const moved = async (): Promise<number> => Number((await rig.moves()).moves[0]?.keysMoved ?? KEYS);
      const before = await moved();
      const some = before + next() * 300;
      await until(async () => (await moved()) >= Math.min(some, KEYS / 2), "some more have gone");
      const victim = servers[Math.floor(next() * 2)];
      await victim.kill();
      await victim.launch();
    }
    await rig.untilIdle(30_000);
    await checkAll(servers);
    expect((await keysOf(servers[0])).every((key) => slotOfText(key) >= 512)).toBe(true);
  }, 60_000);

  test("L14: a leader of the past that wakes up moves nothing: its successor has shut it out", async () => {
    const rig = await start(1);
    const [{ primary }] = rig.groups;
    const asMover = (term: number): RedisServer => {
      const connection = new RedisServer(testEnv(), {
        address: primary.addr,
        credentials: moverUser(term, "g1", `password${term}`),
        connectTimeoutMs: 1000,
        commandTimeoutMs: 1000,
      });
      others.push(connection);
      return connection;
    };
    expect(await claimServer(primary.client, moverUser(7, "g1", "password7"))).toBe(true);
    const past = asMover(7);
    await past.command(["SET", "k", "1"]);
    expect(await claimServer(primary.client, moverUser(8, "g1", "password8"))).toBe(true);
    await expect(past.command(["SET", "k", "2"])).rejects.toThrow();
    await expect(claimServer(primary.client, moverUser(7, "g1", "password7"))).rejects.toThrow(
      "a later leader does",
    );
    expect(await asMover(8).command(["GET", "k"])).toBe("1");
  }, 30_000);
});

describe("L8b: the source fails over to a replica that has not seen the deletions", () => {
  /**
   * Half-way through a move, keys at the target newly written, the source's primary gone, an old copy in its
   * place.
   */
  async function forgetHalfWay(): Promise<{ rig: MovesRig; written: string[]; source: RedisProcess }> {
    const rig = await start(2, 1, { failover: "manual", down_after_ms: 500 });
    const [{ primary, replicas }, target] = rig.groups;
    const [replica] = replicas;
    const proxy = rig.addProxy("p1");
    await until(() => proxy.acked !== null, "the proxy serves");
    await fill(primary);
    await until(async () => (await keysOf(replica)).length === KEYS, "the replica has all of it");
    await replica.command("SAVE");
    await replica.kill();
    await rig.api("POST", "/api/v1/moves/limit", { keysPerSecond: 400 });
    await rig.move(0, 511, "g2");
    await until(async () => (await keysOf(target.primary)).length > 100, "some have gone");
    await rig.api("POST", "/api/v1/moves/pause");
    const written = (await keysOf(target.primary)).slice(0, 50);
    for (const key of written) await target.primary.command("SET", key, "newer");
    await primary.kill();
    await replica.launch();
    // All keys are back at the source, those that have moved among them.
    expect(await replica.command("DBSIZE")).toBe(KEYS);
    await rig.controller.state.change({ type: "promoted", group: "g1", primary: replica.addr });
    await until(async () => String(await replica.command("ROLE")).startsWith("master"), "it is the primary");
    await rig.api("POST", "/api/v1/moves/limit", { keysPerSecond: null });
    return { rig, written, source: replica };
  }

  test("the move goes on: nothing that was written at the target is overwritten", async () => {
    const { rig, written, source } = await forgetHalfWay();
    const target = rig.groups[1].primary;
    await rig.api("POST", "/api/v1/moves/resume");
    await rig.untilIdle();
    for (const key of written) expect(await target.command("GET", key)).toBe("newer");
    const left = await keysOf(source);
    expect(left.every((key) => slotOfText(key) >= 512)).toBe(true);
    expect(left.length + (await keysOf(target)).length).toBe(KEYS);
  }, 30_000);

  test("the move is cancelled: what was written at the target comes back, no old copy", async () => {
    const { rig, written, source } = await forgetHalfWay();
    const target = rig.groups[1].primary;
    await rig.api("POST", "/api/v1/moves/cancel");
    await rig.api("POST", "/api/v1/moves/resume");
    await rig.untilIdle();
    for (const key of written) expect(await source.command("GET", key)).toBe("newer");
    expect((await keysOf(source)).length).toBe(KEYS);
    expect(await keysOf(target)).toEqual([]);
  }, 30_000);
});
