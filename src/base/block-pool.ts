/**
 * Blocks of bytes, reused.
 *
 *   take(n) ── smallest class that holds n ──▶ a block off that class's stack, or a new one
 *   give(b) ── back on its stack, unless the stack holds its share already (then the collector has it)
 *
 * Purpose: no allocation per request, and memory that goes back after a burst: an idle connection owns no
 * block at all. Invariant: a block is in the pool or has one owner. Rejected: one buffer per connection
 * (10,000 idle connections at 16 KiB are 160 MiB) and growing buffers by doubling (copies what was already
 * there once more).
 */
import type { Bytes } from "./bytes.ts";

/** A piece of memory. `address` is where it stands for native calls, 0 where no such calls are made. */
export interface Block {
  readonly bytes: Bytes;
  readonly address: number;
}

/** Makes a block of exactly `size` bytes; contents undefined. Given by the platform. */
export type AllocateBlock = (size: number) => Block;

/** The sizes that are kept for reuse, in bytes. Above the last, blocks are made to measure and not kept. */
const CLASS_BYTES = [4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20] as const;

/**
 * How much of each class is kept at the most: enough for a busy loop turn, little enough to forget a burst.
 */
const KEPT_BYTES_PER_CLASS = 4 << 20;

export class BlockPool {
  readonly #allocate: AllocateBlock;
  readonly #stacks: Block[][] = CLASS_BYTES.map(() => []);

  constructor(allocate: AllocateBlock) {
    this.#allocate = allocate;
  }

  /** A block of at least `size` bytes, contents undefined. */
  take(size: number): Block {
    for (let i = 0; i < CLASS_BYTES.length; i++) {
      if (size > CLASS_BYTES[i]) continue;
      const block = this.#stacks[i].pop();
      return block === undefined ? this.#allocate(CLASS_BYTES[i]) : block;
    }
    return this.#allocate(size);
  }

  /** Takes a block back; the giver must not touch it again. */
  give(block: Block): void {
    const size = block.bytes.length;
    for (let i = 0; i < CLASS_BYTES.length; i++) {
      if (size !== CLASS_BYTES[i]) continue;
      const stack = this.#stacks[i];
      if (stack.length * size < KEPT_BYTES_PER_CLASS) stack.push(block);
      return;
    }
  }
}
