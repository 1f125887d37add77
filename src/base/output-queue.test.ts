import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type Block, BlockPool } from "./block-pool.ts";
import { OutputQueue } from "./output-queue.ts";

const BLOCK_BYTES = 4 << 10;

/** A pool that knows how many of its blocks are out. */
function countingPool() {
  const out = new Set<Block>();
  const pool = new BlockPool((size) => ({ bytes: Buffer.alloc(size, 0xee), address: 0 }));
  const take = pool.take.bind(pool);
  const give = pool.give.bind(pool);
  pool.take = (size) => {
    const block = take(size);
    expect(out.has(block)).toBe(false);
    out.add(block);
    return block;
  };
  pool.give = (block) => {
    expect(out.delete(block)).toBe(true);
    give(block);
  };
  return { pool, out };
}

/** Takes up to `most` bytes from the front, as a transport does. */
function send(queue: OutputQueue, most: number): string {
  const { headBlock, headStart, headEnd } = queue;
  expect(headEnd).toBeGreaterThan(headStart);
  const count = Math.min(most, headEnd - headStart);
  const text = Buffer.from(headBlock.bytes.subarray(headStart, headStart + count)).toString("latin1");
  queue.sent(count);
  return text;
}

function sendAll(queue: OutputQueue): string {
  let text = "";
  while (queue.length > 0) text += send(queue, Infinity);
  return text;
}

/** A text of this length in which every place is different from its neighbours. */
function textOf(length: number, salt: number): string {
  return Array.from({ length }, (_, i) => String.fromCharCode((i * 7 + salt) % 256)).join("");
}

type Step = { kind: "append" | "latin1" | "adopt" | "send"; size: number };

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.record({
    kind: fc.constantFrom("append", "append", "latin1", "adopt", "send", "send"),
    size: fc.oneof(fc.nat(40), fc.nat(6000), fc.nat(80_000)),
  }),
  { maxLength: 40 },
) as fc.Arbitrary<Step[]>;

describe("OutputQueue", () => {
  test("whatever comes in leaves in order, and blocks go back", () => {
    fc.assert(
      fc.property(steps, (list) => {
        const { pool, out } = countingPool();
        const queue = new OutputQueue(pool, BLOCK_BYTES);
        let waiting = "";
        list.forEach(({ kind, size }, i) => {
          const text = textOf(size, i);
          if (kind === "send") {
            if (queue.length === 0) return;
            const sent = send(queue, Math.max(1, size));
            expect(waiting.startsWith(sent)).toBe(true);
            waiting = waiting.slice(sent.length);
          } else {
            put(queue, pool, kind, text);
            waiting += text;
          }
          expect(queue.length).toBe(waiting.length);
        });
        expect(sendAll(queue)).toBe(waiting);
        expect(out.size).toBe(0);
      }),
    );
  });

  function put(queue: OutputQueue, pool: BlockPool, kind: Step["kind"], text: string): void {
    if (text === "") return;
    if (kind === "latin1") {
      queue.appendLatin1(text);
    } else if (kind === "append") {
      queue.append(Buffer.from(`before${text}after`, "latin1"), 6, 6 + text.length);
    } else {
      const block = pool.take(text.length + 3);
      block.bytes.set(Buffer.from(text, "latin1"), 3);
      queue.adopt(block, 3, 3 + text.length);
    }
  }

  test("clear drops everything and gives every block back", () => {
    const { pool, out } = countingPool();
    const queue = new OutputQueue(pool, BLOCK_BYTES);
    for (const size of [10, 5000, 100_000, 3]) queue.append(Buffer.alloc(size), 0, size);
    const block = pool.take(100);
    queue.adopt(block, 0, 100);
    queue.clear();
    expect(queue.length).toBe(0);
    expect(out.size).toBe(0);
    queue.appendLatin1("again");
    expect(sendAll(queue)).toBe("again");
  });

  test("with nothing waiting it owns no memory", () => {
    const { pool, out } = countingPool();
    const queue = new OutputQueue(pool, BLOCK_BYTES);
    expect(out.size).toBe(0);
    queue.appendLatin1("x");
    expect(out.size).toBe(1);
    sendAll(queue);
    expect(out.size).toBe(0);
    expect(queue.tail).toBeNull();
  });

  test("more sent than waited is a mistake that shows", () => {
    const { pool } = countingPool();
    const queue = new OutputQueue(pool, BLOCK_BYTES);
    queue.appendLatin1("abc");
    expect(() => queue.sent(4)).toThrow("more bytes sent than waited");
  });
});
