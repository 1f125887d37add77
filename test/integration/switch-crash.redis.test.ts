/**
 * A switch whose controller dies or stands still between two steps of it: L14, L3, and nothing lost. The
 * controllers are those of fixture-halting-controller.ts.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { STOPPED_MS_MIN, STOP_WRITES_MS } from "../../src/controller/failover/stopped-writes.ts";
import type { Halt } from "../fixtures/fixture-halting-controller.ts";
import type { RedisProcess } from "../support/redis-process.ts";
import { until } from "../support/until.ts";
import { type ControllerProcess, FailoverRig, type RigOptions } from "./failover-rig.ts";

// Waiting for room included: see failover-rig.ts.
setDefaultTimeout(120_000);

const QUICK = { down_after_ms: 700, health_period_ms: 100, server_timeout_ms: 500 };

function startRig(options: RigOptions = {}): Promise<FailoverRig> {
  return FailoverRig.start({ fixture: "fixture-halting-controller.ts", replicas: 2, ...options });
}

/** The next controller that decides about a switch does so. */
function order(rig: FailoverRig, halt: Halt): Promise<void> {
  return writeFile(join(rig.folder, "halt.json"), JSON.stringify(halt));
}

/** Whether the process stands still (SIGSTOP), as the kernel says. */
function isStopped(controller: ControllerProcess): boolean {
  const text = readFileSync(`/proc/${controller.pid}/stat`, "latin1");
  return text.slice(text.lastIndexOf(")") + 2).startsWith("T");
}

async function stoppedOne(rig: FailoverRig): Promise<ControllerProcess> {
  await until(() => rig.controllers.some(isStopped), "the leader stands still");
  return rig.controllers.find(isStopped)!;
}

const keysOf = (server: RedisProcess) => server.command("DBSIZE");

/** How often it was told whom to follow, or cut off, since the last `CONFIG RESETSTAT`. */
async function timesTold(server: RedisProcess): Promise<number> {
  const stats = String(await server.command("INFO", "commandstats"));
  const calls = [...stats.matchAll(/cmdstat_(?:replicaof|client\|kill):calls=(\d+)/g)];
  return calls.reduce((sum, [, count]) => sum + Number(count), 0);
}

/** A key that every server of the group has. */
async function writeEverywhere(primary: RedisProcess, name: string, replicas = 2): Promise<void> {
  await primary.command("SET", name, "v");
  expect(await primary.command("WAIT", String(replicas), "3000")).toBe(replicas);
}

/** The leader dies at each of `points` of a failover, and the next one finishes it. */
async function dieAt(points: readonly Halt[]): Promise<void> {
  await using rig = await startRig({ config: QUICK });
  const [controller] = rig.controllers;
  const [servers] = rig.servers;
  for (const [i, halt] of points.entries()) {
    const primary = rig.server((await rig.group()).primary.addr);
    await writeEverywhere(primary, `k${i}`);
    await order(rig, halt);
    await primary.kill();
    await until(() => controller.dead, `the leader dies at ${JSON.stringify(halt)}`);
    await controller.kill();
    await controller.start();
    const next = await rig.primaryBecomes((addr) => addr !== primary.addr);
    expect([JSON.stringify(halt), await keysOf(next)]).toEqual([JSON.stringify(halt), i + 1]);
    await primary.launch();
    await until(() => rig.whole(), "both others follow", 20_000);
    // Whoever took over, and whoever was given up: all hold the same.
    await until(
      async () => (await Promise.all(servers.map(keysOf))).every((keys) => keys === i + 1),
      "each has all keys",
    );
  }
}

const die = { signal: "SIGKILL" } as const;

describe.concurrent("the leader is killed in the middle of a failover, and nothing is lost", () => {
  test("decided; replicas cut off; they may come in; made a primary, which nobody knows", () =>
    dieAt([
      { ...die, step: 0, when: "after" },
      { ...die, step: 2, when: "before" },
      { ...die, step: 3, when: "before" },
      { ...die, step: "promoted", when: "before" },
    ]));

  test("the outcome is stored and nobody told; at any moment", () =>
    dieAt([
      { ...die, step: "promoted", when: "after" },
      ...[4, 12, 30].map((delayMs): Halt => ({ ...die, step: 0, when: "after", delayMs })),
    ]));
});

describe.concurrent("a leader that stands still in the middle of a failover tells no server anything", () => {
  /** The first leader stops there; the second finishes, and then makes another server the primary. */
  async function wakeUpLate(halt: Halt): Promise<void> {
    await using rig = await startRig({ controllers: 2 });
    const [[a, ...others]] = rig.servers;
    await writeEverywhere(a, "k");
    await order(rig, halt);
    await a.kill();
    const first = await stoppedOne(rig);
    const second = rig.controllers.find((one) => one !== first)!;
    await until(async () => (await second.health()).leader, "the other one leads", 20_000);
    const group = async () => (await second.status()).groups[0];
    await until(async () => (await group()).primary.addr !== a.addr, "it has finished the failover");
    await until(async () => (await group()).protected === true, "the other replica follows");
    const chosen = rig.server((await group()).primary.addr);
    const later = others.find((server) => server !== chosen)!;
    await second.failover("g1", { to: later.addr });
    await until(async () => (await group()).protected === true, "the one that was chosen follows");
    await writeEverywhere(later, "later", 1);
    for (const server of others) await server.command("CONFIG", "RESETSTAT");
    const before = first.output.length;
    first.signal("SIGCONT");
    const gaveUp = /switch-failed|failover-refused|wiring-failed/;
    await until(() => gaveUp.test(first.output.slice(before)), "what it was about to do has failed", 20_000);
    await until(async () => !(await first.health()).leader, "it follows", 20_000);
    expect(await Promise.all(others.map(timesTold))).toEqual([0, 0]);
    expect((await group()).primary.addr).toBe(later.addr);
    expect(await Promise.all(others.map(keysOf))).toEqual([2, 2]);
  }

  test("L14: paused right after the decision: it cuts no replica off", () =>
    wakeUpLate({ step: 0, when: "after", signal: "SIGSTOP" }));

  test("L14: paused between its last look and REPLICAOF NO ONE: it makes no second primary", () =>
    wakeUpLate({ step: 2, when: "after", signal: "SIGSTOP" }));

  test("L14: paused when the outcome was stored: it has no later primary follow its own", () =>
    wakeUpLate({ step: "promoted", when: "after", signal: "SIGSTOP" }));
});

describe.concurrent("a switchover whose controller does not come to its end", () => {
  /** Up to the moment at which the replica is a primary and nobody knows. */
  async function dieInSwitchover(rig: FailoverRig, to: string, when: Halt["when"] = "before"): Promise<void> {
    const [controller] = rig.controllers;
    await order(rig, { ...die, step: "promoted", when });
    await controller.failover("g1", { to }).catch(() => {});
    await until(() => controller.dead, "the leader dies");
    await controller.kill();
  }

  test("the replica was started again, or neither answers: given up, then judged", async () => {
    await using rig = await startRig({ config: QUICK });
    const [controller] = rig.controllers;
    const [[a, b, c]] = rig.servers;
    await writeEverywhere(a, "k0");
    for (const [i, saved] of [false, true].entries()) {
      await dieInSwitchover(rig, b.addr);
      // As when the pause has run out, and a proxy does not hold. What b comes back with lacks it.
      await a.command("CLIENT", "UNPAUSE");
      await a.command("SET", `k${i + 1}`, "v");
      // With a file it even shows the replication id of before, and takes itself for a primary.
      if (saved) await b.command("SHUTDOWN", "SAVE").catch(() => {});
      await b.kill();
      await b.launch();
      await controller.start();
      await until(async () => (await controller.events("switchover-ended")).length === 1, "it is given up");
      await until(() => rig.whole(), "both follow", 20_000);
      expect([(await rig.group()).primary.addr, await keysOf(a)]).toEqual([a.addr, i + 2]);
      await until(async () => (await keysOf(b)) === i + 2, "the one that was started again has all keys");
    }
    await until(async () => (await keysOf(c)) === 3, "so has the third");
    await dieInSwitchover(rig, b.addr);
    await Promise.all([a.kill(), b.kill()]);
    await controller.start();
    await rig.primaryBecomes((addr) => addr === c.addr);
    expect(await keysOf(c)).toBe(3);
  });

  test("a server that can't pause writes: its setting is as it was, whoever dies", async () => {
    await using rig = await startRig({ replicas: 1 });
    const [controller] = rig.controllers;
    const [[a, b]] = rig.servers;
    const name = "min-replicas-to-write";
    const setting = async () => (await a.client.configGet(name)).get(name);
    await a.command("CONFIG", "SET", name, "1");
    // As a server before 6.2 answers.
    await a.command("ACL", "SETUSER", "default", "-client|pause");
    await dieInSwitchover(rig, b.addr, "after");
    expect(await setting()).toBe("1000000");
    await controller.start();
    await until(() => rig.whole(), "the old one follows", 20_000);
    await until(async () => (await setting()) === "1", "its setting is as it was");
    expect((await rig.group()).primary.addr).toBe(b.addr);
  });

  test("L3: it has stood still for as long as the primary is paused: given up, no write lost", async () => {
    await using rig = await startRig({ replicas: 1, config: { lease_ms: 30_000 } });
    const [[a, b]] = rig.servers;
    const [controller] = rig.controllers;
    await writeEverywhere(a, "k", 1);
    // The offsets are equal, and REPLICAOF NO ONE is next.
    await order(rig, { step: 2, when: "before", signal: "SIGSTOP" });
    controller.failover("g1").catch(() => {});
    await stoppedOne(rig);
    // Time is what it is about: the pause is taken for over a little before it is.
    await new Promise((resolve) => setTimeout(resolve, STOP_WRITES_MS - STOPPED_MS_MIN + 200));
    await a.command("CLIENT", "UNPAUSE");
    let written = 0;
    const writing = new AbortController();
    const writer = (async () => {
      for (; !writing.signal.aborted; written++) await a.command("SET", `late${written}`, "v");
    })();
    await until(() => written > 10, "somebody writes");
    controller.signal("SIGCONT");
    const ended = async () =>
      (await controller.events("switchover-ended")).map((one) => one.fields["reason"]);
    await until(async () => (await ended()).join().includes("about to take writes again"), "it is given up");
    await until(() => rig.whole(), "the replica follows again", 20_000);
    writing.abort();
    await writer;
    expect((await rig.group()).primary.addr).toBe(a.addr);
    expect(await keysOf(a)).toBe(written + 1);
    await until(async () => (await keysOf(b)) === written + 1, "the replica has all keys");
  });
});
