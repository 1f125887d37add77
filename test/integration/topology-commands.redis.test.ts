/**
 * The topology commands as a person runs them, on a cluster of `shoal up`: groups and servers come and go,
 * slots move while clients use them, and what must not be is refused with the next step.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { Redis } from "ioredis";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type {
  GroupAdded,
  GroupList,
  RebalanceAnswer,
  ServerList,
  SlotList,
} from "../../src/contract/group-schemas.ts";
import type { Moves } from "../../src/contract/move-routes.ts";
import { isRunning } from "../../src/platform/processes/process-identity.ts";
import { slotOf } from "../../src/routing/slot-of.ts";
import { countSlots } from "../../src/topology/slot-ranges.ts";
import { RedisProcess } from "../support/redis-process.ts";
import { until } from "../support/until.ts";
import { type Outcome, UpRig } from "./up-rig.ts";

setDefaultTimeout(60_000);

/** Fewer than there are slots: some slots have none. */
const KEYS = 900;

let rig: UpRig;
let client: Redis;

async function shoal(...words: string[]): Promise<Outcome> {
  const [command, ...args] = words;
  return rig.run(command, ...args);
}

/** What it answers with --json; fails when it fails. */
async function json<Answer>(...words: string[]): Promise<Answer> {
  const { status, out, err } = await shoal(...words, "--json");
  if (status !== 0) throw new Error(`shoal ${words.join(" ")}: ${err}`);
  return JSON.parse(out) as Answer;
}

/** Exit status and text of what is refused. */
async function refusal(...words: string[]): Promise<string> {
  const { status, out, err } = await shoal(...words);
  expect(status).not.toBe(0);
  expect(out).toBe("");
  return err;
}

async function checkKeys(): Promise<void> {
  const names = Array.from({ length: KEYS }, (_, i) => `key:${i}`);
  const values = await Promise.all(names.map((name) => client.get(name)));
  expect(values.filter((value, i) => value !== `value ${i}`)).toEqual([]);
  const sizes = (await json<GroupList>("group", "list")).groups.map((group) => group.keys ?? 0);
  expect(sizes.reduce((a, b) => a + b)).toBe(KEYS);
}

function slotOfText(key: string): number {
  const bytes = new TextEncoder().encode(key);
  return slotOf(bytes, 0, bytes.length, 1023);
}

/** How many of our keys are of `slot`. */
function keysIn(slot: number): number {
  return Array.from({ length: KEYS }, (_, i) => slotOfText(`key:${i}`)).filter((one) => one === slot).length;
}

const serverParts = () => (rig.record()?.parts ?? []).filter((part) => part.kind === "server");

beforeAll(async () => {
  rig = await UpRig.create();
  const up = await shoal(
    "up",
    "--detach",
    "--groups",
    "2",
    "--replicas",
    "1",
    "--proxies",
    "1",
    ...rig.ports,
  );
  if (up.status !== 0) throw new Error(up.err);
  client = new Redis({ port: rig.port, host: "127.0.0.1" });
  client.on("error", () => {});
  await Promise.all(Array.from({ length: KEYS }, (_, i) => client.set(`key:${i}`, `value ${i}`)));
});

afterAll(() => {
  client.disconnect();
  rig.cleanUp();
});

describe("a local group", () => {
  test("is started by the running `shoal up`, and in sync when the command comes back", async () => {
    const added = await json<GroupAdded & { inSync: boolean }>("group", "add", "--local");
    expect(added).toMatchObject({ id: "g3", inSync: true });
    expect(added.replicas).toHaveLength(1);
    expect(serverParts().map((part) => part.id)).toEqual(["g1-1", "g1-2", "g2-1", "g2-2", "g3-1", "g3-2"]);
    const list = await json<GroupList>("group", "list");
    expect(list.groups.map(({ id, slots, state }) => [id, slots, state])).toEqual([
      ["g1", 512, "ok"],
      ["g2", 512, "ok"],
      ["g3", 0, "ok"],
    ]);
    const { servers } = await json<ServerList>("server", "list");
    expect(servers.filter((server) => server.group === "g3").map((server) => server.state)).toEqual([
      "online",
      "online",
    ]);
  });

  test("rebalance --dry-run tells what would move, and changes nothing", async () => {
    const before = await json<SlotList>("slot", "list");
    const plan = await json<RebalanceAnswer>("rebalance", "--dry-run");
    expect(plan.moves.map(({ from, to, source, target }) => [from, to, source, target])).toEqual([
      [342, 511, "g1", "g3"],
      [853, 1023, "g2", "g3"],
    ]);
    expect(plan.measured).toMatchObject({ exact: true, keysSampled: KEYS });
    const moving = Array.from({ length: KEYS }, (_, i) => slotOfText(`key:${i}`)).filter((slot) => {
      return (slot >= 342 && slot <= 511) || slot >= 853;
    });
    expect(plan.total).toMatchObject({ slots: 341, keys: moving.length });
    expect(plan.spread.after).toMatchObject({ min: 341, max: 342 });
    const text = await shoal("rebalance", "--dry-run");
    expect(text.out).toContain(`341 slots with ${moving.length.toLocaleString("en")} keys`);
    expect(text.out).toContain("Spread of slots per weight: 0 to 512 (mean 341) before, 341 to 342 after.");
    expect(await json<SlotList>("slot", "list")).toEqual(before);
    expect(await shoal("rebalance")).toMatchObject({
      status: 2,
      out: text.out,
      err: expect.stringContaining("--yes goes on without asking"),
    });
  });

  test("rebalance fills it while a client writes, and no key is lost", async () => {
    const enough = new AbortController();
    const counters = Array.from({ length: 50 }, (_, i) => `key:${i * 7}`);
    let written = 0;
    const writer = (async () => {
      while (!enough.signal.aborted) {
        await Promise.all(counters.map((key) => client.set(key, `value ${key.slice(4)}`)));
        written += counters.length;
      }
    })();
    const done = await json<{ result: { arrived: number; missing: number } }>("rebalance", "--yes");
    enough.abort();
    await writer;
    expect(done.result).toMatchObject({ arrived: 341, missing: 0 });
    expect(written).toBeGreaterThan(0);
    await checkKeys();
    const list = await json<SlotList>("slot", "list");
    expect(countSlots(list.ranges.filter((range) => range.group === "g3"))).toBe(341);
    expect((await shoal("rebalance")).out).toContain("Nothing to move: every group has its share.");
  });

  test("stays with the folder over down and up", async () => {
    expect((await shoal("down")).status).toBe(0);
    const up = await shoal("up", "--detach", "--groups", "2");
    expect(up).toMatchObject({ status: 0 });
    expect(serverParts()).toHaveLength(6);
    await until(async () => (await client.ping()) === "PONG", "the client is connected again");
    await checkKeys();
  });

  test("is drained and removed, and its servers are stopped", async () => {
    expect(await refusal("group", "remove", "g3")).toContain("`shoal group drain g3` moves them away first");
    const drained = await shoal("group", "drain", "g3", "--yes");
    expect(drained).toMatchObject({ status: 0 });
    expect(drained.out).toContain("`shoal group remove g3` takes it out.");
    await checkKeys();
    const processes = serverParts().filter((part) => part.id.startsWith("g3-"));
    const removed = await json<{ stopped: string[] }>("group", "remove", "g3");
    expect(removed.stopped).toEqual(processes.map((part) => part.address));
    expect(processes.filter((part) => isRunning(part.process))).toEqual([]);
    expect(serverParts().map((part) => part.id)).toEqual(["g1-1", "g1-2", "g2-1", "g2-2"]);
    const record = JSON.parse(readFileSync(join(rig.dir, "shoal.json"), "utf8"));
    expect(record.groups.map((group: { id: string }) => group.id)).toEqual(["g1", "g2"]);
    // Its number is never given again.
    expect((await json<GroupList>("group", "list")).nextGroup).toBe("g4");
  });
});

describe("servers from elsewhere", () => {
  test("with keys of their own come in only when somebody says so, and go as they came", async () => {
    const server = await RedisProcess.start();
    const { addr } = server;
    try {
      await server.client.command(["SET", "own", "1"]);
      expect(await refusal("server", "add", "g1", addr)).toBe(
        `shoal: Cannot add server ${addr} to group g1: it holds 1 keys of its own; ` +
          "empty it first (FLUSHALL), or say --adopt: then the group's keys replace them\n",
      );
      expect(await server.client.command(["GET", "own"])).toBe("1");
      expect(await refusal("group", "add", addr)).toContain("it holds 1 keys of its own; empty it");
      expect(await refusal("group", "add", addr, "--adopt")).toContain(
        `1 of its 1 keys are of slots ${slotOfText("own")}, which it would not serve`,
      );
      expect((await shoal("server", "add", "g1", addr, "--adopt")).out).toContain(
        "its own 1 keys are replaced",
      );
      const { servers } = await json<ServerList>("server", "list");
      const [mine, primary] = [addr, undefined].map((wanted) => {
        return servers.find((row) => row.group === "g1" && (row.addr === wanted || row.role === "primary"));
      });
      expect(servers.find((row) => row.addr === addr)).toMatchObject({ role: "replica", state: "online" });
      expect([mine?.keys, primary?.keys]).toEqual([primary?.keys, primary?.keys]);
      expect(await refusal("server", "add", "g2", addr.replace("127.0.0.1", "localhost"))).toContain(
        "it is a replica of group g1 already",
      );
      expect((await shoal("server", "remove", addr)).out).toBe(`Server ${addr} is out of group g1.\n`);
      expect(await server.client.role()).toMatchObject({ role: "primary" });
    } finally {
      await server.dispose();
    }
  });

  test("a primary whose keys are of slots that nobody has keys of is taken in with them", async () => {
    const taken = new Set(Array.from({ length: KEYS }, (_, i) => slotOfText(`key:${i}`)));
    const free = Array.from({ length: 10_000 }, (_, i) => `foreign:${i}`).find((key) => {
      return !taken.has(slotOfText(key));
    }) as string;
    const slot = slotOfText(free);
    const server = await RedisProcess.start();
    try {
      await server.client.command(["SET", free, "here"]);
      const adopt = ["group", "add", server.addr, "--adopt", "--slots"];
      expect(await refusal(...adopt, `${slot},${slotOfText("key:0")}`)).toContain(
        `holds ${keysIn(slotOfText("key:0"))} keys of slots`,
      );
      const added = await json<GroupAdded>(...adopt, String(slot));
      expect(added.id).toBe("g4");
      expect(await client.get(free)).toBe("here");
      expect((await shoal("slot", free)).out).toContain(server.addr);
      // Back with the key, then out.
      const back = await shoal("slot", "move", String(slot), "--to", "g1");
      expect(back).toMatchObject({ status: 0, out: expect.stringContaining("1 slot is in group g1") });
      expect(await client.get(free)).toBe("here");
      expect((await shoal("group", "remove", "g4")).out).toContain(`${server.addr} runs on, by itself.`);
      expect(await client.del(free)).toBe(1);
    } finally {
      await server.dispose();
    }
  });

  test("what is no server of a cluster is refused by what it is", async () => {
    const why = (addr: string) => refusal("server", "add", "g1", addr);
    expect(await why(`127.0.0.1:${rig.port}`)).toContain("it is a Shoal proxy; name a redis-server");
    expect(await why("127.0.0.1:1")).toContain("connection refused; is it running");
    expect(await why("nowhere")).toContain('Cannot read address "nowhere": want host:port');
    const cluster = await RedisProcess.start(["--cluster-enabled", "yes"]);
    expect(await why(cluster.addr)).toContain("it runs in Redis Cluster mode");
    await cluster.dispose();
  });
});

describe("slots and options", () => {
  test("assign hands slots over only when no key is left behind", async () => {
    const slot = slotOfText("key:0");
    const { ranges } = await json<SlotList>("slot", "list");
    const owner = ranges.find(({ from, to }) => from <= slot && slot <= to)?.group;
    const other = owner === "g1" ? "g2" : "g1";
    expect(await refusal("slot", "assign", String(slot), "--to", other)).toContain(
      `group ${owner} holds ${keysIn(slot)} keys of slots ${slot}`,
    );
    expect(await client.get("key:0")).toBe("value 0");
    expect(await refusal("slot", "move", "1024", "--to", other)).toContain("the last slot is 1023");
    expect(await refusal("slot", "move", "1", "--to", "g9")).toContain("Cannot find group g9");
    expect((await shoal("slot", "move", String(slot), "--to", owner as string)).out).toContain("already");
  });

  test("moves are limited, paused, shown and taken back", async () => {
    const { ranges } = await json<SlotList>("slot", "list");
    const { group, from } = ranges.reduce((a, b) => (b.to - b.from > a.to - a.from ? b : a));
    const other = group === "g1" ? "g2" : "g1";
    expect(await refusal("moves", "limit")).toContain("neither --keys/s nor --bytes/s is given");
    expect((await shoal("moves", "limit", "--keys/s", "20", "--bytes/s", "1000000")).out).toBe(
      "Limits: 20 keys/s, 977 KiB/s.\n",
    );
    const begun = await json<{ id: string }>(
      "slot",
      "move",
      `${from}-${from + 99}`,
      "--to",
      other,
      "--no-wait",
    );
    await until(async () => {
      const [move] = (await json<Moves>("moves")).moves;
      return move.phase === "moving" && move.id.startsWith(begun.id);
    }, "the move has begun");
    expect((await shoal("moves", "pause")).out).toBe("Paused. `shoal moves resume` goes on.\n");
    expect((await shoal("moves")).out).toContain("Paused. `shoal moves resume` goes on.");
    expect((await shoal("status")).out).toContain(`${group} → ${other}`);
    expect(await client.get("key:0")).toBe("value 0");
    expect((await json<Moves>("moves", "resume")).paused).toBe(false);
    expect((await shoal("moves", "cancel", begun.id)).out).toStartWith("Cancelled");
    const limits = await json<Moves>("moves", "limit", "--keys-per-second", "0", "--bytes-per-second", "0");
    expect(limits.limits).toEqual({ keysPerSecond: null, bytesPerSecond: null });
    expect(await shoal("moves", "--watch")).toMatchObject({ status: 0 });
    expect((await json<SlotList>("slot", "list")).ranges).toEqual(ranges);
    await checkKeys();
  });

  test("options reach the map, and come back to their defaults", async () => {
    expect((await shoal("options", "set", "hold_timeout_ms=700")).out).toMatch(
      /hold_timeout_ms\s+700\s+10000/,
    );
    const { options } = await json<{ options: { name: string; value: unknown; set: boolean }[] }>(
      "options",
      "list",
    );
    expect(options.find((row) => row.name === "hold_timeout_ms")).toMatchObject({ value: 700, set: true });
    expect(await refusal("options", "set", "hold_timeout=1")).toContain("did you mean hold_timeout_ms?");
    expect((await shoal("options", "set", "hold_timeout_ms=")).out).toContain("10000 (default)");
  });

  test("`shoal slot KEY` still tells where keys live, beside its commands", async () => {
    const { out } = await shoal("slot", "key:0", "{list}");
    expect(out).toMatch(new RegExp(`^key:0\\s+${slotOfText("key:0")}\\s`, "m"));
    expect((await shoal("slot", "--json", "list")).out).toContain('"count": 1024');
    expect(await refusal("group", "frobnicate")).toContain("want one of add, remove, drain, list");
  });
});
