/**
 * The replies that a client is owed, in the order of its requests: the half of a session that points to the
 * client.
 *
 *   enqueue ─▶ head ─▶ □ ─▶ □ ─▶ □ tail
 *               │           └ reply came early: kept in its record (keep, keepBlock, complete)
 *               └ its turn: deliverHead ─▶ output queue ─▶ one send per turn, and the kept ones behind it
 *               follow
 *
 * `holds` says why requests are not taken at the moment; 0 means that they are. While it is not 0 the socket
 * is not read, so that a client which sends faster than it is served feels it instead of filling memory.
 *
 *   HOLD_IN_FLIGHT  too many replies owed            ─▶ half of them have come
 *   HOLD_DRAIN      the next request must come alone ─▶ no reply owed
 *   HOLD_OUTPUT     replies are not read             ─▶ all sent
 *   HOLD_WAIT       the dispatcher waits for a thing ─▶ `release`
 *   CLOSING         QUIT, protocol error, end        ─▶ no reply owed, then close
 *
 * A base class and not a part of the session: the hot path touches these fields for every reply, and a field
 * of its own object costs nothing.
 */
import type { Block } from "../../base/block-pool.ts";
import { type Bytes, writeLatin1 } from "../../base/bytes.ts";
import { type Connection, HEADROOM_BYTES } from "../../env/net.ts";
import type { DataPlane } from "../data-plane.ts";
import { KIND_LOCAL, KIND_MUTED, KIND_PLAIN, type Request } from "../request.ts";
import type { Session } from "./session.ts";

export const HOLD_IN_FLIGHT = 1;
export const HOLD_DRAIN = 2;
export const HOLD_OUTPUT = 4;
export const HOLD_WAIT = 8;
export const CLOSING = 16;

/** Reply bytes that wait before the client's requests are no longer read. */
const OUTPUT_PAUSE_BYTES = 1 << 20;
/** One reply that must be collected whole before its turn comes. */
const REPLY_BYTES_COLLECTED_MAX = 1 << 30;

export abstract class ReplyQueue {
  readonly connection: Connection;
  head: Request | null = null;
  tail: Request | null = null;
  /** Replies owed. */
  inFlight = 0;
  /** KIND_PLAIN, or KIND_MUTED while the client wants no replies. */
  replyKind = KIND_PLAIN;
  holds = 0;
  closed = false;
  /** While it is set, answers of the proxy go here: a command runs inside EXEC. */
  capture: string[] | null = null;
  protected readonly plane: DataPlane;
  #keptBytes = 0;
  #resuming = false;

  constructor(plane: DataPlane, connection: Connection) {
    this.plane = plane;
    this.connection = connection;
  }

  /** Takes requests again: every hold is over. */
  protected abstract resume(): void;
  /** Every reply owed is written, and the session is to close. */
  protected abstract finish(): void;
  /** Closes at once. */
  abstract abort(reason: string): void;

  // ── replies of servers ──────────────────────────────────────────────────────────────────────────────

  /** Takes a request's place in the order of the replies. */
  enqueue(request: Request): void {
    if (this.tail === null) this.head = request;
    else this.tail.nextInSession = request;
    this.tail = request;
    if (++this.inFlight >= this.plane.config.client_in_flight_max) this.hold(HOLD_IN_FLIGHT);
  }

  /** The reply of the request whose turn it is. */
  deliverHead(request: Request, bytes: Bytes, start: number, end: number): void {
    const { connection } = this;
    connection.output.append(bytes, start, end);
    connection.flushSoon();
    if (connection.output.length > OUTPUT_PAUSE_BYTES) this.#checkOutput(end - start);
    this.headDelivered(request);
  }

  /** A piece of the reply whose turn it is; `headDelivered` follows the last one. */
  deliverPiece(bytes: Bytes, start: number, end: number): void {
    if (this.closed) return;
    const { connection } = this;
    connection.output.append(bytes, start, end);
    connection.flushSoon();
    if (connection.output.length <= OUTPUT_PAUSE_BYTES) return;
    if (connection.output.length > REPLY_BYTES_COLLECTED_MAX) this.#tooMuch();
    else this.#pauseForOutput();
  }

  /** The head's reply is written: those that are here already follow it. */
  headDelivered(request: Request): void {
    const next = request.nextInSession;
    this.head = next;
    if (next === null) this.tail = null;
    this.inFlight--;
    this.plane.requests.give(request);
    if (next !== null && next.done) this.#deliverDone();
    if (this.holds !== 0) this.#reconsider();
  }

  /** As `headDelivered`, for a reply that went out in pieces, `length` bytes in all. */
  piecesDelivered(request: Request, length: number): void {
    if (this.connection.output.length > OUTPUT_PAUSE_BYTES) this.#checkOutput(length);
    this.headDelivered(request);
  }

  /** Counts bytes that are collected for this client and are no reply yet; below 0: takes them off. */
  collect(bytes: number): void {
    this.#keptBytes += bytes;
    if (bytes > 0 && !this.closed && this.keepsTooMuch(0)) this.#tooMuch();
  }

  /** A reply that came before its turn: copied into its record. */
  keep(request: Request, bytes: Bytes, start: number, end: number): void {
    this.plane.requests.keep(request, bytes, start, end);
    this.#kept(request);
  }

  /** A whole reply in a block that changes hands; its turn or not. */
  keepBlock(request: Request, block: Block, length: number): void {
    this.plane.requests.keepBlock(request, block, length);
    this.#kept(request);
    if (this.head !== request || this.closed) return;
    this.#deliverDone();
    if (this.holds !== 0) this.#reconsider();
  }

  // ── replies that replicas must confirm (acks/) ───────────────────────────────────────────────────────

  /** A reply that must not leave before `confirm`: copied into its record. */
  keepUnconfirmed(request: Request, bytes: Bytes, start: number, end: number): void {
    this.plane.requests.keep(request, bytes, start, end);
    request.done = false;
    this.#kept(request);
  }

  /** As `keepUnconfirmed`, in a block that changes hands. */
  keepBlockUnconfirmed(request: Request, block: Block, length: number): void {
    this.plane.requests.keepBlock(request, block, length);
    request.done = false;
    this.#kept(request);
  }

  /** What was kept may leave, in its turn. */
  confirm(request: Request): void {
    request.done = true;
    if (this.head !== request || this.closed) return;
    this.#deliverDone();
    if (this.holds !== 0) this.#reconsider();
  }

  /** What was kept is not what the client gets. */
  forgetKept(request: Request): void {
    if (request.block !== null) this.#keptBytes -= request.replyLength;
    this.plane.requests.forget(request);
  }

  /**
   * Whether too much waits for this client; `collected`: the bytes of one more reply that are here already.
   */
  keepsTooMuch(collected: number): boolean {
    if (collected > REPLY_BYTES_COLLECTED_MAX) return true;
    return this.#keptBytes + this.connection.output.length > this.plane.config.client_output_bytes_max;
  }

  #kept(request: Request): void {
    if (request.block === null) return;
    this.#keptBytes += request.replyLength;
    if (this.keepsTooMuch(0)) this.#tooMuch();
  }

  /** Writes the replies at the head that are here. */
  #deliverDone(): void {
    const { requests } = this.plane;
    const { output } = this.connection;
    let request = this.head;
    while (request !== null && request.done) {
      const next: Request | null = request.nextInSession;
      if (request.block !== null) this.#deliverBlock(request, request.block);
      else output.append(request.slab, request.slabStart, request.slabStart + request.replyLength);
      this.inFlight--;
      requests.give(request);
      request = next;
    }
    this.head = request;
    if (request === null) this.tail = null;
    this.connection.flushSoon();
    if (output.length > OUTPUT_PAUSE_BYTES) this.#checkOutput(0);
  }

  /** Large blocks change hands, small ones are copied: a chunk of its own costs a send. */
  #deliverBlock(request: Request, block: Block): void {
    const { output } = this.connection;
    this.#keptBytes -= request.replyLength;
    if (request.replyLength < HEADROOM_BYTES) {
      output.append(block.bytes, 0, request.replyLength);
      return;
    }
    output.adopt(block, 0, request.replyLength);
    request.block = null;
  }

  // ── answers of the proxy ────────────────────────────────────────────────────────────────────────────

  /** An answer of the proxy itself, as encoded text, in its turn. */
  answer(text: string): void {
    if (this.capture !== null) {
      this.capture.push(text);
      return;
    }
    if (this.closed || this.replyKind === KIND_MUTED) return;
    if (this.head !== null) {
      this.complete(this.reserve(), text);
      return;
    }
    this.connection.output.appendLatin1(text);
    this.connection.flushSoon();
    if (this.connection.output.length > OUTPUT_PAUSE_BYTES) this.#checkOutput(text.length);
  }

  /** A frame that answers nothing, behind the replies that are owed now; `now`: at once, see `pushBytes`. */
  push(text: string, now = false): void {
    if (this.closed) return;
    if (this.head !== null && !now) {
      const place = this.reserve();
      place.kind = KIND_LOCAL;
      this.complete(place, text);
      return;
    }
    this.connection.output.appendLatin1(text);
    this.connection.flushSoon();
    if (this.connection.output.length > OUTPUT_PAUSE_BYTES) this.#checkOutput(text.length);
  }

  /** As `push`, for a frame in bytes. `now`: at once; right while no reply is on its way in pieces. */
  pushBytes(bytes: Bytes, start: number, end: number, now: boolean): void {
    if (this.closed) return;
    if (this.head !== null && !now) {
      const place = this.reserve();
      place.kind = KIND_LOCAL;
      this.keep(place, bytes, start, end);
      if (this.inFlight > 2 * this.plane.config.client_in_flight_max && !this.closed) this.#tooMuch();
      return;
    }
    this.connection.output.append(bytes, start, end);
    this.connection.flushSoon();
    if (this.connection.output.length > OUTPUT_PAUSE_BYTES) this.#checkOutput(end - start);
  }

  /** A place in the order of the replies for an answer that is put together later. */
  reserve(): Request {
    const request = this.plane.requests.take();
    request.kind = this.replyKind === KIND_MUTED ? KIND_MUTED : KIND_LOCAL;
    // Inside EXEC there is a place only for an answer that is here at once; a later one is dropped.
    if (this.capture !== null) return request;
    request.session = this as unknown as Session;
    this.enqueue(request);
    return request;
  }

  /** Answers a place with encoded text. */
  complete(request: Request, text: string): void {
    if (this.capture !== null && request.session === null) {
      this.capture.push(text);
      this.plane.requests.give(request);
      return;
    }
    const block = this.plane.env.net.blocks.take(text.length);
    writeLatin1(block.bytes, 0, text);
    this.completeWithBlock(request, block, text.length);
  }

  /** Answers a place with `block[0, length)`; the block changes hands. */
  completeWithBlock(request: Request, block: Block, length: number): void {
    if (request.session !== null && request.kind !== KIND_MUTED) {
      this.keepBlock(request, block, length);
      return;
    }
    this.plane.env.net.blocks.give(block);
    if (request.session === null) this.plane.requests.give(request);
    else this.completeMuted(request);
  }

  /** The reply is here and the client does not want it. */
  completeMuted(request: Request): void {
    request.replyLength = 0;
    request.done = true;
    if (this.head !== request) return;
    this.#deliverDone();
    if (this.holds !== 0) this.#reconsider();
  }

  // ── holds ───────────────────────────────────────────────────────────────────────────────────────────

  /** No more requests until the reason is over. */
  hold(reason: number): void {
    if (this.holds === 0) this.connection.setReading(false);
    this.holds |= reason;
  }

  /** The reason is over. Requests go on when the present turn ends, not in the middle of somebody's reply. */
  release(reason: number): void {
    if ((this.holds & reason) === 0) return;
    this.holds &= ~reason;
    if (this.holds !== 0 || this.#resuming) return;
    this.#resuming = true;
    this.plane.env.net.atTurnEnd(() => {
      this.#resuming = false;
      if (this.holds === 0 && !this.closed) this.resume();
    });
  }

  /** After a reply: are the holds that wait for replies over? */
  #reconsider(): void {
    if ((this.holds & CLOSING) !== 0 && this.head === null) this.finish();
    if (this.inFlight === 0) this.release(HOLD_DRAIN);
    if (this.inFlight * 2 <= this.plane.config.client_in_flight_max) this.release(HOLD_IN_FLIGHT);
  }

  #pauseForOutput(): void {
    if ((this.holds & HOLD_OUTPUT) !== 0) return;
    this.hold(HOLD_OUTPUT);
    this.connection.callOnDrain();
  }

  /** Much output waits. `latest`: the length of the reply just added; one reply alone is never too much. */
  #checkOutput(latest: number): void {
    if (this.connection.output.length - latest > this.plane.config.client_output_bytes_max) this.#tooMuch();
    else this.#pauseForOutput();
  }

  #tooMuch(): void {
    this.plane.counters.clientsOverOutput++;
    this.abort("too many reply bytes wait for the client");
  }

  /** The client is gone: what it is owed is dropped, now or when it comes. */
  protected forgetReplies(): void {
    const { requests } = this.plane;
    let request = this.head;
    this.head = null;
    this.tail = null;
    while (request !== null) {
      const next: Request | null = request.nextInSession;
      request.nextInSession = null;
      request.session = null;
      if (request.done) requests.give(request);
      request = next;
    }
  }
}
