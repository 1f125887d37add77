/** `acks: replica`: a write is answered when replicas have it, or with an error that says what is known. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { encode, type RawClient, type Reply, ReplyFault } from "../robustness/raw-client.ts";
import { mapOf, Rig, type Settings, TRANSPORTS } from "../robustness/rig.ts";
import { RedisProcess } from "../support/redis-process.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(60_000);

/** How long the rules below let a write wait. */
const WAIT_MS = 800;
const APPLIED = "NOREPLICAS Write was applied on the primary but not confirmed by 1 replica(s)";
const UNCONFIRMED = `${APPLIED} within ${WAIT_MS} ms`;

let primary: RedisProcess;
let replica: RedisProcess;
let other: RedisProcess;
let rig: Rig;
let version: number;

beforeEach(async () => {
  [primary, other] = await Promise.all([RedisProcess.start(), RedisProcess.start()]);
  replica = await RedisProcess.start(["--replicaof", "127.0.0.1", String(primary.port)]);
  await until(async () => {
    await primary.command("SET", "sign", "of life");
    return (await primary.command("WAIT", "1", "200")) === 1;
  }, "the replica confirms");
});

afterEach(async () => {
  await rig.dispose();
  await Promise.all([primary, replica, other].map((server) => server.dispose()));
});

/** A worker over g1, which has the replica, and g2, which has none. */
async function startRig(
  io: (typeof TRANSPORTS)[number],
  acks: string,
  settings: Settings = {},
): Promise<void> {
  rig = await Rig.start([primary, other], io, { reconnect_backoff_ms_max: 100, ...settings });
  version = 1;
  await useAcks(acks);
}

async function useAcks(acks: string, primaryAddress = primary.addr): Promise<void> {
  version++;
  rig.sendMap({ ...mapOf([primaryAddress, other.addr], version), options: { acks } });
  await until(() => rig.acks.includes(version), "the map is in force");
}

/** A new client knows no more of the old lanes; sends one call and gives its error's text. */
async function faultOf(...words: string[]): Promise<string> {
  return (await rig.connect()).fault(...words);
}

describe.each(TRANSPORTS)("acks: replica (%s)", (io) => {
  test("every kind of write waits; what is not confirmed in time says so; reads do not wait", async () => {
    await startRig(io, `g2:*=async, *=replica 1 ${WAIT_MS}`);
    const key = rig.keyIn(0, "k");
    const tag = `{${key}}`;
    const free = rig.keyIn(1, "g2:");
    const client = await rig.connect();
    expect(await client.call("SET", key, "v")).toBe("OK");
    expect(await client.call("RPUSH", `${tag}l`, "1", "2", "3")).toBe(3);
    expect(await client.call("SET", `${tag}large`, "x".repeat(200_000))).toBe("OK");
    replica.signal("SIGSTOP");
    const watching = await rig.connect();
    expect(await watching.call("WATCH", `${tag}w`)).toBe("OK");
    expect(await watching.call("MULTI")).toBe("OK");
    expect(await watching.call("SET", `${tag}w`, "t")).toBe("QUEUED");
    const multi = await rig.connect();
    expect(await multi.call("MULTI")).toBe("OK");
    expect(await multi.call("INCR", `${tag}n`)).toBe("QUEUED");
    const faults = await Promise.all([
      faultOf("SET", key, "w"),
      faultOf("EVAL", "return redis.call('set', KEYS[1], 'e')", "1", `${tag}e`),
      faultOf("BLPOP", `${tag}l`, "1"),
      faultOf("GETDEL", `${tag}large`),
      faultOf("SET", `${tag}big`, "b".repeat(2 << 20)),
      watching.fault("EXEC"),
      multi.fault("EXEC"),
    ]);
    expect(faults.filter((text) => text !== UNCONFIRMED)).toEqual([]);
    // In part done: the other group's part needs no replica by its rule, but stands in the same command.
    expect(await faultOf("MSET", `${tag}m`, "1", rig.keyIn(1, "m"), "2")).toContain("NOREPLICAS");
    expect(await faultOf("SET", rig.keyIn(1, "lonely"), "1")).toBe(UNCONFIRMED);
    expect(await client.call("GET", `${tag}w`)).toBe("t");
    // What has not been done needs no confirmation.
    expect(await client.fault("INCR", `${tag}l`)).toStartWith("WRONGTYPE");
    expect(await client.call("SET", free, "x")).toBe("OK");
    expect(await client.call("INCRBY", free + "n", "5")).toBe(5);
    replica.signal("SIGCONT");
    await until(async () => (await client.call("SET", key, "again")) === "OK", "the replica confirms again");
    // All of it was done.
    expect(await client.call("GET", `${tag}n`)).toBe("1");
    expect(await client.call("LRANGE", `${tag}l`, "0", "-1")).toEqual(["2", "3"]);
    expect(await client.call("EXISTS", `${tag}large`)).toBe(0);
    expect(await client.call("STRLEN", `${tag}big`)).toBe(2 << 20);
  });

  test("more replicas are wanted than there are", async () => {
    await startRig(io, "replica 2 50ms");
    const fault = await faultOf("SET", rig.keyIn(0), "1");
    expect(fault).toEndWith("not confirmed by 2 replica(s) within 50 ms");
  });

  test("the primary dies between its reply and the replica's: it may be lost, says the error", async () => {
    await startRig(io, "replica 1 5000", { hold_timeout_ms: 0 });
    const client = await rig.connect();
    const key = rig.keyIn(0);
    expect(await client.call("SET", key, "1")).toBe("OK");
    replica.signal("SIGSTOP");
    client.write(encode("INCR", key));
    const reply = client.next();
    await until(async () => (await primary.command("GET", key)) === "2", "the primary has done it");
    await until(
      async () => String(await primary.command("INFO", "clients")).includes("blocked_clients:1"),
      "it waits",
    );
    await primary.kill();
    const { text } = (await reply) as ReplyFault;
    expect(text).toStartWith(`${APPLIED}, and it may be lost`);
  });

  test("L16: replies leave in order, through changes of the option", async () => {
    await startRig(io, "replica");
    const clients = await Promise.all(Array.from({ length: 8 }, () => rig.connect()));
    const phase = { running: true };
    let rounds = 0;
    const load = clients.map(async (client, i) => {
      const mine = rig.keyIn(0, `o${i}`);
      const theirs = rig.keyIn(1, `a:${i}`);
      for (let round = 0; phase.running; round++) {
        const word = `${i}:${round}`;
        const calls = [
          ["SET", mine, word],
          ["GET", mine],
          ["SET", theirs, word],
          ["ECHO", word],
          ["APPEND", mine, "+"],
          ["LPUSH", theirs, "x"],
          ["MGET", mine, theirs],
          ["GETSET", mine, "y".repeat(round % 50 === 0 ? 40_000 : 70)],
        ];
        client.write(Buffer.concat(calls.map((call) => encode(...call))));
        const replies: Reply[] = await client.take(calls.length);
        expect(replies[1]).toBe(word);
        expect(replies[3]).toBe(word);
        expect(replies[4]).toBe(word.length + 1);
        expect((replies[5] as ReplyFault).text).toStartWith("WRONGTYPE");
        expect(replies[6]).toEqual([`${word}+`, word]);
        expect(replies[7]).toBe(`${word}+`);
        rounds++;
      }
    });
    for (const acks of ["async", "a:*=async, *=replica", "replica", "async", "o*=replica 1 900, *=async"]) {
      const before = rounds;
      await useAcks(acks === "replica" ? "a:*=async, *=replica 1" : acks);
      await until(() => rounds > before + 50, `under load with ${acks}`);
    }
    phase.running = false;
    await Promise.all(load);
  });

  test("L16, L12: connections that break in the middle: nothing crossed, nothing run twice", async () => {
    await startRig(io, "replica");
    const clients = await Promise.all(Array.from({ length: 8 }, () => rig.connect()));
    const phase = { running: true };
    const counts = clients.map(() => ({ done: 0, unknown: 0 }));
    const load = clients.map(async (client, i) => {
      const counter = rig.keyIn(0, `c${i}`);
      for (let round = 0; phase.running; round++) {
        const word = `${i}:${round}`;
        const echo = [encode("ECHO", word), encode("ECHO", `${word}!`)];
        client.write(Buffer.concat([encode("INCR", counter), echo[0], encode("INCR", counter), echo[1]]));
        const replies = await client.take(4);
        expect([replies[1], replies[3]]).toEqual([word, `${word}!`]);
        for (const reply of [replies[0], replies[2]]) {
          if (typeof reply === "number") counts[i].done++;
          else counts[i].unknown++;
        }
      }
    });
    const done = (): number => counts.reduce((sum, each) => sum + each.done, 0);
    for (let kill = 0; kill < 8; kill++) {
      const before = done();
      await until(() => done() > before + 50, "under load");
      await primary.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
    }
    phase.running = false;
    await Promise.all(load);
    for (let i = 0; i < clients.length; i++) {
      const value = Number(await primary.command("GET", rig.keyIn(0, `c${i}`)));
      expect(value).toBeGreaterThanOrEqual(counts[i].done);
      expect(value).toBeLessThanOrEqual(counts[i].done + counts[i].unknown);
    }
    expect(counts.some(({ unknown }) => unknown > 0)).toBe(true);
  });

  test("L1: the primary is killed under load, the replica promoted; no confirmed write is lost", async () => {
    await startRig(io, "replica 1 2000");
    const clients = await Promise.all(Array.from({ length: 20 }, () => rig.connect()));
    const confirmed: string[][] = clients.map(() => []);
    const faults: string[] = [];
    const phase = { running: true };
    const load = clients.map(async (client: RawClient, i) => {
      const tag = rig.keyIn(0, `l${i}`);
      for (let next = 1; phase.running; next++) {
        const key = `{${tag}}:${next}`;
        const reply = await client.call("SET", key, "x");
        if (reply === "OK") confirmed[i].push(key);
        else faults.push((reply as ReplyFault).text);
      }
    });
    await until(() => confirmed.every((keys) => keys.length > 30), "under load");
    await primary.kill();
    await replica.command("REPLICAOF", "NO", "ONE");
    const before = confirmed.map((keys) => keys.length);
    version++;
    // The promoted one has no replica: from here on nothing is waited for.
    rig.sendMap({ ...mapOf([replica.addr, other.addr], version), options: { acks: "async" } });
    await until(() => confirmed.every((keys, i) => keys.length > before[i] + 30), "all go on");
    phase.running = false;
    await Promise.all(load);
    let lost = 0;
    for (const keys of confirmed) lost += keys.length - Number(await replica.command("EXISTS", ...keys));
    expect(lost).toBe(0);
    // Each client has one request under way.
    expect(faults.length).toBeLessThanOrEqual(clients.length);
    for (const text of faults) expect(text).toMatch(/may be lost|may have run/);
  });
});
