/** Bytes that no well-behaved client sends, or not in such amounts. */
import {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  describe,
  expect,
  setDefaultTimeout,
  test,
} from "bun:test";
import { RedisProcess } from "../support/redis-process.ts";
import { until } from "../support/until.ts";
import { encode, RawClient, ReplyFault } from "./raw-client.ts";
import { Rig, TRANSPORTS } from "./rig.ts";

setDefaultTimeout(60_000);

let servers: RedisProcess[];
let rig: Rig;

beforeAll(async () => {
  servers = await Promise.all([RedisProcess.start(), RedisProcess.start(), RedisProcess.start()]);
});

afterAll(async () => {
  await Promise.all(servers.map((server) => server.dispose()));
});

/** What arrives until the other side closes. */
async function readToEnd(client: RawClient): Promise<string> {
  const lines: string[] = [];
  for (;;) {
    const reply = await client.next().catch(() => undefined);
    if (reply === undefined) return lines.join("\n");
    lines.push(reply instanceof ReplyFault ? `-${reply.text}` : JSON.stringify(reply));
  }
}

/** Bytes, and what Redis 7.0 answers to them before it closes. */
const RUBBISH: ReadonlyArray<readonly [string, string | Uint8Array, string]> = [
  ["no number of arguments", "*x\r\n", "invalid multibulk length"],
  ["too many arguments", "*99999999999\r\n", "invalid multibulk length"],
  ["no $", "*1\r\n:4\r\nPING\r\n", "expected '$', got ':'"],
  ["a negative length", "*2\r\n$3\r\nGET\r\n$-1\r\n", "invalid bulk length"],
  ["a length that is no number", "*2\r\n$3\r\nGET\r\n$1x\r\n", "invalid bulk length"],
  ["a value over 512 MiB", "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870913\r\n", "invalid bulk length"],
  ["an open quote", 'SET k "v\r\n', "unbalanced quotes in request"],
  ["an endless line", "x".repeat(70_000), "too big inline request"],
  ["a megabyte of line noise", Buffer.alloc(1 << 20, 0xff), "too big inline request"],
];

describe.each(TRANSPORTS)("odd bytes (%s)", (io) => {
  beforeEach(async () => {
    rig = await Rig.start(servers, io);
  });
  afterEach(() => rig.dispose());

  test.each(RUBBISH)("%s: an error, then the end", async (_name, bytes, text) => {
    const client = await rig.connect();
    client.write(encode("SET", "before", "1"));
    client.write(bytes);
    expect(await readToEnd(client)).toBe(`"OK"\n-ERR Protocol error: ${text}`);
    const other = await rig.connect();
    expect(await other.call("GET", "before")).toBe("1");
  });

  test("the error comes after the replies owed, however many servers owe them", async () => {
    const client = await rig.connect();
    const keys = [0, 1, 2].flatMap((group) => rig.keysIn(group, 30, "owed"));
    client.write(Buffer.concat([...keys.map((key) => encode("SET", key, key)), Buffer.from("*1\r\n!\r\n")]));
    const replies = (await readToEnd(client)).split("\n");
    expect(replies.slice(0, -1)).toEqual(keys.map(() => '"OK"'));
    expect(replies.at(-1)).toBe("-ERR Protocol error: expected '$', got '!'");
  });

  test("half a request, then the end: nothing ran, nothing stays", async () => {
    const watcher = await rig.connect();
    await watcher.call("SET", "half", "whole");
    const request = encode("SET", "half", "broken".repeat(20));
    for (let size = 1; size < request.length; size += 7) {
      const client = await rig.connect();
      client.write(request.subarray(0, size));
      client.socket.end();
      await until(() => client.closed, "the proxy closes too");
    }
    const list = (await watcher.call("CLIENT", "LIST")) as string;
    expect(list.trim().split("\n").length).toBe(1);
    expect(await watcher.call("GET", "half")).toBe("whole");
  });

  test("byte by byte, with another client in between", async () => {
    const client = await rig.connect();
    const other = await rig.connect();
    const binary = Buffer.from([0, 13, 10, 36, 42, 255, 128]);
    const bytes = Buffer.concat([
      encode("SET", "slow", binary),
      encode("MGET", "slow", rig.keyIn(0), rig.keyIn(1), rig.keyIn(2)),
      Buffer.from("PING\r\n"),
      encode("STRLEN", "slow"),
    ]);
    for (let i = 0; i < bytes.length; i++) {
      await client.writeAll(bytes.subarray(i, i + 1));
      if (i % 8 === 0) expect(await other.call("PING")).toBe("PONG");
    }
    expect(await client.take(4)).toEqual(["OK", [binary.toString("latin1"), null, null, null], "PONG", 7]);
  });

  test("pipelines of a megabyte, from five clients at once", async () => {
    const clients = await Promise.all(Array.from({ length: 5 }, () => rig.connect()));
    const requests = 12_000;
    await Promise.all(
      clients.map(async (client, who) => {
        const pipeline = Array.from({ length: requests }, (_, i) =>
          encode("SETRANGE", `mb:${who}:${i}`, "0", `${who}/${i}`.padEnd(50)),
        );
        const bytes = Buffer.concat(pipeline);
        expect(bytes.length).toBeGreaterThan(1 << 20);
        client.write(bytes);
        const replies = await client.take(requests);
        expect(replies.every((reply) => reply === 50)).toBe(true);
        client.write(
          Buffer.concat(Array.from({ length: requests }, (_, i) => encode("GET", `mb:${who}:${i}`))),
        );
        const values = await client.take(requests);
        expect(values.findIndex((value, i) => (value as string).trimEnd() !== `${who}/${i}`)).toBe(-1);
      }),
    );
  });

  test("an inline pipeline of 100,000 lines", async () => {
    const client = await rig.connect();
    const lines = Array.from({ length: 100_000 }, (_, i) =>
      i % 2 === 0 ? `SET inline:${i % 1000} v${i}\r\n` : "PING\n",
    );
    client.write(lines.join(""));
    const replies = await client.take(lines.length);
    expect(replies.findIndex((reply, i) => reply !== (i % 2 === 0 ? "OK" : "PONG"))).toBe(-1);
    expect(await client.call("GET", "inline:998")).toBe("v99998");
  });
});

describe.each(TRANSPORTS)("1,000,000 arguments (%s)", (io) => {
  beforeEach(async () => {
    rig = await Rig.start(servers, io);
  });
  afterEach(() => rig.dispose());

  test("MSET, EXISTS and DEL over three groups, SADD to one", async () => {
    const client = await rig.connect();
    const keys = Array.from({ length: 500_000 }, (_, i) => `m${i}`);
    expect(await client.callList(["MSET", ...keys.flatMap((key) => [key, "v"])])).toBe("OK");
    expect(await client.call("DBSIZE")).toBeGreaterThanOrEqual(500_000);
    expect(await client.callList(["EXISTS", ...keys])).toBe(500_000);
    const other = Array.from({ length: 500_000 }, (_, i) => `n${i}`);
    expect(await client.callList(["DEL", ...keys, ...other])).toBe(500_000);
    expect(await client.callList(["SADD", "members", ...keys, ...other])).toBe(1_000_000);
    expect(await client.call("SCARD", "members")).toBe(1_000_000);
    expect(await client.call("UNLINK", "members")).toBe(1);
    expect(await client.call("PING")).toBe("PONG");
  });
});
