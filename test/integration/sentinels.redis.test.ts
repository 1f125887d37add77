/** `failover = "sentinel"`: real redis-sentinel processes replace primaries, the controllers follow them. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import type { RedisProcess } from "../support/redis-process.ts";
import type { RespClient } from "../support/resp-client.ts";
import { until } from "../support/until.ts";
import { SentinelRig } from "./sentinel-rig.ts";

// Waiting for room included: see failover-rig.ts.
setDefaultTimeout(120_000);

/** A server that is killed has everything when it comes back. */
const DURABLE = ["--appendonly", "yes", "--appendfsync", "always"];

/** Writes `count` keys and waits until a replica has them. */
async function write(server: RedisProcess, prefix: string, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await server.command("SET", `${prefix}${i}`, "v".repeat(100));
  expect(await server.command("WAIT", "1", "2000")).toBeGreaterThanOrEqual(1);
}

/** All sentinels name `addr` as primary of the group. */
async function allName(rig: SentinelRig, addr: string, group = "g1"): Promise<boolean> {
  const named = await Promise.all(rig.sentinels.map((one) => one.primaryOf(group)));
  return named.every((one) => one === addr);
}

/** Counts up, one request after the other; an error that says "may have run" may have counted too. */
async function countUp(client: RespClient, key: string, running: () => boolean) {
  const outcome = { acknowledged: 0, errors: [] as string[], lost: 0, slowestMs: 0 };
  let last = 0;
  while (running()) {
    const sentMs = performance.now();
    const reply = await client.text("INCR", key);
    outcome.slowestMs = Math.max(outcome.slowestMs, performance.now() - sentMs);
    if (!reply.startsWith(":")) {
      outcome.errors.push(reply.trim());
      continue;
    }
    const value = Number(reply.slice(1));
    if (value <= last) outcome.lost += last + 1 - value;
    last = value;
    outcome.acknowledged++;
    // A server that stands still for its neighbours' sake looks dead.
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  client.close();
  return outcome;
}

describe.concurrent("primaries that redis-sentinel replaces", () => {
  test("killed under load: the map follows, nothing that was confirmed is lost", async () => {
    await using rig = await SentinelRig.start({ options: { acks: "replica" }, sentinelPassword: "secret" });
    const { fleet } = rig;
    const [[a, b]] = fleet.servers;
    const connect = await rig.startProxy();
    const load = { running: true };
    const clients = await Promise.all(Array.from({ length: 20 }, connect));
    const work = clients.map((client, i) => countUp(client, `counter${i}`, () => load.running));
    for (const one of work) one.catch(() => {});
    await until(async () => Number(await b.command("DBSIZE")) > 20, "the clients write");
    const diedMs = performance.now();
    await a.kill();
    await fleet.primaryBecomes((addr) => addr === b.addr, "g1", 20_000);
    const tookMs = Math.round(performance.now() - diedMs);
    await a.launch();
    await until(() => fleet.whole(), "the old one follows", 20_000);
    const counter = async () => Number(await b.command("GET", "counter0"));
    const before = await counter();
    await until(async () => (await counter()) > before + 10, "the clients write again");
    load.running = false;
    const outcomes = await Promise.all(work);
    const errors = outcomes.flatMap((outcome) => outcome.errors);
    const slowestMs = Math.round(Math.max(...outcomes.map((outcome) => outcome.slowestMs)));
    console.log(`replaced after ${tookMs} ms, slowest request ${slowestMs} ms, ${errors.length} errors`);
    expect(outcomes.map((outcome) => outcome.lost)).toEqual(outcomes.map(() => 0));
    // What was under way on the broken connection may have run, and is told so; else nothing.
    for (const error of errors) expect(error).toMatch(/may have run|not confirmed|may be lost/);
    const leader = await fleet.leader();
    const [done] = await leader.events("failover-done");
    const reason = `the sentinels have made ${b.addr} the primary`;
    expect(done.fields).toMatchObject({ from: a.addr, to: b.addr, reason, acknowledgedLost: 0 });
    expect((await leader.events("failover-done")).length).toBe(1);
  });

  test("L5: who has missed writes is forgotten by the sentinels, and so never takes over", async () => {
    await using rig = await SentinelRig.start({ serverArgs: DURABLE });
    const { fleet, sentinels } = rig;
    const [[a, b]] = fleet.servers;
    const [controller] = fleet.controllers;
    await write(a, "old", 10);
    // Nobody but two sentinels is there when it happens.
    await controller.kill();
    await sentinels[2].kill();
    await a.kill();
    const others = sentinels.slice(0, 2);
    const named = async () => Promise.all(others.map((one) => one.primaryOf("g1")));
    await until(async () => (await named()).every((addr) => addr === b.addr), "they replace it", 20_000);
    await controller.start();
    await fleet.primaryBecomes((addr) => addr === b.addr);
    await sentinels[2].launch();
    await rig.complete("g1", 0);
    expect(await allName(rig, b.addr)).toBe(true);
    await b.command("SET", "new", "v");
    // The one with the old data is back, and the one with all of it dies. Nobody could stop the sentinels.
    await controller.kill();
    await a.launch();
    const before = sentinels.map((one) => one.output.length);
    await b.kill();
    const gaveUp = () => sentinels.some((one, i) => one.output.slice(before[i]).includes("no-good-slave"));
    await until(gaveUp, "the sentinels find nobody to promote", 20_000);
    expect(await allName(rig, b.addr)).toBe(true);
    await b.launch();
    await controller.start();
    await until(() => fleet.whole(), "the old one follows", 20_000);
    expect((await fleet.group()).primary.addr).toBe(b.addr);
    expect([await a.command("GET", "new"), await a.command("DBSIZE")]).toEqual(["v", 11]);
  });

  test("L6: a primary that is back empty is replaced before anybody copies it; switches", async () => {
    const passwords = {
      serverArgs: ["--requirepass", "pw"],
      config: { server_password: "pw", down_after_ms: 6000 },
    };
    await using rig = await SentinelRig.start(passwords);
    const { fleet, sentinels } = rig;
    const [[a, b]] = fleet.servers;
    const leader = await fleet.leader();
    // It must not be let in at a server that sentinels promote and nobody has looked at.
    const guarded = async () => String(await a.command("CONFIG", "GET", "masteruser")).includes("shoal-");
    await until(guarded, "the primary has the password of replicas");
    await write(a, "k", 10);
    await a.kill();
    await a.launch();
    await fleet.primaryBecomes((addr) => addr === b.addr, "g1", 15_000);
    expect(await b.command("DBSIZE")).toBe(10);
    await until(() => fleet.whole(), "the empty one follows", 20_000);
    expect(await a.command("DBSIZE")).toBe(10);
    expect((await leader.events("server-down")).length).toBe(0);
    await until(() => allName(rig, b.addr), "all sentinels name the new one");

    await sentinels[0].kill();
    await expect(leader.failover("g1")).rejects.toThrow(
      `sentinel ${sentinels[0].addr} does not answer and would bring the old primary back later`,
    );
    await sentinels[0].launch();
    const answer = () => leader.failover("g1").catch((error: Error) => ({ to: error.message }));
    await until(async () => (await answer()).to === a.addr, "all sentinels answer, so it is switched");
    expect(await allName(rig, a.addr)).toBe(true);
    await until(() => fleet.whole(), "the other one follows");
    await rig.complete();
    expect((await leader.events("failover-done")).length).toBe(1);

    // A person may use the sentinels as ever. The old primary lives, so nothing else says that it is none.
    await sentinels[1].client.command(["SENTINEL", "FAILOVER", "test.g1"]);
    await fleet.primaryBecomes((addr) => addr === b.addr, "g1", 15_000);
    await until(() => fleet.whole(), "the other one follows", 20_000);
    expect(await a.command("DBSIZE")).toBe(10);
  });

  test("L1: one that lacks confirmed writes is not followed, whoever has promoted it", async () => {
    await using rig = await SentinelRig.start({ replicas: 2, options: { acks: "replica" } });
    const { fleet } = rig;
    const [[a, b, c]] = fleet.servers;
    await write(a, "k", 5);
    await until(async () => (await c.command("DBSIZE")) === 5, "both have it");
    c.signal("SIGSTOP");
    await a.kill();
    await until(() => allName(rig, b.addr), "the sentinels promote the other one", 20_000);
    const leader = await fleet.leader();
    const refused = async () => (await leader.events("failover-refused"))[0]?.fields["reason"];
    await until(async () => (await refused()) !== undefined, "it is refused", 20_000);
    expect(await refused()).toContain(`${c.addr} is silent or was started again, and may hold the only copy`);
    expect((await fleet.group()).primary.addr).toBe(a.addr);
    c.signal("SIGCONT");
    await fleet.primaryBecomes((addr) => addr === b.addr);
    await until(async () => (await fleet.group()).protected === true, "the third one follows");
    // Another one might have confirmed writes of the old primary until then, so nothing is promised.
    const [done] = await leader.events("failover-done");
    expect(done.fields["acknowledgedLost"]).toBe(null);
  });
});
