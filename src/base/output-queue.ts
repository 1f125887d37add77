/**
 * What waits to be sent on one connection: bytes in, in order, in as few pieces as possible.
 *
 *   append(…) ─▶ [ sent | waiting | free ]          one block while little waits (the common case)
 *                   full chunks … ▶ tail            a chain when more comes than a block holds
 *   adopt(block) ─▶ a chunk of its own, not copied  for large values
 *
 * The transport sends from `headBlock/headStart/headEnd` and says `sent(n)`; when nothing waits the block
 * goes back to the pool, so that an idle connection owns no memory. Invariant: `length` is the sum over all
 * chunks. Rejected: a ring per connection (a fixed cost per idle connection, and two sends at the wrap).
 *
 * With a `keeper` what has been sent stays until the keeper lets it go: the tail is written on behind it, and
 * full chunks change hands. That costs a question per send and nothing per append.
 */
import { assert } from "./assert.ts";
import type { Block, BlockPool } from "./block-pool.ts";
import { type Bytes, copyBytes, writeLatin1 } from "./bytes.ts";

interface Chunk {
  readonly block: Block;
  /** Where it began before any of it was sent. */
  readonly from: number;
  start: number;
  readonly end: number;
  readonly adopted: boolean;
}

/** Who wants to have what was sent. */
export interface SentKeeper {
  /** `block[start, end)` has left the queue; the block changes hands. */
  take(block: Block, start: number, end: number): void;
  /** So have `size` bytes in an adopted block, which is not handed over. */
  skip(size: number): void;
  /** All that was appended has been sent. The tail, from `tailFrom` on, is still the queue's. */
  allSent(): void;
}

export class OutputQueue {
  /** Bytes that wait. */
  length = 0;
  /** The block that is written to; null while nothing waits. */
  tail: Block | null = null;
  tailBytes: Bytes | null = null;
  tailStart = 0;
  tailEnd = 0;
  tailCapacity = 0;
  /** From here on the tail is kept; without a keeper nobody asks. */
  tailFrom = 0;
  keeper: SentKeeper | null = null;
  readonly #pool: BlockPool;
  readonly #blockBytes: number;
  /** Full chunks before the tail, oldest first; null in the common case. */
  #chunks: Chunk[] | null = null;

  /**
   * `blockBytes`: the size of the first block (a class of the pool); the following ones are four times as
   * large.
   */
  constructor(pool: BlockPool, blockBytes: number) {
    this.#pool = pool;
    this.#blockBytes = blockBytes;
  }

  /** Copies `source[start, end)` to the end of the queue. */
  append(source: Bytes, start: number, end: number): void {
    const size = end - start;
    const at = this.tailEnd;
    if (at + size > this.tailCapacity) {
      this.#appendSlowly(source, start, end);
      return;
    }
    copyBytes(this.tailBytes as Bytes, at, source, start, end);
    this.tailEnd = at + size;
    this.length += size;
  }

  /** Appends a text, one byte per character. */
  appendLatin1(text: string): void {
    if (this.tailEnd + text.length > this.tailCapacity) this.#nextTail(text.length);
    this.tailEnd = writeLatin1(this.tailBytes as Bytes, this.tailEnd, text);
    this.length += text.length;
  }

  /** Appends `block[start, end)` without copying it; the queue owns the block from now on. */
  adopt(block: Block, start: number, end: number): void {
    this.#retireTail();
    (this.#chunks ??= []).push({ block, from: start, start, end, adopted: true });
    this.length += end - start;
  }

  /** The block to send from. Only while `length > 0`. */
  get headBlock(): Block {
    return this.#chunks === null ? (this.tail as Block) : this.#chunks[0].block;
  }

  get headStart(): number {
    return this.#chunks === null ? this.tailStart : this.#chunks[0].start;
  }

  get headEnd(): number {
    return this.#chunks === null ? this.tailEnd : this.#chunks[0].end;
  }

  /** `count` bytes of the head have been sent. */
  sent(count: number): void {
    this.length -= count;
    assert(this.length >= 0, "more bytes sent than waited");
    const chunks = this.#chunks;
    if (chunks === null) {
      this.tailStart += count;
      if (this.length === 0) this.#allSent();
      return;
    }
    const head = chunks[0];
    head.start += count;
    if (head.start < head.end) return;
    this.#dropChunk(head);
    chunks.shift();
    if (chunks.length === 0) this.#chunks = null;
    if (this.length === 0) this.#allSent();
  }

  /** Drops everything that waits; a keeper gets it, as if it had been sent. */
  clear(): void {
    if (this.#chunks !== null) for (const chunk of this.#chunks) this.#dropChunk(chunk);
    this.#chunks = null;
    if (this.tail !== null) this.#releaseTail();
    this.length = 0;
  }

  /** Gives the tail back, if nothing in it waits: the keeper has no use for it any more. */
  forgetSent(): void {
    if (this.length > 0 || this.tail === null) return;
    this.#pool.give(this.tail);
    this.#forgetTail();
  }

  #allSent(): void {
    const { keeper, tailCapacity } = this;
    if (keeper !== null) keeper.allSent();
    if (this.tail === null) return;
    // A keeper's tail ends here when it is not of the first size or nearly full: what the next turn appends
    // should leave in one piece.
    const roomy = this.tailEnd * 4 <= tailCapacity * 3 && tailCapacity <= this.#blockBytes;
    if (keeper === null || !roomy) this.#releaseTail();
  }

  #dropChunk({ block, from, end, adopted }: Chunk): void {
    const { keeper } = this;
    if (keeper !== null && !adopted) {
      keeper.take(block, from, end);
      return;
    }
    if (keeper !== null) keeper.skip(end - from);
    this.#pool.give(block);
  }

  /** Fills the tail, then goes on in a new one: a chunk is as full as it can be. */
  #appendSlowly(source: Bytes, start: number, end: number): void {
    this.#nextTail(end - start);
    copyBytes(this.tailBytes as Bytes, this.tailEnd, source, start, end);
    this.tailEnd += end - start;
    this.length += end - start;
  }

  #nextTail(size: number): void {
    const first = this.length === 0;
    this.#retireTail();
    const wanted = first ? this.#blockBytes : this.#blockBytes * 4;
    const tail = this.#pool.take(size > wanted ? size : wanted);
    this.tail = tail;
    this.tailBytes = tail.bytes;
    this.tailStart = 0;
    this.tailEnd = 0;
    this.tailFrom = 0;
    this.tailCapacity = tail.bytes.length;
  }

  #retireTail(): void {
    const { tail, tailStart: start, tailEnd: end, tailFrom: from } = this;
    if (tail === null) return;
    if (end === start) this.#releaseTail();
    else {
      (this.#chunks ??= []).push({ block: tail, from, start, end, adopted: false });
      this.#forgetTail();
    }
  }

  #releaseTail(): void {
    const tail = this.tail as Block;
    if (this.keeper === null) this.#pool.give(tail);
    else this.keeper.take(tail, this.tailFrom, this.tailEnd);
    this.#forgetTail();
  }

  #forgetTail(): void {
    this.tail = null;
    this.tailBytes = null;
    this.tailStart = 0;
    this.tailEnd = 0;
    this.tailCapacity = 0;
  }
}
