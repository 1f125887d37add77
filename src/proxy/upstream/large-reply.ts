/**
 * A reply that is too long to wait for in one piece: passed on as it arrives.
 *
 *   the client's turn            ─▶ straight into its output queue          (copied once)
 *   not its turn, or for an owner ─▶ collected in one growing block          (then handed over, not copied
 *   again)
 *   nobody wants it any more     ─▶ counted and dropped
 *
 * Invariant: everything before `carry` has been passed on; `carry` is the piece of a header that was cut by
 * the end of a receive, and stands in front of the next one.
 */
import type { Block } from "../../base/block-pool.ts";
import { type Bytes, ownCopy } from "../../base/bytes.ts";
import { HEADROOM_BYTES, SLACK_BYTES } from "../../env/net.ts";
import { REPLY_BROKEN, type ReplyScanner } from "../../resp/reply-scanner.ts";
import type { DataPlane } from "../data-plane.ts";
import { KIND_PLAIN, type Request } from "../request.ts";

export const LARGE_MORE = -1;
export const LARGE_BROKEN = -2;

/** Bytes of one reply that are collected; longer ones can only be passed through. */
const COLLECTED_BYTES_MAX = 1 << 30;

type Sink = "client" | "block" | "nobody";

export class LargeReply {
  readonly request: Request;
  readonly #plane: DataPlane;
  readonly #scanner: ReplyScanner;
  #sink: Sink;
  #gaveUp = false;
  #remaining = 0;
  #bodyLeft = 0;
  #carry: Uint8Array | null = null;
  #block: Block | null = null;
  #length = 0;

  /** `collects`: it is kept to the end, even if it is the client's turn. */
  constructor(plane: DataPlane, request: Request, scanner: ReplyScanner, collects: boolean) {
    this.#plane = plane;
    this.request = request;
    this.#scanner = scanner;
    const { session } = request;
    if (request.kind === KIND_PLAIN)
      this.#sink = session === null ? "nobody" : session.head === request && !collects ? "client" : "block";
    else this.#sink = request.owner === null ? "nobody" : "block";
    this.#remaining = 1;
  }

  /**
   * Takes what has arrived. The position after the reply when it is complete, else LARGE_MORE or
   * LARGE_BROKEN.
   */
  take(bytes: Bytes, received: number, end: number): number {
    let start = received;
    if (this.#carry !== null) {
      start -= this.#carry.length;
      bytes.set(this.#carry, start);
      this.#carry = null;
    }
    if (this.#bodyLeft > 0) {
      const size = Math.min(this.#bodyLeft, end - start);
      this.#pass(bytes, start, start + size);
      this.#bodyLeft -= size;
      start += size;
      if (this.#bodyLeft > 0) return LARGE_MORE;
      this.#remaining--;
    }
    const scanner = this.#scanner;
    scanner.remaining = this.#remaining;
    const next = scanner.resume(bytes, start, end);
    if (next === REPLY_BROKEN) return LARGE_BROKEN;
    if (next >= 0) {
      this.#pass(bytes, start, next);
      return next;
    }
    this.#remaining = scanner.remaining;
    if (scanner.bodyEnd > 0) {
      this.#pass(bytes, start, end);
      this.#bodyLeft = scanner.bodyEnd - end;
      return LARGE_MORE;
    }
    this.#pass(bytes, start, scanner.position);
    if (end - scanner.position > HEADROOM_BYTES) return LARGE_BROKEN;
    this.#carry = ownCopy(bytes, scanner.position, end);
    return LARGE_MORE;
  }

  /** The reply is complete: hands it over. The upstream has taken the request off its queue. */
  finish(): void {
    const { request } = this;
    const plane = this.#plane;
    const { session } = request;
    const block = this.#block;
    this.#block = null;
    if (this.#gaveUp) plane.failRequest(request, "ERR The reply is too long for the proxy to collect");
    else if (this.#sink === "client" && session !== null) {
      session.piecesDelivered(request, this.#length);
    } else if (request.kind === KIND_PLAIN && session !== null && block !== null) {
      session.keepBlock(request, block, this.#length);
    } else {
      if (block !== null) this.#handOver(block);
      plane.requests.give(request);
    }
  }

  #handOver(block: Block): void {
    const { request } = this;
    const { owner } = request;
    if (owner?.onBlock?.(request, block, this.#length) === true) return;
    owner?.onReply(request, block.bytes, 0, this.#length);
    this.#plane.env.net.blocks.give(block);
  }

  /** Instead of `finish`: what was collected, which changes hands. Null when it was dropped. */
  takeCollected(): { readonly block: Block; readonly length: number } | null {
    const block = this.#block;
    this.#block = null;
    return block === null ? null : { block, length: this.#length };
  }

  /** The server is gone in the middle: a client that has half a reply can't be told, only cut off. */
  abort(): void {
    if (this.#block !== null) this.#plane.env.net.blocks.give(this.#block);
    this.#block = null;
    if (this.#sink === "client") this.request.session?.abort("the server was lost in the middle of a reply");
  }

  #pass(bytes: Bytes, start: number, end: number): void {
    if (this.#sink === "block") this.#collect(bytes, start, end);
    else if (this.#sink === "client") {
      this.#length += end - start;
      this.request.session?.deliverPiece(bytes, start, end);
    }
  }

  /** Too long to be kept: what comes is dropped, and `finish` says so. */
  #giveUp(): void {
    if (this.#block !== null) this.#plane.env.net.blocks.give(this.#block);
    this.#block = null;
    this.#sink = "nobody";
    this.#gaveUp = true;
  }

  #collect(bytes: Bytes, start: number, end: number): void {
    if (this.#length > COLLECTED_BYTES_MAX) {
      this.#giveUp();
      return;
    }
    const needed = this.#length + end - start + SLACK_BYTES;
    const old = this.#block;
    if (old === null || needed > old.bytes.length) {
      // A body of known length gets its room at once; otherwise the block doubles.
      const announced =
        this.#scanner.bodyEnd > 0 ? this.#scanner.bodyEnd - start + this.#length + SLACK_BYTES : 0;
      const { blocks } = this.#plane.env.net;
      const block = blocks.take(Math.max(needed, announced, old === null ? 0 : old.bytes.length * 2));
      if (old !== null) {
        old.bytes.copy(block.bytes, 0, 0, this.#length);
        blocks.give(old);
      }
      this.#block = block;
    }
    bytes.copy((this.#block as Block).bytes, this.#length, start, end);
    this.#length += end - start;
    if (this.request.session?.keepsTooMuch(this.#length))
      this.request.session.abort("too many reply bytes wait for the client");
  }
}
