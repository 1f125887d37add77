/** Requests for a group without a server wait, in order and in bounded time, and nobody else notices. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { ClusterMap } from "../../src/topology/cluster-map.ts";
import { encode, type RawClient, type Reply, ReplyFault } from "../robustness/raw-client.ts";
import { mapOf, Rig, type Settings, TRANSPORTS } from "../robustness/rig.ts";
import { RedisProcess } from "../support/redis-process.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(60_000);

const SERVER_TIMEOUT_MS = 1200;
/** Fast retries, so that a restarted server is found soon. */
const QUICK = { server_timeout_ms: SERVER_TIMEOUT_MS, reconnect_backoff_ms_max: 100 };

let servers: RedisProcess[];
let rig: Rig;

beforeEach(async () => {
  servers = await Promise.all([RedisProcess.start(), RedisProcess.start()]);
});

afterEach(async () => {
  await rig.dispose();
  await Promise.all(servers.map((server) => server.dispose()));
});

async function startRig(io: (typeof TRANSPORTS)[number], settings: Settings = {}): Promise<void> {
  rig = await Rig.start(servers.slice(0, 2), io, { ...QUICK, ...settings });
}

/** The map with another primary for g2. */
function withPrimary(address: string, version: number): ClusterMap {
  const map = mapOf(
    servers.slice(0, 2).map((server) => server.addr),
    version,
  );
  return {
    ...map,
    groups: map.groups.map((each) => (each.id === "g2" ? { ...each, primary: address } : each)),
  };
}

/** Sends without waiting; `settled` says whether the reply is here. */
function send(client: RawClient, ...words: string[]): { settled: boolean; reply: Promise<Reply> } {
  const sent = { settled: false, reply: client.call(...words) };
  sent.reply.then(
    () => (sent.settled = true),
    () => undefined,
  );
  return sent;
}

async function heldCount(): Promise<number> {
  const observer = await rig.connect();
  const text = String(await observer.call("INFO", "shoal"));
  observer.close();
  return Number(/shoal_held_clients:(\d+)/.exec(text)?.[1] ?? -1);
}

/** The worker has seen that g2's server is gone, and holds so many clients. */
async function untilHeld(count: number): Promise<void> {
  await until(async () => (await heldCount()) === count, `${count} clients are held`);
}

describe.each(TRANSPORTS)("a lost primary (%s)", (io) => {
  test("everything waits and is answered in order when the server is back", async () => {
    await startRig(io);
    const key = rig.keyIn(1, "{a}");
    const other = rig.keyIn(0, "other");
    const setup = await rig.connect();
    for (const each of [key, other]) expect(await setup.call("SET", each, "0")).toBe("OK");
    await servers[1].kill();
    const watching = await rig.connect();
    const pipelined = await rig.connect();
    pipelined.write(
      Buffer.concat([
        encode("SET", other, "1"),
        encode("SET", key, "1"),
        encode("GET", other),
        encode("INCR", key),
        encode("GET", key),
      ]),
    );
    // The reply before the wait comes; what is behind it does not, though its group is there.
    expect(await pipelined.next()).toBe("OK");
    const value = "v".repeat(3 << 20);
    const waiting = [
      send(await rig.connect(), "MGET", key, other),
      send(await rig.connect(), "MSET", `${other}:m`, "m", `${key}:m`, "m"),
      send(await rig.connect(), "DBSIZE"),
      send(await rig.connect(), "EVAL", "return redis.call('incrby', KEYS[1], 10)", "1", `${key}:e`),
      send(await rig.connect(), "BLPOP", `${key}:l`, "0.05"),
      send(await rig.connect(), "PUBLISH", key, "x"),
      send(await rig.connect(), "SET", `${key}:big`, value),
      send(watching, "WATCH", key),
    ];
    const transaction = await rig.connect();
    expect(await transaction.call("MULTI")).toBe("OK");
    expect(await transaction.call("SET", `${key}:t`, "t")).toBe("QUEUED");
    waiting.push(send(transaction, "EXEC"));
    await untilHeld(waiting.length + 1);
    expect(waiting.some(({ settled }) => settled)).toBe(false);
    await servers[1].launch();
    expect(await pipelined.take(4)).toEqual(["OK", "1", 2, "2"]);
    const replies = await Promise.all(waiting.map(({ reply }) => reply));
    expect(replies[0]).toHaveLength(2);
    expect(replies.slice(1)).toEqual(["OK", expect.any(Number), 10, null, 0, "OK", "OK", ["OK"]]);
    expect(String(await setup.call("GET", `${key}:big`)).length).toBe(value.length);
    expect(await heldCount()).toBe(0);
  });

  test("L12, L16: what waited goes to the primary of the next map; what may have run is told", async () => {
    await startRig(io);
    const spare = await RedisProcess.start();
    servers.push(spare);
    const keys = rig.keysIn(1, 20, "k");
    const clients = await Promise.all(keys.map(() => rig.connect()));
    const phase = { running: true };
    const faults: string[] = [];
    const rounds: number[] = keys.map(() => 0);
    const load = clients.map(async (client, i) => {
      const key = keys[i];
      while (phase.running) {
        const word = `${key}:${rounds[i]++}`;
        // ECHO is the proxy's own: its reply shows that none has been left out or crossed.
        client.write(Buffer.concat([encode("SET", key, word), encode("ECHO", word), encode("GET", key)]));
        const [set, echoed, got] = await client.take(3);
        expect(echoed).toBe(word);
        for (const reply of [set, got]) if (reply instanceof ReplyFault) faults.push(reply.text);
        expect(got).not.toBeInstanceOf(ReplyFault);
        // A read that is sent again asks the spare, which has none of the keys.
        if (set === "OK" && got !== null) expect(got).toBe(word);
      }
    });
    await until(() => rounds.every((round) => round > 20), "under load");
    await servers[1].kill();
    await until(async () => (await heldCount()) === clients.length, "all of them wait");
    const before = [...rounds];
    rig.sendMap(withPrimary(spare.addr, 2));
    await until(() => rounds.every((round, i) => round > before[i] + 20), "all go on");
    phase.running = false;
    await Promise.all(load);
    // One write of each client can have been under way.
    expect(faults.length).toBeLessThanOrEqual(clients.length);
    expect(faults.filter((text) => !text.endsWith("the command may have run"))).toEqual([]);
    expect(rig.acks.at(-1)).toBe(2);
  });

  test("the time runs from the loss; then requests fail at once until the server is back", async () => {
    await startRig(io, { hold_timeout_ms: 800 });
    const key = rig.keyIn(1);
    const elsewhere = rig.keyIn(0);
    const client = await rig.connect();
    const bystander = await rig.connect();
    expect(await client.call("SET", key, "1")).toBe("OK");
    await servers[1].kill();
    const startMs = performance.now();
    const held = send(client, "GET", key);
    let longestMs = 0;
    while (!held.settled) {
      const callMs = performance.now();
      expect(await bystander.call("SET", elsewhere, "x")).toBe("OK");
      longestMs = Math.max(longestMs, performance.now() - callMs);
    }
    const tookMs = performance.now() - startMs;
    expect(((await held.reply) as ReplyFault).text).toStartWith(
      `ERR Cannot reach server ${servers[1].addr} of group g2`,
    );
    expect(tookMs).toBeGreaterThan(600);
    expect(longestMs).toBeLessThan(500);
    const againMs = performance.now();
    for (let i = 0; i < 10; i++)
      expect(await client.fault("GET", key)).toStartWith("ERR Cannot reach server");
    expect(await client.fault("MGET", key, elsewhere)).toStartWith("ERR Cannot reach server");
    expect(performance.now() - againMs).toBeLessThan(500);
    await servers[1].launch();
    await until(async () => (await client.call("SET", key, "2")) === "OK", "it is back");
    // Lost again: the time begins anew.
    await servers[1].kill();
    const second = send(client, "GET", key);
    await untilHeld(1);
    expect(second.settled).toBe(false);
    await servers[1].launch();
    expect(await second.reply).toBeNull();
  });

  test("the map's option goes before the configuration: 0 fails at once, and so it did before", async () => {
    await startRig(io);
    const key = rig.keyIn(1);
    const client = await rig.connect();
    expect(await client.call("SET", key, "1")).toBe("OK");
    await servers[1].kill();
    const held = send(client, "GET", key);
    await untilHeld(1);
    const map = mapOf(
      servers.map((server) => server.addr),
      2,
    );
    rig.sendMap({ ...map, options: { hold_timeout_ms: 0 } });
    expect(await held.reply).toBeInstanceOf(ReplyFault);
    expect(await client.fault("GET", key)).toStartWith("ERR Cannot reach server");
  });

  test("a client that gives up meanwhile: its write is not done later", async () => {
    await startRig(io);
    const [key, other] = rig.keysIn(1, 2);
    const client = await rig.connect();
    expect(await client.call("SET", key, "before")).toBe("OK");
    await servers[1].kill();
    const gone = await rig.connect();
    send(gone, "SET", key, "given up");
    const stays = send(await rig.connect(), "SET", other, "stays");
    await untilHeld(2);
    gone.close();
    await untilHeld(1);
    await servers[1].launch();
    expect(await stays.reply).toBe("OK");
    expect(await client.call("MGET", key, other)).toEqual([null, "stays"]);
  });

  test("a worker that starts while the server is down waits for it, too", async () => {
    await servers[1].kill();
    await startRig(io);
    const client = await rig.connect();
    const held = send(client, "SET", rig.keyIn(1), "1");
    await untilHeld(1);
    await servers[1].launch();
    expect(await held.reply).toBe("OK");
  });

  test("a primary that comes back as a replica is not used: the map will name another", async () => {
    await startRig(io);
    const key = rig.keyIn(1);
    const client = await rig.connect();
    expect(await client.call("SET", key, "1")).toBe("OK");
    const spare = await RedisProcess.start();
    servers.push(spare);
    await servers[1].kill();
    const port = servers[1].port;
    await servers[1].dispose();
    const held = send(client, "SET", key, "2");
    await untilHeld(1);
    const replica = new RedisProcess(port, spare.folder, ["--replicaof", "127.0.0.1", String(spare.port)]);
    servers[1] = replica;
    await replica.launch();
    await until(
      () => rig.sights.some(({ addr, detail }) => addr === replica.addr && detail === "it is a replica now"),
      "its role is seen",
    );
    expect(held.settled).toBe(false);
    rig.sendMap(withPrimary(spare.addr, 2));
    expect(await held.reply).toBe("OK");
    expect(await spare.command("GET", key)).toBe("2");
  });
});

describe.each(TRANSPORTS)("a frozen primary (%s)", (io) => {
  test("in flight: an error in bounded time; new requests wait; others do not notice", async () => {
    await startRig(io);
    const key = rig.keyIn(1);
    const elsewhere = rig.keyIn(0);
    const client = await rig.connect();
    const bystander = await rig.connect();
    expect(await client.call("SET", key, "1")).toBe("OK");
    servers[1].signal("SIGSTOP");
    const startMs = performance.now();
    const inFlight = send(client, "INCR", key);
    let longestMs = 0;
    while (!inFlight.settled) {
      const callMs = performance.now();
      expect(await bystander.call("SET", elsewhere, "x")).toBe("OK");
      longestMs = Math.max(longestMs, performance.now() - callMs);
    }
    expect(((await inFlight.reply) as ReplyFault).text).toEndWith("the command may have run");
    expect(performance.now() - startMs).toBeLessThan(SERVER_TIMEOUT_MS + 2000);
    expect(longestMs).toBeLessThan(SERVER_TIMEOUT_MS * 0.7);
    const held = send(client, "GET", key);
    const resp3 = await rig.connect();
    expect(await resp3.call("HELLO", "3")).toBeArray();
    const other = send(resp3, "GET", key);
    await untilHeld(2);
    servers[1].signal("SIGCONT");
    // The INCR lay in its socket and has run by now: the error said that it may.
    expect(await Promise.all([held.reply, other.reply])).toEqual(["2", "2"]);
  });
});

describe.each(TRANSPORTS)("a frozen primary that is replaced (%s)", (io) => {
  test("L15: nobody waits on for it: not what was under way, not a blocked client, not the map", async () => {
    await startRig(io, { server_timeout_ms: 30_000 });
    const spare = await RedisProcess.start();
    servers.push(spare);
    const key = rig.keyIn(1);
    const blocked = await rig.connect();
    const client = await rig.connect();
    expect(await client.call("SET", key, "1")).toBe("OK");
    const pop = send(blocked, "BLPOP", `{${key}}list`, "0");
    await until(
      async () => String(await servers[1].command("INFO", "clients")).includes("blocked_clients:1"),
      "it waits",
    );
    servers[1].signal("SIGSTOP");
    const inFlight = send(client, "INCR", key);
    await until(
      () => rig.sights.some(({ addr, state }) => addr === servers[1].addr && state === "down"),
      "the freeze is seen",
    );
    rig.sendMap(withPrimary(spare.addr, 2));
    expect(((await inFlight.reply) as ReplyFault).text).toEndWith("the command may have run");
    expect(await pop.reply).toBeInstanceOf(ReplyFault);
    await until(() => rig.acks.includes(2), "acknowledged");
    for (const each of [client, blocked]) expect(await each.call("SET", key, "2")).toBe("OK");
    expect(await spare.command("GET", key)).toBe("2");
  });
});

describe.each(TRANSPORTS)("a group that the map holds (%s)", (io) => {
  test("L3: what is in flight ends, then it is acknowledged; the rest goes to the next primary", async () => {
    await startRig(io, { server_timeout_ms: 10_000 });
    const key = rig.keyIn(1);
    const elsewhere = rig.keyIn(0);
    const spare = await RedisProcess.start();
    servers.push(spare);
    const client = await rig.connect();
    expect(await client.call("SET", key, "old")).toBe("OK");
    // A script that runs while the map comes.
    const slow = await rig.connect();
    const now = "(function() local t = redis.call('time') return t[1] * 1000 + t[2] / 1000 end)()";
    const script = `local t = ${now}; while ${now} - t < 2000 do end return 'ran'`;
    const inFlight = send(slow, "EVAL", script, "1", key);
    await until(async () => {
      const answered = servers[1].command("PING").then(() => true);
      return !(await Promise.race([answered, Bun.sleep(150).then(() => false)]));
    }, "the script runs");
    const map = mapOf(
      servers.slice(0, 2).map((server) => server.addr),
      2,
    );
    rig.sendMap({
      ...map,
      groups: map.groups.map((each) => (each.id === "g2" ? { ...each, held: true } : each)),
    });
    await until(async () => String(await client.call("INFO", "shoal")).includes("map_version:2"), "in force");
    const waiting = [
      send(await rig.connect(), "GET", key),
      send(await rig.connect(), "SET", `${key}x`, "x"),
      send(await rig.connect(), "DBSIZE"),
      send(await rig.connect(), "FLUSHALL"),
      send(await rig.connect(), "PUBLISH", key, "x"),
    ];
    expect(await client.call("SET", elsewhere, "served")).toBe("OK");
    expect(await inFlight.reply).toBe("ran");
    await until(() => rig.acks.includes(2), "acknowledged");
    expect(waiting.some(({ settled }) => settled)).toBe(false);
    rig.sendMap(withPrimary(spare.addr, 3));
    await Promise.all(waiting.map(({ reply }) => reply));
    expect(await servers[1].command("GET", key)).toBe("old");
    expect(Number(await spare.command("DBSIZE"))).toBeLessThanOrEqual(1);
  });
});
