/** The pieces of the hot path, each on inputs of the usual shape, many different ones in turn. */
import { BlockPool } from "../../src/base/block-pool.ts";
import { OutputQueue } from "../../src/base/output-queue.ts";
import { lookupCommand } from "../../src/commands/command-lookup.ts";
import type { Connection } from "../../src/env/net.ts";
import { SLACK_BYTES } from "../../src/env/net.ts";
import type { DataPlane } from "../../src/proxy/data-plane.ts";
import { ReplyQueue } from "../../src/proxy/downstream/reply-queue.ts";
import { RequestPool } from "../../src/proxy/request.ts";
import { ReplyScanner } from "../../src/resp/reply-scanner.ts";
import { RequestScanner } from "../../src/resp/request-scanner.ts";
import { slotOf } from "../../src/routing/slot-of.ts";
import type { MicroCase } from "./measure-case.ts";
import { mgetCases } from "./mget-cases.ts";

/** Different inputs per iteration: more than a branch predictor learns by heart at once. */
const INPUTS = 256;
const VALUE = "x".repeat(32);
const SLOT_MASK = 1023;
const QUEUE_DEPTH = 16;

/** Inputs one behind another, and where each begins; `starts[INPUTS]` is the end. */
interface Packed {
  readonly bytes: Buffer;
  readonly starts: Int32Array;
}

function pack(texts: readonly string[]): Packed {
  const starts = new Int32Array(texts.length + 1);
  texts.forEach((text, index) => (starts[index + 1] = starts[index] + text.length));
  const bytes = Buffer.alloc(starts[texts.length] + SLACK_BYTES);
  bytes.write(texts.join(""), "latin1");
  return { bytes, starts };
}

function packed(make: (index: number) => string): Packed {
  return pack(Array.from({ length: INPUTS }, (_, index) => make(index)));
}

/** A multiplier spreads the numbers, as random keys would. */
function key(index: number): string {
  return `key:${String((index * 7919) % 100_000).padStart(12, "0")}`;
}

function request(...words: readonly string[]): string {
  return `*${words.length}\r\n${words.map((word) => `$${word.length}\r\n${word}\r\n`).join("")}`;
}

function newPool(): BlockPool {
  return new BlockPool((size) => ({ bytes: Buffer.from(new ArrayBuffer(size)), address: 0 }));
}

/** One pass over all inputs per iteration. */
function overInputs(name: string, { bytes, starts }: Packed, operation: InputOperation): MicroCase {
  const count = starts.length - 1;
  const run = (iterations: number): number => {
    let sum = 0;
    for (let i = 0; i < iterations; i++) {
      for (let at = 0; at < count; at++) sum += operation(bytes, starts[at], starts[at + 1]);
    }
    return sum;
  };
  return { name, operations: count, run };
}

type InputOperation = (bytes: Buffer, start: number, end: number) => number;

function scannerCases(): MicroCase[] {
  const set = new RequestScanner();
  const mget = new RequestScanner();
  const value = new ReplyScanner();
  const status = new ReplyScanner();
  const keys = (from: number): string[] => Array.from({ length: 100 }, (_, index) => key(from + index));
  const scanSet: InputOperation = (bytes, start, end) => set.scan(bytes, start, end) + set.argEnd[2];
  const scanMget: InputOperation = (bytes, start, end) => mget.scan(bytes, start, end) + mget.argEnd[100];
  return [
    overInputs(
      "request scanner: SET",
      packed((i) => request("SET", key(i), VALUE)),
      scanSet,
    ),
    overInputs(
      "request scanner: MGET of 100 keys",
      pack(Array.from({ length: 8 }, (_, i) => request("MGET", ...keys(i)))),
      scanMget,
    ),
    overInputs(
      "reply scanner: value of 32 bytes",
      packed(() => `$32\r\n${VALUE}\r\n`),
      (bytes, start, end) => value.scan(bytes, start, end),
    ),
    overInputs(
      "reply scanner: +OK",
      packed(() => "+OK\r\n"),
      (bytes, start, end) => status.scan(bytes, start, end),
    ),
  ];
}

function routingCases(): MicroCase[] {
  const names = ["GET", "SET", "get", "HGETALL", "ZRANGEBYSCORE", "Expire", "XADD", "INCR"];
  const slot: InputOperation = (bytes, start, end) => slotOf(bytes, start, end, SLOT_MASK);
  const lookup: InputOperation = (bytes, start, end) => lookupCommand(bytes, start, end)?.id ?? -1;
  return [
    overInputs("slot: key of 16 bytes", packed(key), slot),
    overInputs(
      "slot: {tag} of 4 bytes in a key of 16",
      packed((i) => `{u${String(i).padStart(3, "0")}}:followers`),
      slot,
    ),
    overInputs(
      "command: GET and SET",
      packed((i) => (i % 3 === 0 ? "SET" : "GET")),
      lookup,
    ),
    overInputs(
      "command: names of all kinds",
      packed((i) => names[(i * 7) % names.length]),
      lookup,
    ),
  ];
}

function outputCase(name: string, size: number): MicroCase {
  const source = Buffer.alloc(size, 120);
  const queue = new OutputQueue(newPool(), 64 << 10);
  const run = (iterations: number): number => {
    let sum = 0;
    for (let i = 0; i < iterations; i++) {
      for (let at = 0; at < QUEUE_DEPTH; at++) queue.append(source, 0, size);
      sum += queue.headEnd;
      queue.sent(queue.length);
    }
    return sum;
  };
  return { name, operations: QUEUE_DEPTH, run };
}

/** Only what the queue itself touches is there. */
class BenchQueue extends ReplyQueue {
  protected resume(): void {}
  protected finish(): void {}
  abort(): void {}
}

function newReplyQueue(pool: RequestPool, blocks: BlockPool): BenchQueue {
  const output = new OutputQueue(blocks, 4 << 10);
  const connection = { output, flushSoon: () => undefined } as unknown as Connection;
  const plane = { requests: pool, config: { client_in_flight_max: 10_000 }, env: { net: { blocks } } };
  return new BenchQueue(plane as unknown as DataPlane, connection);
}

function queueCases(): MicroCase[] {
  const blocks = newPool();
  const pool = new RequestPool(blocks);
  const queue = newReplyQueue(pool, blocks);
  const reply = Buffer.from("+OK\r\n");
  const takeAndGive = (iterations: number): number => {
    for (let i = 0; i < iterations; i++) {
      const first = pool.take();
      const second = pool.take();
      pool.give(first);
      pool.give(second);
    }
    return pool.inUse;
  };
  const inOrder = (iterations: number): number => {
    let sum = 0;
    for (let i = 0; i < iterations; i++) {
      for (let at = 0; at < QUEUE_DEPTH; at++) queue.enqueue(pool.take());
      while (queue.head !== null) queue.deliverHead(queue.head, reply, 0, reply.length);
      sum += queue.connection.output.length;
      queue.connection.output.sent(queue.connection.output.length);
    }
    return sum;
  };
  return [
    { name: "request pool: take and give", operations: 2, run: takeAndGive },
    { name: "reply queue: take a place, deliver +OK", operations: QUEUE_DEPTH, run: inOrder },
  ];
}

export function allCases(): MicroCase[] {
  return [
    ...scannerCases(),
    ...routingCases(),
    outputCase("output queue: append 5 bytes", 5),
    outputCase("output queue: append 71 bytes", 71),
    ...queueCases(),
    ...mgetCases(),
  ];
}
