/**
 * `acks: replica`: who waits for whom, how often replicas are asked, and which writes are confirmed at all.
 * What a client is told, and that nothing is lost, is in acks.redis.test.ts.
 */
import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { encode, type RawClient, type Reply, ReplyFault } from "../robustness/raw-client.ts";
import { mapOf, Rig, TRANSPORTS } from "../robustness/rig.ts";
import { RedisProcess } from "../support/redis-process.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(60_000);

/** Longer than any test: a frozen replica is let go when it has been seen who waits. */
const LONG_MS = 30_000;
const SHORT_MS = 200;
const SERVER_TIMEOUT_MS = 400;
/** Shared connections on which a server waits, for one need: ACK_STRIPES. */
const STRIPES = 4;

let primary: RedisProcess;
let replica: RedisProcess;
let rig: Rig;
let version = 1;

beforeAll(async () => {
  primary = await RedisProcess.start();
  replica = await RedisProcess.start(["--replicaof", "127.0.0.1", String(primary.port)]);
  await until(async () => {
    await primary.command("SET", "sign", "of life");
    return (await primary.command("WAIT", "1", "200")) === 1;
  }, "the replica confirms");
  rig = await Rig.start([primary], TRANSPORTS[0], { server_timeout_ms: SERVER_TIMEOUT_MS });
});

afterEach(() => replica.signal("SIGCONT"));

afterAll(async () => {
  await rig.dispose();
  await Promise.all([primary, replica].map((server) => server.dispose()));
});

async function useAcks(acks: string): Promise<void> {
  version++;
  rig.sendMap({ ...mapOf([primary.addr], version), options: { acks } });
  await until(() => rig.acks.includes(version), "the map is in force");
}

function connect(count: number): Promise<RawClient[]> {
  return Promise.all(Array.from({ length: count }, () => rig.connect()));
}

/** A call whose reply is not there for the time being. */
class Pending {
  reply: Reply | undefined;
  readonly done: Promise<Reply>;

  constructor(client: RawClient, ...words: string[]) {
    this.done = client.call(...words).then((reply) => (this.reply = reply));
  }
}

function textOf(reply: Reply): string {
  return reply instanceof ReplyFault ? reply.text : `no error: ${JSON.stringify(reply)}`;
}

function refusal(ms: number): string {
  return `NOREPLICAS Write was applied on the primary but not confirmed by 1 replica(s) within ${ms} ms`;
}

async function blockedAtPrimary(): Promise<number> {
  return Number(/blocked_clients:(\d+)/.exec(String(await primary.command("INFO", "clients")))?.[1]);
}

/** WAITs that the primary has answered. */
async function waits(): Promise<number> {
  const stats = String(await primary.command("INFO", "commandstats"));
  return Number(/cmdstat_wait:calls=(\d+)/.exec(stats)?.[1] ?? 0);
}

describe("acks: replica: who waits", () => {
  test("reads and other writes do not stand behind writes that wait long", async () => {
    await useAcks(`slow:*=replica 1 ${LONG_MS}, fast:*=replica 1 ${SHORT_MS}, *=async`);
    const clients = await connect(2 * STRIPES);
    const others = await connect(2 * STRIPES);
    replica.signal("SIGSTOP");
    const slow = clients.map((client, i) => new Pending(client, "SET", `slow:${i}`, "1"));
    await until(async () => (await blockedAtPrimary()) >= STRIPES, "each connection for them waits");
    for (const [i, other] of others.entries()) {
      expect(await other.call("SET", `free:${i}`, "x")).toBe("OK");
      expect(await other.call("GET", `slow:${i}`)).toBe("1");
      expect(await other.call("MGET", `free:${i}`, `slow:${i}`)).toEqual(["x", "1"]);
      expect(await other.call("EVAL_RO", "return redis.call('get', KEYS[1])", "1", `free:${i}`)).toBe("x");
    }
    // A write that may wait for less gets its own answer, in the words of its own rule.
    const fast = await Promise.all(others.map((other, i) => other.call("INCR", `fast:${i}`)));
    expect(fast.map(textOf)).toEqual(others.map(() => refusal(SHORT_MS)));
    expect(await others[0].call("GET", "fast:0")).toBe("1");
    expect(slow.filter(({ reply }) => reply !== undefined)).toEqual([]);
    replica.signal("SIGCONT");
    expect(await Promise.all(slow.map(({ done }) => done))).toEqual(clients.map(() => "OK"));
  });

  test("a client's own requests run in their order, whatever each of them waits for", async () => {
    await useAcks(`slow:*=replica 1 ${LONG_MS}, fast:*=replica 1 ${SHORT_MS}, *=async`);
    const clients = await connect(8);
    await Promise.all(
      clients.map(async (client, i) => {
        const keys = [`{${i}}`, `slow:{${i}}`, `fast:{${i}}`];
        let last: Reply[] = keys.map(() => null);
        for (let round = 0; round < 60; round++) {
          // Beginning with each of the three kinds, and with what was there before each write.
          const order = [0, 1, 2].map((at) => (at + round) % 3);
          const calls = order.flatMap((at) => [
            encode("GET", keys[at]),
            encode("SET", keys[at], `${round}`),
            encode("EVAL", "return redis.call('get', KEYS[1])", "1", keys[at]),
            encode("MULTI"),
            encode("APPEND", keys[at], "+"),
            encode("EXEC"),
          ]);
          client.write(Buffer.concat(calls));
          const replies = await client.take(calls.length);
          const wanted = order.flatMap((at) => {
            const length = `${round}`.length + 1;
            return [last[at], "OK", `${round}`, "OK", "QUEUED", [length]];
          });
          expect(replies).toEqual(wanted);
          last = keys.map(() => `${round}+`);
        }
      }),
    );
    // Values of every way that a request can take: whole, scanned while it arrives, streamed.
    for (const size of [20_000, 300_000, 3 << 20]) {
      const value = "x".repeat(size);
      const calls = ["GET slow:size", `SET slow:size ${value}`, "STRLEN slow:size", "SET slow:size -"];
      clients[0].write(Buffer.concat(calls.map((call) => encode(...call.split(" ")))));
      expect((await clients[0].take(calls.length)).slice(1)).toEqual(["OK", size, "OK"]);
    }
  });

  test("a server that waits long for its replicas is not taken for a hung one", async () => {
    const longMs = 3 * SERVER_TIMEOUT_MS;
    await useAcks(`slow:*=replica 1 ${longMs}, fast:*=replica 1 ${SHORT_MS}, *=async`);
    const client = await rig.connect();
    expect(await client.call("SET", "slow:0", "1")).toBe("OK");
    replica.signal("SIGSTOP");
    const slow = new Pending(client, "SET", "slow:0", "2");
    await until(async () => (await blockedAtPrimary()) === 1, "it waits");
    // Behind its own, over the same connection: the short WAIT is sent while the long one is under way.
    const fast = new Pending(client, "SET", "fast:0", "2");
    expect(textOf(await slow.done)).toBe(refusal(longMs));
    expect(textOf(await fast.done)).toStartWith("NOREPLICAS");
    expect(textOf(await fast.done)).not.toContain("lost");
  });

  test("one WAIT serves all writes of a batch", async () => {
    await useAcks("replica 1 2000");
    const clients = await connect(10 * STRIPES);
    for (const client of clients) expect(await client.call("SET", "k", "v")).toBe("OK");
    let before = await waits();
    clients[0].write(Buffer.concat(Array.from({ length: 100 }, (_, i) => encode("SET", `k${i}`, "v"))));
    expect(new Set(await clients[0].take(100))).toEqual(new Set(["OK"]));
    expect(await waits()).toBe(before + 1);
    // What has come from several clients when the worker looks is a batch for each of its connections.
    before = await waits();
    process.kill(rig.pid, "SIGSTOP");
    for (const client of clients) client.write(encode("INCR", "n"));
    await until(() => clients.every(({ socket }) => socket.writableLength === 0), "all is sent");
    process.kill(rig.pid, "SIGCONT");
    const counts = await Promise.all(clients.map((client) => client.next()));
    expect(counts.map(Number).toSorted((a, b) => a - b)).toEqual(clients.map((_, i) => i + 1));
    // A turn may end between two of them; far from one WAIT for each.
    expect((await waits()) - before).toBeLessThanOrEqual(2 * STRIPES);
    expect((await waits()) - before).toBeGreaterThan(0);
  });

  test("while no replica answers, what comes meanwhile shares a WAIT", async () => {
    await useAcks(`replica 1 ${LONG_MS}`);
    const clients = await connect(8 * STRIPES);
    const other = await rig.connect();
    const before = await waits();
    replica.signal("SIGSTOP");
    const writes: Pending[] = [];
    for (const client of clients) {
      writes.push(new Pending(client, "INCR", "shared"));
      // Each in a turn of its own.
      await other.call("GET", "shared");
    }
    await until(async () => (await blockedAtPrimary()) === STRIPES, "all connections wait");
    replica.signal("SIGCONT");
    const counts = await Promise.all(writes.map(({ done }) => done));
    expect(counts.map(Number).toSorted((a, b) => a - b)).toEqual(clients.map((_, i) => i + 1));
    expect((await waits()) - before).toBeLessThanOrEqual(4 * STRIPES);
  });

  test("an element that was waited for is confirmed like any other write", async () => {
    await useAcks(`replica 1 ${SHORT_MS}`);
    const [client, mover, reader] = await connect(3);
    expect(await client.call("XGROUP", "CREATE", "stream", "group", "$", "MKSTREAM")).toBe("OK");
    const popped = new Pending(client, "BLPOP", "list", "0");
    const moved = new Pending(mover, "BLMOVE", "from", "to", "LEFT", "RIGHT", "0");
    const read = "XREADGROUP GROUP group me BLOCK 0 STREAMS stream >".split(" ");
    const taken = new Pending(reader, ...read);
    await until(async () => (await blockedAtPrimary()) === 3, "the server waits for elements");
    // The replica has confirmed all that was there before: nothing but the elements is missing.
    await primary.command("SET", "sign", "of life");
    expect(await primary.command("WAIT", "1", "5000")).toBe(1);
    replica.signal("SIGSTOP");
    await primary.command("RPUSH", "list", "1");
    await primary.command("RPUSH", "from", "1");
    await primary.command("XADD", "stream", "*", "field", "1");
    for (const { done } of [popped, moved, taken]) expect(textOf(await done)).toBe(refusal(SHORT_MS));
    replica.signal("SIGCONT");
    const again = new Pending(client, "BLPOP", "list", "0");
    await until(async () => (await blockedAtPrimary()) === 1, "the server waits for elements");
    await primary.command("RPUSH", "list", "2");
    expect(await again.done).toEqual(["list", "2"]);
    expect(await mover.call("LRANGE", "to", "0", "-1")).toEqual(["1"]);
  });

  test("L15: CLIENT UNBLOCK ends the wait for an element, not the one for replicas", async () => {
    await useAcks(`replica 1 ${LONG_MS}`);
    const [client, other] = await connect(2);
    const id = String(await client.call("CLIENT", "ID"));
    const ended = new Pending(client, "BLPOP", "pop", "0");
    await until(async () => (await blockedAtPrimary()) === 1, "the server waits for an element");
    expect(await other.call("CLIENT", "UNBLOCK", id)).toBe(1);
    expect(await ended.done).toBeNull();
    const popped = new Pending(client, "BLPOP", "pop", "0");
    await until(async () => (await blockedAtPrimary()) === 1, "the server waits for an element");
    await primary.command("SET", "sign", "of life");
    expect(await primary.command("WAIT", "1", "5000")).toBe(1);
    replica.signal("SIGSTOP");
    await primary.command("RPUSH", "pop", "1");
    await until(async () => (await blockedAtPrimary()) === 1, "it waits for the replica");
    expect(await other.call("CLIENT", "UNBLOCK", id)).toBe(0);
    expect(popped.reply).toBeUndefined();
    replica.signal("SIGCONT");
    expect(await popped.done).toEqual(["pop", "1"]);
  });

  test("L15: an element popped for a client that is gone goes back, confirmed or not", async () => {
    await useAcks(`replica 1 ${SHORT_MS}`);
    const client = await rig.connect();
    client.write(encode("BLPOP", "left", "0"));
    await until(async () => (await blockedAtPrimary()) === 1, "the server waits for an element");
    replica.signal("SIGSTOP");
    process.kill(rig.pid, "SIGSTOP");
    await primary.command("RPUSH", "left", "1");
    expect(await primary.command("LLEN", "left")).toBe(0);
    client.close();
    process.kill(rig.pid, "SIGCONT");
    await until(async () => (await primary.command("LLEN", "left")) === 1, "it is back");
  });
});
