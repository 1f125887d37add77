/** How failovers lose data elsewhere, made to happen here: loss modes L1 to L7. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { type RawClient, ReplyFault } from "../robustness/raw-client.ts";
import { mapOf, Rig, TRANSPORTS } from "../robustness/rig.ts";
import { until } from "../support/until.ts";
import type { RedisProcess } from "../support/redis-process.ts";
import { FailoverRig } from "./failover-rig.ts";

// Waiting for room included: see failover-rig.ts.
setDefaultTimeout(120_000);

const keysOf = (server: RedisProcess) => server.command("DBSIZE");

/**
 * A server that is killed has everything when it comes back; by the second, it may still wait for the disk.
 */
const DURABLE = ["--appendonly", "yes", "--appendfsync", "always"];

/** Writes `count` keys and waits until `replicas` have them. */
async function write(server: RedisProcess, prefix: string, count: number, replicas: number): Promise<void> {
  for (let i = 0; i < count; i++) await server.command("SET", `${prefix}${i}`, "v".repeat(100));
  expect(await server.command("WAIT", String(replicas), "2000")).toBeGreaterThanOrEqual(replicas);
}

/** How often the controller has asked it for INFO. */
async function looksAt(server: RedisProcess): Promise<number> {
  const [, [, calls]] = (await server.command("LATENCY", "HISTOGRAM", "info")) as [string, [string, number]];
  return calls;
}

/** A replica that is cut off must still count as a copy when the primary dies. */
const PATIENT = { down_after_ms: 4000 };

/**
 * The replica misses what is written from now on: a process that stands still would find it in its socket.
 */
async function cutOff(replica: RedisProcess): Promise<void> {
  await replica.command("CONFIG", "SET", "masterauth", "wrong");
  await replica.command("CLIENT", "KILL", "TYPE", "master");
}

/** Clients of one worker that has a map of its own, and never hears of another. */
class StaleWriters implements AsyncDisposable {
  /** Keys whose SET was answered with OK. */
  readonly acknowledged: string[] = [];
  unconfirmed = 0;
  readonly #phase = { running: true };
  readonly #rig: Rig;
  #work: Promise<unknown> = Promise.resolve();

  private constructor(rig: Rig) {
    this.#rig = rig;
  }

  /** They go past a relay before `primary`. */
  static async start(primary: RedisProcess, acks: string): Promise<StaleWriters> {
    const rig = await Rig.start([primary], TRANSPORTS[0]);
    rig.sendMap({ ...mapOf([`127.0.0.1:${primary.port}`], 2), options: { acks } });
    await until(() => rig.acks.includes(2), "the map is in force");
    const writers = new StaleWriters(rig);
    const clients = await Promise.all(Array.from({ length: 8 }, () => rig.connect()));
    writers.#work = Promise.all(clients.map((client, i) => writers.#write(client, `c${i}`)));
    return writers;
  }

  async stop(): Promise<void> {
    this.#phase.running = false;
    await this.#work;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop().finally(() => this.#rig.dispose());
  }

  async #write(client: RawClient, prefix: string): Promise<void> {
    for (let i = 0; this.#phase.running; i++) {
      const reply = await client.call("SET", `${prefix}:${i}`, "v");
      if (reply === "OK") this.acknowledged.push(`${prefix}:${i}`);
      else if (reply instanceof ReplyFault && reply.text.startsWith("NOREPLICAS")) this.unconfirmed++;
      else throw new Error(`SET answered ${JSON.stringify(reply)}`);
    }
  }
}

describe.concurrent("loss modes of a failover", () => {
  test("L1: writes that no replica has are lost with the primary, and the bound of it is told", async () => {
    await using rig = await FailoverRig.start({ config: PATIENT });
    const [[a, b]] = rig.servers;
    await write(a, "both", 10, 1);
    // What comes now is on the primary only; the controller sees its offset.
    await cutOff(b);
    for (let i = 0; i < 10; i++) await a.command("SET", `lost${i}`, "v".repeat(100));
    const looks = await looksAt(a);
    await until(async () => (await looksAt(a)) >= looks + 2, "the controller has seen its offset");
    a.signal("SIGKILL");
    const promoted = await rig.primaryBecomes((addr) => addr === b.addr);
    const [done] = await (await rig.leader()).events("failover-done");
    expect(await keysOf(promoted)).toBe(10);
    // A key is some 140 bytes of the stream.
    expect(done.fields["lostBytesMax"] as number).toBeGreaterThanOrEqual(10 * 100);
  });

  test("L1: with acks the replica that may have confirmed is waited for, and never passed over", async () => {
    await using rig = await FailoverRig.start({ replicas: 2, options: { acks: "replica" }, config: PATIENT });
    const [[a, b, c]] = rig.servers;
    await write(a, "both", 5, 2);
    await cutOff(c);
    await write(a, "confirmed", 5, 1);
    // Only b has these, and it goes together with the primary.
    b.signal("SIGSTOP");
    a.signal("SIGKILL");
    const leader = await rig.leader();
    await until(async () => (await leader.status()).problems.length > 0, "it is refused");
    expect((await leader.status()).problems.join()).toContain(
      `${b.addr} is silent or was started again, and may hold the only copy of confirmed writes`,
    );
    expect((await rig.group()).primary.addr).toBe(a.addr);
    b.signal("SIGCONT");
    const promoted = await rig.primaryBecomes((addr) => addr !== a.addr);
    expect([promoted.addr, await keysOf(promoted)]).toEqual([b.addr, 10]);
  });

  test("L1: with acks a copy that was started again is not passed over", async () => {
    const rigOptions = { replicas: 2, options: { acks: "replica" }, config: PATIENT };
    await using rig = await FailoverRig.start({ ...rigOptions, serverArgs: DURABLE });
    const [[a, b, c]] = rig.servers;
    await write(a, "both", 5, 2);
    await cutOff(c);
    await write(a, "confirmed", 5, 1);
    // Only b has these besides the primary; both go, and b comes back with its file.
    await b.kill();
    await a.kill();
    await b.launch();
    const leader = await rig.leader();
    const refusal = `${b.addr} is silent or was started again, and may hold the only copy`;
    await until(
      async () => (await leader.status()).problems.join().includes(refusal),
      "it is refused",
      20_000,
    );
    await a.launch();
    await until(() => rig.whole(), "the primary is back, and both follow", 20_000);
    expect((await rig.group()).primary.addr).toBe(a.addr);
    expect(await Promise.all([a, b, c].map(keysOf))).toEqual([10, 10, 10]);
  });

  test("L2: an old primary that a proxy still reaches confirms nothing after the switch", async () => {
    const rigOptions = { replicas: 2, relayed: [0, 1, 2], options: { acks: "replica" } };
    await using rig = await FailoverRig.start(rigOptions);
    const [[a, b, c]] = rig.servers;
    // A proxy that nobody can tell of the switch: it goes on writing to the server that it knows.
    await using writers = await StaleWriters.start(a, "replica 1 150ms");
    await until(() => writers.acknowledged.length > 100, "it writes");
    // The controller is cut off from the primary only. Its replicas are not; and the one that is not chosen
    // hears of the new primary late, so that it could go on confirming for the old one.
    for (const replica of [b, c]) rig.relayOf(replica).stopAt("REPLICAOF\r\n$9\r\n127.0.0.1");
    rig.relayOf(a).cutClients();
    const promoted = await rig.primaryBecomes((addr) => addr !== a.addr);
    const late = promoted === b ? c : b;
    await until(() => rig.relayOf(late).stopped > 0, "the other one would be told now");
    const refused = writers.unconfirmed;
    const confirmed = writers.acknowledged.length;
    await until(() => writers.unconfirmed > refused + 20, "nobody confirms what the old one does");
    expect(writers.acknowledged.length).toBe(confirmed);
    await writers.stop();
    for (const server of [a, b, c]) rig.relayOf(server).heal();
    await until(
      async () => (await rig.group()).replicas.every((one) => one.state === "online"),
      "both follow",
      20_000,
    );
    const found = (await promoted.command("MGET", ...writers.acknowledged)) as (string | null)[];
    expect(writers.acknowledged.filter((_, i) => found[i] === null)).toEqual([]);
    expect((await rig.group()).primary.addr).toBe(promoted.addr);
  });

  test("L4: of two replicas the one with more is promoted", async () => {
    await using rig = await FailoverRig.start({ replicas: 2, config: PATIENT });
    const [[a, b, c]] = rig.servers;
    await write(a, "both", 5, 2);
    // Whichever address is first: the choice must not depend on it.
    const [behind, ahead] = b.addr < c.addr ? [b, c] : [c, b];
    await cutOff(behind);
    await write(a, "more", 5, 1);
    a.signal("SIGKILL");
    const promoted = await rig.primaryBecomes((addr) => addr !== a.addr);
    expect([promoted.addr, await keysOf(promoted)]).toEqual([ahead.addr, 10]);
    await until(async () => (await keysOf(behind)) === 10, "the other one catches up");
  });

  test("L5: a stale primary that returns is not promoted, until it has been in sync again", async () => {
    await using rig = await FailoverRig.start({ serverArgs: DURABLE });
    const [[a, b]] = rig.servers;
    await write(a, "old", 5, 1);
    await a.kill();
    await rig.primaryBecomes((addr) => addr === b.addr);
    for (let i = 0; i < 5; i++) await b.command("SET", `new${i}`, "v");
    // The new one dies before the old one is back with what it had.
    b.signal("SIGSTOP");
    const leader = await rig.leader();
    await until(async () => (await rig.group()).state === "down", "the new primary is down");
    await a.launch();
    const refusal = `${a.addr} has not been in sync with the present`;
    await until(
      async () => (await leader.status()).problems.join().includes(refusal),
      "its return is judged",
    );
    // Long enough for several decisions.
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect((await rig.group()).primary.addr).toBe(b.addr);
    b.signal("SIGCONT");
    await until(async () => (await rig.group()).protected === true, "it is in sync again", 20_000);
    b.signal("SIGKILL");
    const promoted = await rig.primaryBecomes((addr) => addr === a.addr);
    expect(await keysOf(promoted)).toBe(10);
  });

  test("L6: a primary that comes back empty, faster than anybody notices, wipes no replica", async () => {
    await using rig = await FailoverRig.start({ replicas: 2 });
    const [[a, b, c]] = rig.servers;
    await write(a, "k", 20, 2);
    await a.kill();
    await a.launch();
    expect(await keysOf(a)).toBe(0);
    const promoted = await rig.primaryBecomes((addr) => addr !== a.addr);
    expect([b.addr, c.addr]).toContain(promoted.addr);
    expect(await keysOf(promoted)).toBe(20);
    const leader = await rig.leader();
    expect(await leader.events("server-down")).toEqual([]);
    await until(() => rig.whole(), "the empty one follows", 20_000);
    expect(await Promise.all([a, b, c].map(keysOf))).toEqual([20, 20, 20]);
  });

  test("L6: no controller is there, and an empty primary wipes no replica either", async () => {
    await using rig = await FailoverRig.start();
    const [[a, b]] = rig.servers;
    await write(a, "k", 20, 1);
    const [leader] = rig.controllers;
    await leader.kill();
    await a.kill();
    await a.launch();
    // The replica tries each second, and is refused.
    await new Promise((resolve) => setTimeout(resolve, 2500));
    expect(await keysOf(b)).toBe(20);
    await leader.start();
    expect((await rig.primaryBecomes((addr) => addr === b.addr)).addr).toBe(b.addr);
    await until(async () => (await keysOf(a)) === 20, "the empty one has copied it");
  });

  test("L6: an empty primary whose replica may not take over is reported", async () => {
    await using rig = await FailoverRig.start({ serverArgs: DURABLE });
    const [[a, b]] = rig.servers;
    await write(a, "k", 20, 1);
    // The replica was started again: it has its keys, but nobody knows how many are missing.
    await b.kill();
    await a.kill();
    await a.launch();
    await a.command("FLUSHALL");
    await b.launch();
    const leader = await rig.leader();
    await until(
      async () => (await leader.status()).problems.join().includes("came back empty"),
      "it is reported",
    );
    expect(await keysOf(b)).toBe(20);
    expect(await leader.failover("g1", { to: b.addr, force: true })).toMatchObject({ to: b.addr });
    await until(async () => (await keysOf(a)) === 20, "the empty one follows");
  });

  test("a replication user that somebody has deleted is made again, and its replicas come back", async () => {
    await using rig = await FailoverRig.start();
    const [[a, b]] = rig.servers;
    // ACL DELUSER also cuts the connections of the user.
    expect(await a.command("ACL", "DELUSER", "shoal-replication")).toBe(1);
    await until(async () => (await rig.group()).protected === false, "the replica is cut off");
    await until(() => rig.whole(), "it is back", 20_000);
    await write(a, "k", 5, 1);
    expect(await keysOf(b)).toBe(5);
  });

  test("L7: after a switch every other replica follows the new primary, also one that was away", async () => {
    await using rig = await FailoverRig.start({ replicas: 3 });
    const [[a, b, c, d]] = rig.servers;
    await write(a, "k", 5, 3);
    d.signal("SIGSTOP");
    a.signal("SIGKILL");
    const second = await rig.primaryBecomes((addr) => addr !== a.addr);
    d.signal("SIGCONT");
    const others = [b, c, d].filter((server) => server !== second);
    await until(async () => {
      const { replicas } = await rig.group();
      return replicas.filter((one) => one.state === "online").length === 2;
    }, "both others follow the new primary");
    await second.command("SET", "after", "v");
    expect(await second.command("WAIT", "2", "2000")).toBe(2);
    // And the next failure does not lose the group.
    await until(async () => (await rig.group()).protected === true, "the group is protected");
    second.signal("SIGKILL");
    const third = await rig.primaryBecomes((addr) => others.some((server) => server.addr === addr));
    expect(await third.command("GET", "after")).toBe("v");
  });
});
