/**
 * The requests that one server owes replies for, in the order in which they were sent: the order of its
 * replies.
 *
 *   enqueue ─▶ tail … head ─▶ takeHead + answer: to the request's session, or to its owner
 *
 * The base of an upstream and not a part of it: the hot path touches these fields for every request.
 */
import type { Bytes } from "../../base/bytes.ts";
import type { OutputQueue } from "../../base/output-queue.ts";
import type { Connection } from "../../env/net.ts";
import type { DataPlane } from "../data-plane.ts";
import type { Session } from "../downstream/session.ts";
import { KIND_OWNED, KIND_PLAIN, type ReplyOwner, type Request } from "../request.ts";

export abstract class UpstreamQueue {
  /** Requests whose replies have not come. */
  pending = 0;
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
  protected readonly plane: DataPlane;

  constructor(plane: DataPlane) {
    this.plane = plane;
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
    this.pending++;
  }

  /** The reply of the head is here. */
  protected takeHead(head: Request): void {
    if ((this.head = head.nextInUpstream) === null) this.tail = null;
    this.pending--;
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
