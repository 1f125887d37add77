/** Memory stays bounded, whatever a client does; and other clients are served meanwhile. */
import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { RedisProcess } from "../support/redis-process.ts";
import { until } from "../support/until.ts";
import { encode, type RawClient } from "./raw-client.ts";
import { peakBytesOf, Rig, TRANSPORTS } from "./rig.ts";

setDefaultTimeout(60_000);

const MIB = 1 << 20;

let servers: RedisProcess[];
let rig: Rig;

beforeAll(async () => {
  servers = await Promise.all([RedisProcess.start(), RedisProcess.start(), RedisProcess.start()]);
});

afterAll(async () => {
  await Promise.all(servers.map((server) => server.dispose()));
});

/** Starts measuring the worker's highest memory anew. */
function resetPeak(): void {
  writeFileSync(`/proc/${rig.pid}/clear_refs`, "5");
}

/** How far the worker's memory has been above `baseBytes` since `resetPeak`, in MiB. */
function peakAbove(baseBytes: number): number {
  return Math.round((peakBytesOf(rig.pid) - baseBytes) / MIB);
}

/** Writes a value of `size` bytes without having it in memory; the block is what it repeats. */
async function writeLargeSet(client: RawClient, key: string, size: number, block: Buffer): Promise<void> {
  client.write(`*3\r\n$3\r\nSET\r\n$${key.length}\r\n${key}\r\n$${size}\r\n`);
  for (let sent = 0; sent < size; sent += block.length) {
    await client.writeAll(block.subarray(0, Math.min(block.length, size - sent)));
  }
  client.write("\r\n");
}

/** Reads a bulk of `size` bytes that repeats `block`; whether it does. */
function readLargeGet(client: RawClient, key: string, size: number, block: Buffer): Promise<boolean> {
  const header = `$${size}\r\n`;
  let at = -header.length;
  let right = true;
  client.socket.removeAllListeners("data");
  client.write(encode("GET", key));
  return new Promise((resolve) => {
    client.socket.on("data", (received: Buffer) => {
      let chunk = received;
      if (at < 0) chunk = chunk.subarray(-at);
      at = Math.max(at, 0);
      while (chunk.length > 0 && at < size) {
        const from = at % block.length;
        const length = Math.min(chunk.length, block.length - from, size - at);
        right &&= chunk.compare(block, from, from + length, 0, length) === 0;
        chunk = chunk.subarray(length);
        at += length;
      }
      at += chunk.length;
      if (at >= size + 2) resolve(right && at === size + 2);
    });
    client.socket.on("close", () => resolve(false));
  });
}

describe.each(TRANSPORTS)("large values (%s)", (io) => {
  afterEach(() => rig.dispose());

  test("512 MiB SET and GET: passed on as they arrive, others served meanwhile", async () => {
    rig = await Rig.start(servers, io);
    const block = Buffer.from(Array.from({ length: 4 * MIB }, (_, i) => (i * 7 + (i >> 9)) & 255));
    const size = 512 * MIB;
    const client = await rig.connect();
    const other = await rig.connect();
    // On the same server: a shared connection would make it wait for half a gigabyte.
    const [key, otherKey] = rig.keysIn(1, 2, "large");
    await other.call("SET", otherKey, "small");
    const phase = { done: false };
    let served = 0;
    const base = rig.rssBytes();
    resetPeak();
    const others = (async () => {
      while (!phase.done) {
        expect(await other.call("GET", otherKey)).toBe("small");
        served++;
      }
    })();
    await writeLargeSet(client, key, size, block);
    expect(await client.next()).toBe("OK");
    phase.done = true;
    await others;
    const peakOfSet = peakAbove(base);
    expect(served).toBeGreaterThan(10);
    expect(peakOfSet).toBeLessThan(96);
    expect(await other.call("STRLEN", key)).toBe(size);
    resetPeak();
    expect(await readLargeGet(client, key, size, block)).toBe(true);
    console.log(
      `${io}: above rest: SET ${peakOfSet} MiB, GET ${peakAbove(base)} MiB; ${served} GETs meanwhile`,
    );
    expect(peakAbove(base)).toBeLessThan(700);
    expect(await other.call("DEL", key)).toBe(1);
  });

  test("a client that leaves in the middle of a large SET changes nothing", async () => {
    rig = await Rig.start(servers, io);
    const other = await rig.connect();
    await other.call("SET", "cut", "whole");
    const client = await rig.connect();
    client.write(`*3\r\n$3\r\nSET\r\n$3\r\ncut\r\n$${64 * MIB}\r\n`);
    await client.writeAll(Buffer.alloc(8 * MIB));
    client.close();
    await until(
      async () => ((await other.call("CLIENT", "LIST")) as string).split("\n").length === 2,
      "it is gone",
    );
    expect(await other.call("GET", "cut")).toBe("whole");
  });

  test("large values between small requests keep their place; muted ones are written, too", async () => {
    rig = await Rig.start(servers, io);
    const client = await rig.connect();
    const large = Buffer.alloc(3 * MIB, "x");
    const [a, b, c] = [0, 1, 2].map((group) => rig.keyIn(group, "mixed"));
    client.write(
      Buffer.concat([
        encode("SET", a, "1"),
        encode("SET", a, large),
        encode("APPEND", a, "y"),
        encode("SET", b, large),
        encode("MSET", b, large, c, large),
        encode("MGET", a, b, c),
        encode("CLIENT", "REPLY", "SKIP"),
        encode("SET", c, Buffer.alloc(2 * MIB, "z")),
        encode("STRLEN", c),
        encode("GETRANGE", a, String(3 * MIB - 1), "-1"),
      ]),
    );
    expect(await client.take(5)).toEqual(["OK", "OK", 3 * MIB + 1, "OK", "OK"]);
    const values = (await client.next()) as string[];
    expect(values.map((value) => value.length)).toEqual([3 * MIB + 1, 3 * MIB, 3 * MIB]);
    expect(await client.take(2)).toEqual([2 * MIB, "xy"]);
    await client.call("DEL", a, b, c);
  });
});

describe.each(TRANSPORTS)("large values in special sessions (%s)", (io) => {
  afterEach(() => rig.dispose());

  test("inside MULTI a large SET is queued like any other request", async () => {
    rig = await Rig.start(servers, io);
    const [client, other] = [await rig.connect(), await rig.connect()];
    const key = rig.keyIn(0, "queued");
    expect(await client.call("SET", key, "before")).toBe("OK");
    expect(await client.call("MULTI")).toBe("OK");
    expect(await client.call("SET", key, Buffer.alloc(3 * MIB, "q"))).toBe("QUEUED");
    expect(await other.call("GET", key)).toBe("before");
    expect(await client.call("STRLEN", key)).toBe("QUEUED");
    expect(await client.call("EXEC")).toEqual(["OK", 3 * MIB]);
    expect(await client.call("DEL", key)).toBe(1);
  });
});

/** What a client asks for, again and again, without ever reading an answer. */
const UNREAD: ReadonlyArray<readonly [string, (rig: Rig) => string[]]> = [
  ["values of 10 KB", (rig) => ["GET", rig.keyIn(0, "small")]],
  ["values of 200 KB", (rig) => ["GET", rig.keyIn(0, "large")]],
  ["lists", (rig) => ["LRANGE", rig.keyIn(0, "list"), "0", "-1"]],
  [
    "values of several servers",
    (rig) => ["MGET", rig.keyIn(0, "large"), rig.keyIn(1, "large"), rig.keyIn(2, "large")],
  ],
  ["the proxy's own long answers", () => ["COMMAND"]],
  ["the proxy's own short answers", () => ["PING"]],
  ["errors", () => ["NOSUCHCOMMAND"]],
];

describe.each(TRANSPORTS)("a client that never reads (%s)", (io) => {
  afterEach(() => rig.dispose());

  test.each(UNREAD)("%s: it is closed at the bound, or not read any more", async (_name, requestOf) => {
    rig = await Rig.start(servers, io, { client_output_bytes_max: 4 * MIB, client_in_flight_max: 1000 });
    const other = await rig.connect();
    for (const group of [0, 1, 2]) {
      await other.call("SET", rig.keyIn(group, "small"), "s".repeat(10_000));
      await other.call("SET", rig.keyIn(group, "large"), "l".repeat(200_000));
      await other.call("DEL", rig.keyIn(group, "list"));
      for (let i = 0; i < 20; i++) await other.call("RPUSH", rig.keyIn(group, "list"), "i".repeat(10_000));
    }
    const base = rig.rssBytes();
    resetPeak();
    const client = await rig.connect();
    client.socket.pause();
    const request = encode(...requestOf(rig));
    const pipeline = Buffer.concat(Array.from({ length: Math.ceil(MIB / request.length) }, () => request));
    // Asks for up to 64 MiB of requests: until the proxy has had enough of it, in one way or the other.
    let asked = 0;
    let stuck = false;
    while (!client.socket.destroyed && !stuck && asked < 64) {
      const taken = client.writeAll(pipeline).then(
        () => true,
        () => true,
      );
      stuck = !(await within(taken, 1000));
      asked++;
      expect(await other.call("GET", rig.keyIn(1, "small"))).toHaveLength(10_000);
    }
    expect(stuck || client.socket.destroyed).toBe(true);
    const peak = peakAbove(base);
    console.log(
      `${io}: ${peak} MiB above rest after ${asked} MiB asked; ${stuck ? "not read any more" : "closed"}`,
    );
    expect(peak).toBeLessThan(120);
    expect(await other.call("PING")).toBe("PONG");
  });
});

/** Whether it resolves in time. */
async function within(promise: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<boolean>((resolve) => (timer = setTimeout(() => resolve(false), ms)));
  const inTime = await Promise.race([promise.then(() => true), late]);
  clearTimeout(timer);
  return inTime;
}
