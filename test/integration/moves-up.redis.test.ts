/**
 * Moving slots of a whole cluster of processes while clients write: counters that remember what was
 * acknowledged, and kills at random moments. The oracle: a counter is what was acknowledged, or that and
 * increments whose reply was lost; nothing else.
 */
import { afterEach, expect, test } from "bun:test";
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import type { Moves } from "../../src/contract/move-routes.ts";
import type { ClusterStatus } from "../../src/contract/schemas.ts";
import { RedisServer } from "../../src/redis/redis-server.ts";
import { testEnv } from "../support/redis-process.ts";
import { RespClient } from "../support/resp-client.ts";
import { until } from "../support/until.ts";
import { slotOfText } from "./moves-rig.ts";
import { UpRig } from "./up-rig.ts";

const WRITERS = 8;
const COUNTERS = 150;

const rigs: UpRig[] = [];
const connections: RedisServer[] = [];
const servers: ChildProcess[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.kill("SIGKILL");
  for (const connection of connections.splice(0)) connection.close();
  for (const rig of rigs.splice(0)) rig.cleanUp();
});

async function up(...options: string[]): Promise<UpRig> {
  const rig = await UpRig.create();
  rigs.push(rig);
  const { status, err } = await rig.run("up", "--detach", ...rig.small, ...options);
  expect({ status, err: status === 0 ? "" : err }).toEqual({ status: 0, err: "" });
  return rig;
}

async function api(rig: UpRig, path: string, body?: unknown): Promise<unknown> {
  const init = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
  const response = await fetch(`http://127.0.0.1:${rig.controlPort}${path}`, init);
  const json = await response.json();
  if (!response.ok) throw new Error(JSON.stringify(json));
  return json;
}

const movesOf = (rig: UpRig): Promise<Moves> => api(rig, "/api/v1/moves") as Promise<Moves>;
const statusOf = (rig: UpRig): Promise<ClusterStatus> => api(rig, "/api/v1/status") as Promise<ClusterStatus>;

function partOf(rig: UpRig, kind: string, id: string): number {
  const part = rig.record()?.parts.find((each) => each.kind === kind && each.id === id);
  if (part === undefined) throw new Error(`there is no ${kind} ${id}`);
  return part.process.pid;
}

async function serverOf(rig: UpRig, group: string): Promise<RedisServer> {
  const address = (await statusOf(rig)).groups.find(({ id }) => id === group)!.primary.addr;
  const options = { address, credentials: null, connectTimeoutMs: 2000, commandTimeoutMs: 5000 };
  const server = new RedisServer(testEnv(), options);
  connections.push(server);
  return server;
}

async function untilIdle(rig: UpRig, withinMs = 40_000): Promise<void> {
  await until(async () => (await movesOf(rig)).moves.length === 0, "no move is under way", withinMs);
}

/** Increments counters through the proxies, one after the other, and keeps the books. */
class Writers {
  readonly acknowledged = new Map<string, number>();
  readonly unknown = new Map<string, number>();
  readonly errors = new Map<string, number>();
  #stopped = false;
  readonly #done: Array<Promise<void>>;

  constructor(ports: readonly number[]) {
    this.#done = Array.from({ length: WRITERS }, (_, index) =>
      this.#write(ports[index % ports.length], index),
    );
  }

  /** Increments that have been acknowledged so far. */
  get count(): number {
    return [...this.acknowledged.values()].reduce((sum, count) => sum + count, 0);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#done);
  }

  async #write(port: number, index: number): Promise<void> {
    let client: RespClient | null = null;
    for (let turn = 0; !this.#stopped; turn++) {
      const key = `counter:${index}:${turn % COUNTERS}`;
      try {
        client ??= await RespClient.connect(port);
      } catch {
        // The proxy is being started again.
        await new Promise((resolve) => setTimeout(resolve, 20));
        continue;
      }
      const reply = await client.text("INCR", key).catch(() => "-LOST may have run");
      if (reply.startsWith(":")) add(this.acknowledged, key);
      else {
        add(this.errors, reply.trim().replace(/127\S+|\d+/g, "N"));
        if (/may have run|was applied|may be lost/.test(reply)) add(this.unknown, key);
        if (client.closed || reply.startsWith("-LOST")) {
          client.close();
          client = null;
        }
      }
    }
    client?.close();
  }
}

function add(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

/** A client of the second proxy, which may have been killed a moment ago. */
async function connectReader(rig: UpRig): Promise<RespClient> {
  let reader: RespClient | null = null;
  await until(async () => {
    reader = await RespClient.connect(rig.port + 1);
    return (await reader.text("PING")) === "+PONG\r\n";
  }, "the second proxy answers");
  return reader!;
}

/** Keys that nobody looks at again, so that a move has something to do all the time. */
async function fillWithOthers(rig: UpRig, count: number): Promise<void> {
  const client = await RespClient.connect(rig.port);
  for (let i = 0; i < count; i += 100) {
    const pairs = Array.from({ length: 100 }, (_, index) => [`other:${i + index}`, "value"]).flat();
    expect(await client.text("MSET", ...pairs)).toBe("+OK\r\n");
  }
  client.close();
}

async function checkCounters(rig: UpRig, writers: Writers): Promise<void> {
  const reader = await connectReader(rig);
  const wrong: string[] = [];
  for (const [key, acknowledged] of writers.acknowledged) {
    const reply = await reader.text("GET", key);
    const value = Number(reply.split("\r\n")[1]);
    const most = acknowledged + (writers.unknown.get(key) ?? 0);
    if (!(value >= acknowledged && value <= most))
      wrong.push(`${key}: ${value}, not ${acknowledged} to ${most}`);
  }
  reader.close();
  expect({ wrong, errors: wrong.length === 0 ? [] : [...writers.errors] }).toEqual({ wrong: [], errors: [] });
}

/** Every key lies where the map says. */
async function checkHomes(rig: UpRig): Promise<void> {
  const { slots, groups } = await statusOf(rig);
  const { ranges } = slots;
  for (const { id: group } of groups) {
    const keys = (await (await serverOf(rig, group)).command(["KEYS", "*"])) as string[];
    const homeOf = (key: string) =>
      ranges.find(({ from, to }) => from <= slotOfText(key) && slotOfText(key) <= to);
    expect(keys.filter((key) => homeOf(key)?.group !== group)).toEqual([]);
  }
}

test("slots of two groups leave and come back: no wrong reply, no error", async () => {
  const rig = await up("--groups", "3", "--replicas", "0");
  const writers = new Writers([rig.port, rig.port + 1]);
  await until(() => writers.count > 2000, "the clients write");
  const spans = [
    { from: 100, to: 340, home: "g1" },
    { from: 450, to: 681, home: "g2" },
  ];
  // Two sources at once: while the slots of one have settled, those of the other still move.
  for (let round = 0; round < 3; round++) {
    await api(rig, "/api/v1/moves", { moves: spans.map(({ from, to }) => ({ from, to, target: "g3" })) });
    await untilIdle(rig);
    await api(rig, "/api/v1/moves", {
      moves: spans.map(({ from, to, home }) => ({ from, to, target: home })),
    });
    await untilIdle(rig);
  }
  await writers.stop();
  expect([...writers.errors]).toEqual([]);
  await checkCounters(rig, writers);
  await checkHomes(rig);
}, 60_000);

test("controllers and proxies are killed at random moments: nothing is lost, all moves end", async () => {
  const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 1e9));
  console.log(`seed ${seed}`);
  let state = seed;
  const next = (): number => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
  const rig = await up();
  const writers = new Writers([rig.port, rig.port + 1]);
  await until(() => writers.count > 2000, "the clients write");
  await fillWithOthers(rig, 3000);
  await api(rig, "/api/v1/moves/limit", { keysPerSecond: 200 });
  await api(rig, "/api/v1/moves", { moves: [{ from: 0, to: 511, target: "g2" }] });
  for (let kill = 0; kill < 3; kill++) {
    const beganMs = performance.now();
    const delayMs = next() * 1500;
    await until(() => performance.now() - beganMs > delayMs, "a moment");
    const controller = next() < 0.5;
    const pid = controller
      ? partOf(rig, "controller", "c1")
      : partOf(rig, "proxy", next() < 0.5 ? "p1" : "p2");
    process.kill(pid, "SIGKILL");
    // The supervisor starts it again; until then there may be nobody to ask.
    await until(async () => (await statusOf(rig)).proxies.length > 0, "the controller answers", 20_000);
  }
  await api(rig, "/api/v1/moves/limit", { keysPerSecond: null });
  await untilIdle(rig);
  await writers.stop();
  await checkCounters(rig, writers);
  await checkHomes(rig);
}, 90_000);

test("L10, L14: a frozen proxy costs a lease at most, and writes nothing at the old home", async () => {
  const rig = await up();
  const status = await statusOf(rig);
  const frozen = status.proxies.find(({ id }) => id === "p1")!;
  const pids = [frozen.pid, ...frozen.workers.map(({ pid }) => pid)];
  const keys = Array.from({ length: 200 }, (_, index) => `key:${index}`).filter(
    (key) => slotOfText(key) < 512,
  );
  const [late, other] = await Promise.all([RespClient.connect(rig.port), RespClient.connect(rig.port + 1)]);
  for (const key of keys) expect(await late.text("SET", key, "before")).toBe("+OK\r\n");
  const source = await serverOf(rig, "g1");
  for (const pid of pids) process.kill(pid, "SIGSTOP");
  try {
    // What the frozen proxy reads first when it wakes up.
    for (const key of keys) late.write(`*3\r\n$3\r\nSET\r\n$${key.length}\r\n${key}\r\n$4\r\nlate\r\n`);
    const beganMs = performance.now();
    await api(rig, "/api/v1/moves", { moves: [{ from: 0, to: 511, target: "g2" }] });
    await untilIdle(rig);
    // proxy_lease_ms is 5000; the rest is the move itself on a busy machine.
    expect(performance.now() - beganMs).toBeLessThan(15_000);
    for (const key of keys) expect(await other.text("SET", key, "after")).toBe("+OK\r\n");
  } finally {
    for (const pid of pids) process.kill(pid, "SIGCONT");
  }
  // Each write is refused, or it has gone to the new home; never is it acknowledged and nowhere.
  const replies = (await late.replies(keys.length)).map((raw) => raw.toString("latin1"));
  for (let index = 0; index < keys.length; index++) {
    const value = (await other.text("GET", keys[index])).split("\r\n")[1];
    expect(value).toBe(replies[index] === "+OK\r\n" ? "late" : "after");
  }
  const left = (await source.command(["KEYS", "key:*"])) as string[];
  expect(left.filter((key) => keys.includes(key))).toEqual([]);
  await until(
    async () => (await late.text("SET", keys[0], "again")) === "+OK\r\n",
    "it serves again",
    20_000,
  );
  [late, other].forEach((client) => client.close());
}, 60_000);

test("L8b, L1: primaries of both sides are killed in a move, acks = replica: nothing is lost", async () => {
  const rig = await up();
  await api(rig, "/api/v1/options", { options: { acks: "replica 1 1000" } });
  const writers = new Writers([rig.port, rig.port + 1]);
  await until(() => writers.count > 1000, "the clients write");
  await fillWithOthers(rig, 3000);
  await api(rig, "/api/v1/moves/limit", { keysPerSecond: 100 });
  await api(rig, "/api/v1/moves", { moves: [{ from: 0, to: 511, target: "g2" }] });
  for (const group of ["g1", "g2"]) {
    const moved = async (): Promise<number> => (await movesOf(rig)).moves[0]?.keysMoved ?? Infinity;
    const before = await moved();
    await until(async () => (await moved()) > before + 20, "some keys have moved", 20_000);
    const { primary } = (await statusOf(rig)).groups.find(({ id }) => id === group)!;
    const dead = rig.record()!.parts.find((part) => part.address === primary.addr)!;
    process.kill(primary.pid!, "SIGKILL");
    const replaced = async (): Promise<boolean> =>
      (await statusOf(rig)).groups.find(({ id }) => id === group)!.primary.addr !== primary.addr;
    await until(replaced, `group ${group} has another primary`, 20_000);
    // It comes back as a replica: without one nothing could be acknowledged.
    servers.push(
      spawn("redis-server", ["redis.conf"], { cwd: join(rig.dir, "servers", dead.id), stdio: "ignore" }),
    );
    const whole = async (): Promise<boolean> =>
      (await statusOf(rig)).groups.every(({ state }) => state === "ok");
    await until(whole, "every group is whole", 20_000);
    const count = writers.count;
    await until(() => writers.count > count + 200, "the clients write", 20_000);
  }
  await api(rig, "/api/v1/options", { options: { acks: "async" } });
  await api(rig, "/api/v1/moves/limit", { keysPerSecond: null });
  await untilIdle(rig);
  await writers.stop();
  await checkCounters(rig, writers);
  await checkHomes(rig);
}, 90_000);
