/**
 * What comes from a server, as replies: each found by its end and handed to the head of the queue.
 *
 *   onData ─▶ [rest of last time] ─▶ scan ─▶ head of the queue ─▶ `answer`
 *                                     └ not whole: kept up to 16 KiB, above it goes on as a LargeReply
 *
 * Invariant: after anything that can't be a reply, or a reply that nobody waits for, the order is lost and
 * the connection with it (`broken`).
 */
import type { Block } from "../../base/block-pool.ts";
import type { Bytes } from "../../base/bytes.ts";
import { ReplyScanner } from "../../resp/reply-scanner.ts";
import type { Request } from "../request.ts";
import { LARGE_BROKEN, LargeReply } from "./large-reply.ts";
import { ProgressWatch } from "./progress-watch.ts";
import { UpstreamQueue } from "./upstream-queue.ts";

/** The start of a reply that has not come whole: kept up to this length, above it goes on as a LargeReply. */
const REST_BYTES_MAX = 16 << 10;
/** RESP3's out-of-band data: no reply to anything. */
const PUSH = 62;

export abstract class UpstreamReplies extends UpstreamQueue {
  protected readonly watch = new ProgressWatch();
  readonly #scanner = new ReplyScanner();
  #rest: Block | null = null;
  #restLength = 0;
  #large: LargeReply | null = null;

  /** The connection is of no use any more. */
  protected abstract broken(reason: string): void;
  /** The last reply that was owed has come. */
  protected abstract becameIdle(): void;

  onData(bytes: Bytes, received: number, end: number): void {
    this.watch.progress++;
    let start = received;
    if (this.#large !== null) {
      start = this.#takeLarge(this.#large, bytes, start, end);
      if (start < 0) return;
    } else if (this.#restLength > 0) {
      start -= this.#restLength;
      (this.#rest as Block).bytes.copy(bytes, start, 0, this.#restLength);
      this.#restLength = 0;
    }
    this.#deliver(bytes, start, end);
  }

  /** Whether the reply is collected whole, whatever its length, instead of passed on as it arrives. */
  protected collects(_request: Request): boolean {
    return false;
  }

  /** A large reply has come whole; its request stands in no queue of this upstream any more. */
  protected finishLarge(large: LargeReply): void {
    large.finish();
  }

  /**
   * The connection is gone: what has come of a reply is forgotten. The large one comes back, if there is
   * one.
   */
  protected forgetRest(): LargeReply | null {
    if (this.#rest !== null) this.plane.env.net.blocks.give(this.#rest);
    this.#rest = null;
    this.#restLength = 0;
    const large = this.#large;
    this.#large = null;
    return large;
  }

  #deliver(bytes: Bytes, from: number, end: number): void {
    let start = from;
    const scanner = this.#scanner;
    while (start < end) {
      const next = scanner.scan(bytes, start, end);
      if (next < 0) {
        this.#incomplete(next, bytes, start, end);
        return;
      }
      const request = this.head;
      if (request === null || bytes[start] === PUSH) {
        if (!this.#unexpected(bytes, start)) return;
        start = next;
        continue;
      }
      this.takeHead(request);
      this.answer(request, bytes, start, next);
      start = next;
    }
    if (this.pending === 0) this.becameIdle();
  }

  /** A push is passed over; a reply that nobody waits for means that the order is lost. */
  #unexpected(bytes: Bytes, start: number): boolean {
    if (this.connection === null) return false;
    if (bytes[start] === PUSH) return true;
    this.broken("a reply that nobody waits for");
    return false;
  }

  #incomplete(result: number, bytes: Bytes, start: number, end: number): void {
    if (result !== -1) {
      this.broken("bytes that are no reply");
      return;
    }
    const length = end - start;
    const request = this.head;
    const known = this.#scanner.bodyEnd - start;
    if (length <= REST_BYTES_MAX && known <= REST_BYTES_MAX) {
      this.#rest ??= this.plane.env.net.blocks.take(REST_BYTES_MAX);
      bytes.copy(this.#rest.bytes, 0, start, end);
      this.#restLength = length;
      return;
    }
    if (request === null || bytes[start] === PUSH) {
      this.broken("a reply that nobody waits for");
      return;
    }
    this.#large = new LargeReply(this.plane, request, this.#scanner, this.collects(request));
    this.#takeLarge(this.#large, bytes, start, end);
  }

  #takeLarge(large: LargeReply, bytes: Bytes, start: number, end: number): number {
    const next = large.take(bytes, start, end);
    if (next === LARGE_BROKEN) this.broken("bytes that are no reply");
    if (next < 0) return next;
    this.#large = null;
    const request = large.request;
    this.takeHead(request);
    this.finishLarge(large);
    return next;
  }
}
