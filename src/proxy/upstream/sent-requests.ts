/**
 * The bytes of the requests that a server owes replies for, kept until it has answered: should the
 * connection break, what only reads can be sent again (holding/retries.ts).
 *
 *   stream   … answered │ index ▸ □ □ □ mark ▸ □ □ □ │ what is appended now
 *                       └ kept from here            └ the output's tail, where it stands
 *
 * Nothing is done per request, and nothing is copied: the output queue hands over the blocks that it has
 * sent, and each time that it has run empty the bytes before the last mark are let go, if all of that has
 * been answered. The n-th request in the bytes is found by scanning them, once, when the connection is gone.
 *
 * Invariant: the first kept byte is the first of request number `index`, counted as the queue counts; after
 * an overflow nothing is known until the output has run empty. Rejected: the place of each request in its
 * record, which is work per request for what happens once in months.
 */
import type { Block, BlockPool } from "../../base/block-pool.ts";
import type { OutputQueue, SentKeeper } from "../../base/output-queue.ts";
import { writeLatin1 } from "../../base/bytes.ts";
import { SLACK_BYTES } from "../../env/net.ts";
import { RequestScanner } from "../../resp/request-scanner.ts";

/** Memory that the kept bytes of one connection may take; above, its requests can't be sent again. */
export const KEPT_BYTES_MAX = 4 << 20;
/** Stands for a request that was sent from a block of its own: too large to be kept. */
const NOT_KEPT = "*1\r\n$8\r\nNOT-KEPT\r\n";

/** How far a connection is, in requests. */
export interface Progress {
  readonly enqueued: number;
  readonly answered: number;
}

/** Requests without a reply: number i is `block[bounds[i], bounds[i + 1])`. The block is the receiver's. */
export interface Unanswered {
  readonly block: Block;
  readonly bounds: readonly number[];
}

/** `block` null: bytes that were sent and not kept, one whole request. */
interface Piece {
  block: Block | null;
  start: number;
  end: number;
}

export class SentRequests implements SentKeeper {
  readonly #pool: BlockPool;
  readonly #output: OutputQueue;
  readonly #progress: Progress;
  #pieces: Piece[] = [];
  /** Bytes of the pieces, and of the blocks that they stand in. */
  #bytes = 0;
  #blockBytes = 0;
  #index: number;
  /** All before this request had been sent when `#markBytes` were kept. */
  #markIndex: number;
  #markBytes = 0;
  #overflown = false;

  /** From now on; nothing waits in `output`, and everything that was sent has been answered. */
  constructor(pool: BlockPool, output: OutputQueue, progress: Progress) {
    this.#pool = pool;
    this.#output = output;
    this.#progress = progress;
    this.#index = progress.answered;
    this.#markIndex = progress.answered;
    output.keeper = this;
  }

  take(block: Block, start: number, end: number): void {
    const size = end - start;
    if (size === 0 || this.#overflown) {
      this.#pool.give(block);
      return;
    }
    const kept = this.#fitted(block, start, end);
    const moved = kept !== block;
    this.#pieces.push({ block: kept, start: moved ? 0 : start, end: moved ? size : end });
    this.#bytes += size;
    this.#blockBytes += kept.bytes.length;
    if (this.#blockBytes > KEPT_BYTES_MAX) this.#overflow();
  }

  skip(size: number): void {
    if (this.#overflown) return;
    this.#pieces.push({ block: null, start: 0, end: size });
    this.#bytes += size;
  }

  allSent(): void {
    const { enqueued, answered } = this.#progress;
    const output = this.#output;
    if (this.#overflown) {
      this.#overflown = false;
      output.tailFrom = output.tailEnd;
      this.#index = enqueued;
    } else if (answered < this.#markIndex) return;
    else {
      this.#letGo(this.#markBytes);
      this.#index = this.#markIndex;
    }
    this.#markIndex = enqueued;
    this.#markBytes = this.#bytes + output.tailEnd - output.tailFrom;
  }

  /** Nothing is owed: nothing is kept, and the connection owns no memory. */
  idle(): void {
    if (this.#output.length > 0) return;
    if (this.#bytes > 0) this.#drop();
    this.#output.forgetSent();
    this.#overflown = false;
    this.#index = this.#progress.enqueued;
    this.#markIndex = this.#index;
    this.#markBytes = 0;
  }

  /** The output has been cleared: what has not been answered. Null when that is not known. */
  recover(): Unanswered | null {
    this.#output.keeper = null;
    const known = !this.#overflown && this.#progress.enqueued > this.#progress.answered;
    const unanswered = known ? this.#unanswered() : null;
    this.#drop();
    return unanswered;
  }

  #unanswered(): Unanswered | null {
    const { enqueued, answered } = this.#progress;
    const gaps = this.#pieces.filter(({ block }) => block === null).length;
    const block = this.#pool.take(this.#bytes + gaps * NOT_KEPT.length + SLACK_BYTES);
    const length = this.#join(block);
    const bounds = [0];
    const scanner = new RequestScanner();
    for (let number = this.#index, at = 0; at < length; number++) {
      at = scanner.scan(block.bytes, at, length);
      // The start of one that was being appended: then the numbers are not to be trusted.
      if (at < 0) break;
      if (number < answered) bounds[0] = at;
      else bounds.push(at);
    }
    if (bounds.length - 1 === enqueued - answered && bounds[bounds.length - 1] === length)
      return { block, bounds };
    this.#pool.give(block);
    return null;
  }

  #join({ bytes }: Block): number {
    let length = 0;
    for (const { block, start, end } of this.#pieces) {
      if (block === null) length = writeLatin1(bytes, length, NOT_KEPT);
      else length += block.bytes.copy(bytes, length, start, end);
    }
    return length;
  }

  /** A block that is used for little is better used for something else: it is the one that is warm. */
  #fitted(block: Block, start: number, end: number): Block {
    const size = end - start;
    if (size * 4 > block.bytes.length) return block;
    const small = this.#pool.take(size);
    block.bytes.copy(small.bytes, 0, start, end);
    this.#pool.give(block);
    return small;
  }

  #letGo(count: number): void {
    let left = count;
    while (left > 0 && this.#pieces.length > 0) {
      const piece = this.#pieces[0];
      const size = Math.min(left, piece.end - piece.start);
      piece.start += size;
      this.#bytes -= size;
      left -= size;
      if (piece.start < piece.end) return;
      this.#pieces.shift();
      this.#give(piece.block);
    }
    this.#output.tailFrom += left;
  }

  #overflow(): void {
    this.#drop();
    this.#overflown = true;
  }

  #drop(): void {
    for (const { block } of this.#pieces) this.#give(block);
    this.#pieces = [];
    this.#bytes = 0;
  }

  #give(block: Block | null): void {
    if (block === null) return;
    this.#blockBytes -= block.bytes.length;
    this.#pool.give(block);
  }
}
