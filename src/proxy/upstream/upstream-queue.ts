/**
 * The requests that one server owes replies for, in the order in which they were sent: the order of its
 * replies.
 *
 *   enqueue ─▶ tail … head ─▶ takeHead + answer: to the request's session, or to its owner
 *
 * When the connection breaks, what only reads goes to holding/retries.ts instead of failing.
 *
 * The base of an upstream and not a part of it: the hot path touches these fields for every request.
 */
import type { Bytes } from "../../base/bytes.ts";
import type { OutputQueue } from "../../base/output-queue.ts";
import type { Connection } from "../../env/net.ts";
import type { DataPlane } from "../data-plane.ts";
import type { Session } from "../downstream/session.ts";
import { KIND_OWNED, KIND_PLAIN, type ReplyOwner, type Request } from "../request.ts";
import type { UpstreamTarget } from "./handshake.ts";
import type { SentRequests, Unanswered } from "./sent-requests.ts";

export abstract class UpstreamQueue {
  /** Requests that were ever queued, and those of them that have ended. */
  enqueued = 0;
  answered = 0;
  /** Free for who cuts a call by server: which piece is this one's. */
  piece = 0;
  protected connection: Connection | null = null;
  /**
   * Where requests are appended: the connection's own output or, before the handshake is answered, `held`.
   */
  protected out: OutputQueue | null = null;
  protected held: OutputQueue | null = null;
  protected drained: (() => void) | null = null;
  protected idle: (() => void) | null = null;
  protected head: Request | null = null;
  protected tail: Request | null = null;
  /** What has been sent and not answered; null on a connection that keeps nothing. */
  protected sent: SentRequests | null = null;
  protected readonly plane: DataPlane;
  /** Requests before this number were sent for the second time, or with such ones. */
  #repeatedUntil = 0;

  constructor(plane: DataPlane) {
    this.plane = plane;
  }

  abstract readonly target: UpstreamTarget;
  /** A request that was taken off the queue gets no reply. */
  protected abstract fail(request: Request, text: string): void;

  /** Requests whose replies have not come. */
  get pending(): number {
    return this.enqueued - this.answered;
  }

  /** Starts a request whose reply goes to `owner`; its bytes follow by `output.append`, then `flushSoon`. */
  begin(owner: ReplyOwner, part: number): Request {
    const request = this.plane.requests.takePart(owner, part);
    this.enqueue(request);
    return request;
  }

  /** As `begin`, for a request whose reply goes to `session` in its turn. */
  beginFor(session: Session): Request {
    const request = this.plane.requests.take();
    request.session = session;
    request.kind = session.replyKind;
    session.enqueue(request);
    this.enqueue(request);
    return request;
  }

  /**
   * As `beginFor`, for a request whose bytes come over several turns; `endStream` follows the last of them.
   */
  beginStream(session: Session): Request {
    return this.beginFor(session);
  }

  endStream(): void {}

  /**
   * Sends `bytes[start, end)` for the second time: a request whose connection broke, with its record. Only
   * while `open`.
   */
  sendAgain(request: Request, bytes: Bytes, start: number, end: number): void {
    this.enqueue(request);
    this.output.append(bytes, start, end);
    this.flushSoon();
    this.#repeatedUntil = this.enqueued;
  }

  /** Calls `visit` for each session that waits for a reply of this server. */
  forEachWaiting(visit: (session: Session) => void): void {
    for (let request = this.head; request !== null; request = request.nextInUpstream) {
      const session = request.session ?? request.owner?.session;
      if (session != null) visit(session);
    }
  }

  protected enqueue(request: Request): void {
    if (this.tail === null) this.head = request;
    else this.tail.nextInUpstream = request;
    this.tail = request;
    this.enqueued++;
  }

  /** The reply of the head is here. */
  protected takeHead(head: Request): void {
    if ((this.head = head.nextInUpstream) === null) this.tail = null;
    this.answered++;
  }

  /** Hands a reply over: to its session in its turn or kept for it, or to the owner. */
  protected answer(request: Request, bytes: Bytes, start: number, end: number): void {
    const session = request.session;
    if (request.kind !== KIND_PLAIN) this.#answerOwned(request, bytes, start, end);
    else if (session === null) this.plane.requests.give(request);
    else if (session.head === request) session.deliverHead(request, bytes, start, end);
    else session.keep(request, bytes, start, end);
  }

  #answerOwned(request: Request, bytes: Bytes, start: number, end: number): void {
    if (request.kind !== KIND_OWNED) {
      if (request.session === null) this.plane.requests.give(request);
      else request.session.completeMuted(request);
      return;
    }
    const owner = request.owner;
    if (owner !== null) owner.onReply(request, bytes, start, end);
    this.plane.requests.give(request);
  }

  /** Fails every request that waits, in order, but those that will be sent again. */
  protected failPending(text: string, unanswered: Unanswered | null): void {
    const { retries } = this.plane.holding;
    const repeated = Math.max(0, this.#repeatedUntil - this.answered);
    const taken = unanswered === null ? null : retries.take(this.target, this.head, unanswered, repeated);
    let request = this.head;
    this.head = null;
    this.tail = null;
    this.answered = this.enqueued;
    while (request !== null) {
      const next: Request | null = request.nextInUpstream;
      request.nextInUpstream = null;
      if (taken === null || !taken.has(request)) this.fail(request, text);
      request = next;
    }
    if (taken !== null) retries.sendReady();
  }

  /** Whether the reply to `request`, the only one that a private connection carries, is still to come. */
  owes(request: Request | null): boolean {
    return this.connection !== null && this.tail === request;
  }

  /** Calls `run` once: when nothing waits to be sent, or the connection is gone. */
  whenDrained(run: () => void): void {
    this.drained = run;
    if (this.held === null) this.connection?.callOnDrain();
  }

  /** Calls `run` once: when everything that is owed now has been answered or has failed. */
  afterPending(run: () => void): void {
    this.begin({ onReply: run, onFailure: run }, 0);
    this.output.appendLatin1("*1\r\n$4\r\nPING\r\n");
    this.flushSoon();
  }

  /** Calls `run` once: when no reply is owed, or the connection is gone. */
  whenIdle(run: () => void): void {
    if (this.pending === 0) run();
    else this.idle = run;
  }

  /** Where the bytes of a request that has begun are appended. */
  get output(): OutputQueue {
    return this.out as OutputQueue;
  }

  flushSoon(): void {
    this.connection?.flushSoon();
  }

  /** What waited for the handshake leaves now. */
  protected letGo(connection: Connection, held: OutputQueue): void {
    while (held.length > 0) {
      const size = held.headEnd - held.headStart;
      connection.output.append(held.headBlock.bytes, held.headStart, held.headEnd);
      held.sent(size);
    }
    this.held = null;
    this.out = connection.output;
    connection.flushSoon();
    if (this.drained !== null) connection.callOnDrain();
  }

  protected appendLarge(output: OutputQueue, bytes: Bytes, start: number, end: number): void {
    const block = this.plane.takeAdoptable(bytes, end);
    if (block === null) output.append(bytes, start, end);
    else output.adopt(block, start, end);
  }

  protected callDrained(): void {
    const drained = this.drained;
    this.drained = null;
    if (drained !== null) drained();
  }

  protected callIdle(): void {
    const idle = this.idle;
    this.idle = null;
    if (idle !== null) idle();
  }
}
