/**
 * A client's bytes that have not become requests yet: the start of one that is not all there, or requests
 * that the session does not take at the moment.
 *
 *   receive buffer ──append──▶ [ done | start … end | room ]   a block of the pool; none while nothing waits
 *
 * Positions in the block stay valid until it grows; `append` tells the scanner that is in the middle of a
 * request about the move.
 */
import type { Block, BlockPool } from "../../base/block-pool.ts";
import type { Bytes } from "../../base/bytes.ts";
import { SLACK_BYTES } from "../../env/net.ts";
import type { RequestScanner } from "../../resp/request-scanner.ts";

export class RequestInput {
  block: Block | null = null;
  start = 0;
  end = 0;
  /** With an incomplete request at `start`: how long it must be before looking at it again is of use. */
  needed = 0;

  get length(): number {
    return this.end - this.start;
  }

  /**
   * Adds `bytes[start, end)`; `partial` is the scanner that is in the middle of the request at `this.start`.
   */
  append(blocks: BlockPool, bytes: Bytes, start: number, end: number, partial: RequestScanner | null): void {
    const block = this.block;
    if (block === null || this.end + end - start + SLACK_BYTES > block.bytes.length) {
      this.#grow(blocks, this.length + end - start, partial);
    }
    bytes.copy((this.block as Block).bytes, this.end, start, end);
    this.end += end - start;
  }

  /** Copies what waits to right before `position` of `bytes`, and forgets it. */
  prependTo(blocks: BlockPool, bytes: Bytes, position: number): number {
    const { length } = this;
    (this.block as Block).bytes.copy(bytes, position - length, this.start, this.end);
    this.drop(blocks);
    return position - length;
  }

  drop(blocks: BlockPool): void {
    if (this.block !== null) blocks.give(this.block);
    this.forget();
  }

  /** The block has gone to somebody else. */
  forget(): void {
    this.block = null;
    this.start = 0;
    this.end = 0;
    this.needed = 0;
  }

  /** An argument whose length is known gets its room at once; otherwise the block doubles. */
  #grow(blocks: BlockPool, size: number, partial: RequestScanner | null): void {
    const old = this.block;
    const announced = partial !== null && partial.pendingBulkBytes >= 0 ? this.needed : 0;
    const doubled = old === null || announced > 0 ? 0 : old.bytes.length * 2;
    const block = blocks.take(Math.max(size, announced, doubled) + SLACK_BYTES);
    const { length } = this;
    if (old !== null) {
      old.bytes.copy(block.bytes, 0, this.start, this.end);
      partial?.rebase(this.start, 0);
      blocks.give(old);
    }
    this.block = block;
    this.start = 0;
    this.end = length;
  }
}
