import { describe, expect, test } from "bun:test";
import { BlockPool } from "./block-pool.ts";

function pool() {
  let made = 0;
  const blocks = new BlockPool((size) => {
    made++;
    return { bytes: Buffer.alloc(size), address: 0 };
  });
  return { blocks, made: () => made };
}

describe("BlockPool", () => {
  test.each([
    [0, 4 << 10],
    [1, 4 << 10],
    [4 << 10, 4 << 10],
    [(4 << 10) + 1, 16 << 10],
    [64 << 10, 64 << 10],
    [(256 << 10) + 1, 1 << 20],
    [(1 << 20) + 1, (1 << 20) + 1],
    [5_000_000, 5_000_000],
  ])("%p bytes are in a block of %p", (size, length) => {
    expect(pool().blocks.take(size).bytes.length).toBe(length);
  });

  test("a block that was given back is taken again", () => {
    const { blocks, made } = pool();
    const first = blocks.take(100);
    blocks.give(first);
    expect(blocks.take(4000)).toBe(first);
    expect(blocks.take(4000)).not.toBe(first);
    expect(made()).toBe(2);
  });

  test("a burst is not kept: 4 MiB of each class", () => {
    const { blocks, made } = pool();
    const burst = Array.from({ length: 100 }, () => blocks.take(1 << 20));
    for (const block of burst) blocks.give(block);
    for (let i = 0; i < 10; i++) blocks.take(1 << 20);
    expect(made()).toBe(100 + 6);
  });

  test("blocks made to measure are not kept", () => {
    const { blocks, made } = pool();
    blocks.give(blocks.take(3 << 20));
    blocks.take(3 << 20);
    expect(made()).toBe(2);
  });
});
