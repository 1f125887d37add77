/** Servers that die, freeze or refuse: who is told what, and when, and that nobody else notices. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { createServer } from "node:net";
import { RedisProcess } from "../support/redis-process.ts";
import { until } from "../support/until.ts";
import { encode, type RawClient, ReplyFault } from "./raw-client.ts";
import { Rig, TRANSPORTS } from "./rig.ts";

setDefaultTimeout(60_000);

/** Short, so that the tests are; long enough that a busy machine is not taken for a hung server. */
const SERVER_TIMEOUT_MS = 1500;

let servers: RedisProcess[];
let rig: Rig;

async function startRig(io: (typeof TRANSPORTS)[number], settings = {}): Promise<void> {
  rig = await Rig.start(servers, io, {
    server_timeout_ms: SERVER_TIMEOUT_MS,
    // Fail at once: what is told to whom is the matter here. Holding has tests of its own
    // (holding.redis.test.ts).
    hold_timeout_ms: 0,
    ...settings,
  });
}

beforeEach(async () => {
  servers = await Promise.all([RedisProcess.start(), RedisProcess.start(), RedisProcess.start()]);
});

afterEach(async () => {
  await rig.dispose();
  await Promise.all(servers.map((server) => server.dispose()));
});

/** Calls one after the other until told to stop; none may fail. */
class Bystander {
  calls = 0;
  longestMs = 0;
  #running = true;
  readonly #ended: Promise<void>;

  constructor(client: RawClient, key: string) {
    this.#ended = this.#run(client, key);
  }

  async #run(client: RawClient, key: string): Promise<void> {
    expect(await client.call("SET", key, key)).toBe("OK");
    while (this.#running) {
      const startMs = performance.now();
      expect(await client.call("GET", key)).toBe(key);
      this.longestMs = Math.max(this.longestMs, performance.now() - startMs);
      this.calls++;
    }
  }

  /** Rejects when a call went wrong. */
  async stop(): Promise<void> {
    this.#running = false;
    await this.#ended;
  }
}

async function bystanders(): Promise<Bystander[]> {
  const all: Bystander[] = [];
  for (const group of [0, 2]) all.push(new Bystander(await rig.connect(), rig.keyIn(group, "bystander")));
  await until(() => all.every((one) => one.calls > 0), "the bystanders are served");
  return all;
}

describe.each(TRANSPORTS)("a server that dies (%s)", (io) => {
  test("errors at once for its keys, service for all others, back by itself", async () => {
    await startRig(io);
    const client = await rig.connect();
    const key = rig.keyIn(1);
    expect(await client.call("SET", key, "before")).toBe("OK");
    const others = await bystanders();
    await servers[1].kill();
    const { addr } = servers[1];
    const told = `ERR Cannot reach server ${addr} of group g2`;
    await until(async () => (await client.fault("GET", key)).includes("connection refused"), "it is noticed");
    expect(await client.fault("SET", key, "x")).toBe(`${told}: connection refused`);
    // Many at once, between such that go elsewhere: each gets its own answer, in order.
    const [other] = rig.keysIn(0, 1, "alive");
    const pair = [encode("SET", other, "1"), encode("INCR", key)];
    client.write(Buffer.concat(Array.from({ length: 500 }, () => pair).flat()));
    const replies = await client.take(1000);
    expect(
      replies.every((reply, i) =>
        i % 2 === 0 ? reply === "OK" : (reply as ReplyFault).text.startsWith(told),
      ),
    ).toBe(true);
    const before = others.map((one) => one.calls);
    await until(() => others.every((one, i) => one.calls > before[i] + 20), "the others are served on");
    await servers[1].launch();
    await until(async () => (await client.call("SET", key, "after")) === "OK", "it is back");
    await Promise.all(others.map((one) => one.stop()));
  });

  test("it is tried again with growing pauses", async () => {
    const attempts: number[] = [];
    // The test's own client would knock, too.
    servers[1].client.close();
    await servers[1].kill();
    const door = createServer((socket) => {
      attempts.push(performance.now());
      socket.destroy();
    });
    await new Promise<void>((resolve) => door.listen(servers[1].port, "127.0.0.1", resolve));
    await startRig(io, { reconnect_backoff_ms_min: 40, reconnect_backoff_ms_max: 320 });
    const client = await rig.connect();
    await client.call("GET", rig.keyIn(1));
    await until(() => attempts.length >= 8, "eight attempts");
    door.close();
    // Half of each pause is drawn by lot: 20 to 40, 40 to 80 … 160 to 320 ms. A timer is never early.
    const pauses = attempts.slice(1).map((at, i) => at - attempts[i]);
    const least = [20, 40, 80, 160, 160, 160, 160];
    for (let i = 0; i < least.length; i++) expect(pauses[i]).toBeGreaterThan(least[i] * 0.9 - 12);
    expect(new Set(pauses.slice(3).map(Math.round)).size).toBeGreaterThan(1);
  });

  test("what may have run is said to be so, what has not been sent is not (L12)", async () => {
    await startRig(io);
    const [key] = rig.keysIn(1, 1, "counter");
    const clients = await Promise.all(Array.from({ length: 10 }, () => rig.connect()));
    let acknowledged = 0;
    let unknown = 0;
    let refused = 0;
    const phase = { running: true };
    const load = clients.map(async (client) => {
      while (phase.running) {
        const depth = 20;
        client.write(Buffer.concat(Array.from({ length: depth }, () => encode("INCR", key))));
        for (const reply of await client.take(depth)) {
          if (typeof reply === "number") acknowledged++;
          else if ((reply as ReplyFault).text.endsWith("the command may have run")) unknown++;
          else refused++;
        }
        // Refusals come at once; this is no test of how many.
        if (refused > 0) await Bun.sleep(1);
      }
    });
    for (let round = 0; round < 12; round++) {
      const before = acknowledged;
      await until(() => acknowledged > before + 100, "served");
      await servers[1].command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
    }
    const settled = acknowledged;
    await until(() => acknowledged > settled + 100, "served");
    // A freeze: what lies in its socket runs when it thaws, after the proxy has given up waiting.
    servers[1].signal("SIGSTOP");
    const unknownBefore = unknown;
    await until(() => unknown > unknownBefore, "the freeze is noticed");
    servers[1].signal("SIGCONT");
    const before = acknowledged;
    await until(() => acknowledged > before + 100, "served again");
    phase.running = false;
    await Promise.all(load);
    const counted = Number(await servers[1].command("GET", key));
    console.log(
      `${io}: ${acknowledged} acknowledged, ${unknown} unknown, ${refused} refused, ${counted} counted`,
    );
    expect(unknown).toBeGreaterThan(0);
    expect(counted).toBeGreaterThanOrEqual(acknowledged);
    expect(counted).toBeLessThanOrEqual(acknowledged + unknown);
  });
});

describe.each(TRANSPORTS)("a server that freezes (%s)", (io) => {
  test("its clients are told in bounded time, nobody else waits, SIGCONT brings it back", async () => {
    await startRig(io);
    const [key, elsewhere] = [rig.keyIn(1), rig.keyIn(0)];
    const client = await rig.connect();
    expect(await client.call("SET", key, "thawed")).toBe("OK");
    const others = await bystanders();
    servers[1].signal("SIGSTOP");
    const startMs = performance.now();
    client.write(
      Buffer.concat([encode("SET", elsewhere, "1"), encode("GET", key), encode("GET", elsewhere)]),
    );
    const replies = await client.take(3);
    const tookMs = performance.now() - startMs;
    expect([replies[0], replies[2]]).toEqual(["OK", "1"]);
    const { text } = replies[1] as ReplyFault;
    expect(text).toContain(`no answer within ${SERVER_TIMEOUT_MS} ms), the command may have run`);
    expect(tookMs).toBeGreaterThan(SERVER_TIMEOUT_MS * 0.8);
    expect(tookMs).toBeLessThan(SERVER_TIMEOUT_MS + 4000);
    // From now on it fails at once: ten in a row take less than one wait.
    const againMs = performance.now();
    for (let i = 0; i < 10; i++)
      expect(await client.fault("GET", key)).toStartWith("ERR Cannot reach server");
    expect(performance.now() - againMs).toBeLessThan(SERVER_TIMEOUT_MS);
    servers[1].signal("SIGCONT");
    await until(async () => (await client.call("GET", key)) === "thawed", "it is back");
    await Promise.all(others.map((one) => one.stop()));
    const longest = Math.max(...others.map((one) => one.longestMs));
    console.log(
      `${io}: told after ${Math.round(tookMs)} ms; longest call elsewhere ${Math.round(longest)} ms`,
    );
    expect(longest).toBeLessThan(SERVER_TIMEOUT_MS * 0.8);
  });

  test("frozen before the first connection: nothing was sent there, so nothing runs later", async () => {
    await startRig(io, { server_connect_timeout_ms: 500 });
    const key = rig.keyIn(1, "first");
    const client = await rig.connect();
    servers[1].signal("SIGSTOP");
    const fault = await client.fault("INCR", key);
    expect(fault).toContain("Cannot reach server");
    expect(fault).not.toContain("may have run");
    servers[1].signal("SIGCONT");
    // Whatever had been sent before would have run by the time that the proxy gets through again.
    await until(async () => (await client.call("GET", key)) === null, "it serves again, and has no such key");
    expect(await servers[1].command("GET", key)).toBeNull();
  });
});

describe.each(TRANSPORTS)("no group at all (%s)", (io) => {
  test("commands for all groups say so, and the proxy lives", async () => {
    await startRig(io);
    const client = await rig.connect();
    await Promise.all(servers.map((server) => server.kill()));
    await until(async () => (await client.fault("DBSIZE")).includes("refused"), "it is noticed");
    const calls = [
      "KEYS *",
      "SCAN 0",
      "RANDOMKEY",
      "INFO",
      "PUBSUB NUMSUB a",
      "PUBSUB CHANNELS",
      "MGET a b c",
    ];
    for (const call of calls) {
      expect(await client.fault(...call.split(" "))).toStartWith("ERR Cannot reach server");
    }
    expect(await client.call("PING")).toBe("PONG");
  });
});

describe.each(TRANSPORTS)("half of a split request (%s)", (io) => {
  test("a dead group: the error tells which part ran (L11)", async () => {
    await startRig(io);
    const client = await rig.connect();
    const [a, b, c] = [0, 1, 2].map((group) => rig.keyIn(group, "split"));
    expect(await client.call("MSET", a, "1", b, "2", c, "3")).toBe("OK");
    await servers[1].kill();
    await until(async () => (await client.fault("GET", b)).includes("refused"), "it is noticed");
    const reason = `ERR Cannot reach server ${servers[1].addr} of group g2: connection refused`;
    const failed = `failed at group g2: ${reason}`;
    expect(await client.fault("MSET", a, "x", b, "y", c, "z")).toBe(
      `ERR MSET ran in part only: done by group g1, g3; ${failed}`,
    );
    expect(await client.call("MGET", a, c)).toEqual(["x", "z"]);
    expect(await client.fault("DEL", b, a)).toBe(`ERR DEL ran in part only: done by group g1; ${failed}`);
    expect(await client.call("EXISTS", a, c)).toBe(1);
    expect(await client.fault("MGET", a, b, c)).toStartWith("ERR Cannot reach server");
    expect(await client.fault("FLUSHALL")).toBe(
      `ERR FLUSHALL ran in part only: done by group g1, g3; ${failed}`,
    );
    expect(await client.fault("DBSIZE")).toStartWith("ERR Cannot reach server");
    expect(await client.call("PING")).toBe("PONG");
  });

  test("a group that freezes in the middle: the others' part ran, its own may have", async () => {
    await startRig(io);
    const client = await rig.connect();
    const [a, b] = [0, 1].map((group) => rig.keyIn(group, "split"));
    expect(await client.call("MSET", a, "1", b, "2")).toBe("OK");
    servers[1].signal("SIGSTOP");
    const text = await client.fault("MSET", a, "x", b, "y");
    expect(text).toStartWith("ERR MSET ran in part only: done by group g1; failed at group g2");
    expect(text).toEndWith("the command may have run");
    servers[1].signal("SIGCONT");
    await until(async () => typeof (await client.call("GET", b)) === "string", "it is back");
  });
});

describe.each(TRANSPORTS)("a server that refuses (%s)", (io) => {
  test("-OOM and -READONLY are passed on; reading goes on, other groups too", async () => {
    await startRig(io);
    const client = await rig.connect();
    const [a, b] = [0, 1].map((group) => rig.keyIn(group));
    expect(await client.call("MSET", a, "1", b, "2")).toBe("OK");
    await servers[1].command("CONFIG", "SET", "maxmemory", "1");
    expect(await client.fault("SET", b, "3")).toStartWith("OOM command not allowed");
    expect(await client.fault("MSET", a, "x", b, "y")).toStartWith(
      "ERR MSET ran in part only: done by group g1; failed at group g2: OOM command not allowed",
    );
    expect(await client.call("MGET", a, b)).toEqual(["x", "2"]);
    await servers[1].command("CONFIG", "SET", "maxmemory", "0");
    await servers[1].command("REPLICAOF", "127.0.0.1", "1");
    expect(await client.fault("SET", b, "3")).toStartWith(
      "READONLY You can't write against a read only replica",
    );
    expect(await client.call("MGET", a, b)).toEqual(["x", "2"]);
    await servers[1].command("REPLICAOF", "NO", "ONE");
    expect(await client.call("SET", b, "3")).toBe("OK");
  });

  test("a password is wanted and not given, or wrong: the error says so; the right one opens", async () => {
    await servers[1].dispose();
    servers[1] = await RedisProcess.start(["--requirepass", "secret"]);
    for (const [settings, words] of [
      [{}, "NOAUTH"],
      [{ server_password: "wrong" }, "WRONGPASS"],
    ] as const) {
      await startRig(io, settings);
      const client = await rig.connect();
      expect(await client.fault("GET", rig.keyIn(1))).toContain(words);
      expect(await client.fault("MGET", rig.keyIn(1), rig.keyIn(1, "b"))).toContain(words);
      await rig.dispose();
    }
    const others = [servers[0], servers[2]];
    for (const other of others) await other.command("CONFIG", "SET", "requirepass", "secret");
    await startRig(io, { server_password: "secret" });
    const client = await rig.connect();
    for (const group of [0, 1, 2]) expect(await client.call("SET", rig.keyIn(group), "in")).toBe("OK");
    expect(await client.call("HELLO", "3")).toContain("proto");
    for (const group of [0, 1, 2]) expect(await client.call("GET", rig.keyIn(group))).toBe("in");
  });

  test("-LOADING is passed on until the data is there", async () => {
    const slow = [
      "--appendonly",
      "yes",
      "--key-load-delay",
      "300",
      "--loading-process-events-interval-bytes",
      "1024",
    ];
    await servers[1].dispose();
    servers[1] = await RedisProcess.start(slow);
    await startRig(io);
    const client = await rig.connect();
    const keys = rig.keysIn(1, 4, "loaded");
    const requests = Array.from({ length: 6000 }, (_, i) => encode("SET", keys[i % 4], `v${i}`));
    client.write(Buffer.concat(requests));
    await client.take(requests.length);
    await servers[1].kill();
    const launched = servers[1].launch();
    const seen = new Set<string>();
    await until(async () => {
      const reply = await client.call("GET", keys[3]);
      if (reply instanceof ReplyFault) seen.add(reply.text.split(" ", 1)[0]);
      return reply === "v5999";
    }, "the data is back");
    await launched;
    expect([...seen]).toContain("LOADING");
  });
});
