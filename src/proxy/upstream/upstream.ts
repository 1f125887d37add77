/**
 * The worker's shared connection to one server, for one database and one protocol.
 *
 *   send ─▶ output queue ─▶ (one send per turn) ─▶ server ─▶ onData ─▶ scan ─▶ the head of the queue gets it
 *           └▶ tail of the queue                            head of the queue ─▶ its session, or its owner
 *
 *   idle ─first request─▶ connecting ─handshake answered─▶ ready
 *                             │                              │ closed, hung, broken bytes
 *                             └───────── refused ────────────┴──▶ waiting ─(back-off)─▶ retrying ─▶ ready
 *
 * idle, connecting, ready take requests (in `connecting` they stand behind the handshake); waiting and
 * retrying refuse them at once, so that a dead server costs its clients an error and not a wait. A hung
 * server looks like a busy one until `server_timeout_ms` has passed without a byte from it while it owes
 * replies: then it is treated as dead.
 * That is the bound for clients which use it; clients of other groups never wait for it, because nothing
 * here waits.
 *
 * Invariants: the queue holds exactly the requests whose replies have not come; each reply belongs to the
 * queue's head; after anything unexpected the connection is closed, because replies could no longer be
 * matched (loss-modes L16). Nothing that may have been delivered is ever sent again (L12).
 */
import type { Block } from "../../base/block-pool.ts";
import type { Bytes } from "../../base/bytes.ts";
import type { Connection, ConnectionHandler } from "../../env/net.ts";
import { ReplyScanner } from "../../resp/reply-scanner.ts";
import type { DataPlane } from "../data-plane.ts";
import type { Session } from "../downstream/session.ts";
import { KIND_OWNED, KIND_PLAIN, type ReplyOwner, type Request } from "../request.ts";
import { Backoff } from "./backoff.ts";
import { Handshake, type UpstreamTarget } from "./handshake.ts";
import { ProgressWatch } from "./progress-watch.ts";
import { LARGE_BROKEN, LargeReply } from "./large-reply.ts";

/** The start of a reply that has not come whole: kept up to this length, above it goes on as a LargeReply. */
const REST_BYTES_MAX = 16 << 10;
/**
 * Requests that are larger than this are handed to the output queue as blocks instead of being copied, if
 * they can be.
 */
export const ADOPT_BYTES_MIN = 16 << 10;
/** RESP3's out-of-band data: no reply to anything. */
const PUSH = 62;

export type UpstreamState = "idle" | "connecting" | "ready" | "waiting" | "retrying" | "closed";

export class Upstream implements ConnectionHandler {
  readonly target: UpstreamTarget;
  state: UpstreamState = "idle";
  /** Whether `send` may be called: the one thing that the hot path asks. */
  open = false;
  /** Requests whose replies have not come. */
  pending = 0;
  readonly #plane: DataPlane;
  readonly #reconnects: boolean;
  readonly #scanner = new ReplyScanner();
  readonly #backoff: Backoff;
  #connection: Connection | null = null;
  #head: Request | null = null;
  #tail: Request | null = null;
  #rest: Block | null = null;
  #restLength = 0;
  #large: LargeReply | null = null;
  #drained: (() => void) | null = null;
  #idle: (() => void) | null = null;
  #lastError = "";
  readonly #watch = new ProgressWatch();
  /** Told to close when nothing is owed any more. */
  #retired = false;

  /**
   * `reconnects`: whether a lost connection is tried again; those that one session has for itself are not.
   */
  constructor(plane: DataPlane, target: UpstreamTarget, reconnects: boolean) {
    this.#plane = plane;
    this.target = target;
    this.#reconnects = reconnects;
    this.#backoff = new Backoff(plane.env, plane.config);
  }

  /**
   * Sends `bytes[start, end)`, one whole request; the reply goes to `session` in its turn. Only while
   * `open`.
   */
  send(session: Session, bytes: Bytes, start: number, end: number): void {
    const request = this.#plane.requests.take();
    request.session = session;
    request.kind = session.replyKind;
    session.enqueue(request);
    this.#enqueue(request);
    const connection = this.#connection as Connection;
    if (end - start >= ADOPT_BYTES_MIN) this.#appendLarge(connection, bytes, start, end);
    else connection.output.append(bytes, start, end);
    connection.flushSoon();
  }

  /** Starts a request whose reply goes to `owner`; its bytes follow by `output.append`, then `flushSoon`. */
  begin(owner: ReplyOwner, part: number): Request {
    const request = this.#plane.requests.take();
    request.kind = KIND_OWNED;
    request.owner = owner;
    request.part = part;
    this.#enqueue(request);
    return request;
  }

  /** As `begin`, for a request whose reply goes to `session` in its turn. */
  beginFor(session: Session): Request {
    const request = this.#plane.requests.take();
    request.session = session;
    request.kind = session.replyKind;
    session.enqueue(request);
    this.#enqueue(request);
    return request;
  }

  /** Whether the reply to `request`, the only one that a private connection carries, is still to come. */
  owes(request: Request | null): boolean {
    return this.#connection !== null && this.#tail === request;
  }

  /** Calls `run` once: when nothing waits to be sent, or the connection is gone. */
  whenDrained(run: () => void): void {
    this.#drained = run;
    this.#connection?.callOnDrain();
  }

  /** Calls `run` once: when no reply is owed, or the connection is gone. */
  whenIdle(run: () => void): void {
    if (this.pending === 0) run();
    else this.#idle = run;
  }

  get output(): Connection["output"] {
    return (this.#connection as Connection).output;
  }

  flushSoon(): void {
    this.#connection?.flushSoon();
  }

  /**
   * Makes sure that there is a connection, or that one is tried. Whether requests may be sent now comes
   * back.
   */
  prepare(): boolean {
    if (this.state === "idle") {
      this.open = true;
      this.#connect("connecting");
    }
    return this.open;
  }

  /** The error for a request that can't be sent now. */
  get refusal(): string {
    const { address, group } = this.target;
    return `ERR Cannot reach server ${address} of group ${group}: ${this.#lastError}`;
  }

  /** No new requests; closes when the last reply has come. */
  retire(): void {
    this.#retired = true;
    this.open = false;
    if (this.pending === 0) this.close();
  }

  /** Closes at once; what is owed fails. */
  close(): void {
    this.open = false;
    if (this.state === "closed") return;
    this.state = "closed";
    this.#backoff.cancel();
    this.#drop("the connection was closed");
  }

  /** Calls `visit` for each session that waits for a reply of this server. */
  forEachWaiting(visit: (session: Session) => void): void {
    for (let request = this.#head; request !== null; request = request.nextInUpstream) {
      if (request.session !== null) visit(request.session);
    }
  }

  onOpen(): void {
    // Nothing to do: the handshake stands in the output queue and leaves first.
  }

  onData(bytes: Bytes, received: number, end: number): void {
    this.#watch.progress++;
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

  onEnd(): void {
    this.#broken("the server closed the connection");
  }

  onDrain(): void {
    this.#callDrained();
  }

  onClose(reason: string): void {
    this.#broken(reason);
  }

  /** Called every `elapsedMs`: finds a server that owes replies and does nothing. */
  checkProgress(elapsedMs: number): void {
    const waiting = this.#connection === null ? 0 : this.#connection.output.length;
    const stalledMs = this.#watch.check(elapsedMs, this.pending, waiting);
    const { server_connect_timeout_ms, server_timeout_ms } = this.#plane.config;
    const bound = this.state === "ready" ? server_timeout_ms : server_connect_timeout_ms;
    if (stalledMs < bound) return;
    this.#plane.counters.serverTimeouts++;
    this.#broken(`no answer within ${bound} ms`);
  }

  /** The handshake's last reply has come: the server is there. */
  handshakeDone(): void {
    if (this.#retired) return;
    this.state = "ready";
    this.open = true;
    this.#backoff.reset();
  }

  handshakeFailed(text: string): void {
    this.#broken(text);
  }

  #enqueue(request: Request): void {
    if (this.#tail === null) this.#head = request;
    else this.#tail.nextInUpstream = request;
    this.#tail = request;
    this.pending++;
  }

  #appendLarge(connection: Connection, bytes: Bytes, start: number, end: number): void {
    const block = this.#plane.takeAdoptable(bytes, end);
    if (block === null) connection.output.append(bytes, start, end);
    else connection.output.adopt(block, start, end);
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
      const request = this.#head;
      if (request === null || bytes[start] === PUSH) {
        if (!this.#unexpected(bytes, start)) return;
        start = next;
        continue;
      }
      if ((this.#head = request.nextInUpstream) === null) this.#tail = null;
      this.pending--;
      this.#answer(request, bytes, start, next);
      start = next;
    }
    if (this.pending === 0) this.#becameIdle();
  }

  #becameIdle(): void {
    if (this.#retired) {
      this.close();
      this.#plane.slots.retired(this);
    }
    const idle = this.#idle;
    this.#idle = null;
    if (idle !== null) idle();
  }

  #callDrained(): void {
    const drained = this.#drained;
    this.#drained = null;
    if (drained !== null) drained();
  }

  #answer(request: Request, bytes: Bytes, start: number, end: number): void {
    const session = request.session;
    if (request.kind !== KIND_PLAIN) this.#answerOwned(request, bytes, start, end);
    else if (session === null) this.#plane.requests.give(request);
    else if (session.head === request) session.deliverHead(request, bytes, start, end);
    else session.keep(request, bytes, start, end);
  }

  #answerOwned(request: Request, bytes: Bytes, start: number, end: number): void {
    if (request.kind !== KIND_OWNED) {
      if (request.session === null) this.#plane.requests.give(request);
      else request.session.completeMuted(request);
      return;
    }
    const owner = request.owner;
    if (owner !== null) owner.onReply(request, bytes, start, end);
    this.#plane.requests.give(request);
  }

  /** A push is passed over; a reply that nobody waits for means that the order is lost. */
  #unexpected(bytes: Bytes, start: number): boolean {
    if (this.#connection === null) return false;
    if (bytes[start] === PUSH) return true;
    this.#broken("a reply that nobody waits for");
    return false;
  }

  #incomplete(result: number, bytes: Bytes, start: number, end: number): void {
    if (result !== -1) {
      this.#broken("bytes that are no reply");
      return;
    }
    const length = end - start;
    const request = this.#head;
    const known = this.#scanner.bodyEnd - start;
    if (length <= REST_BYTES_MAX && known <= REST_BYTES_MAX) {
      this.#rest ??= this.#plane.env.net.blocks.take(REST_BYTES_MAX);
      bytes.copy(this.#rest.bytes, 0, start, end);
      this.#restLength = length;
      return;
    }
    if (request === null || bytes[start] === PUSH) {
      this.#broken("a reply that nobody waits for");
      return;
    }
    this.#large = new LargeReply(this.#plane, request, this.#scanner);
    this.#takeLarge(this.#large, bytes, start, end);
  }

  #takeLarge(large: LargeReply, bytes: Bytes, start: number, end: number): number {
    const next = large.take(bytes, start, end);
    if (next === LARGE_BROKEN) this.#broken("bytes that are no reply");
    if (next < 0) return next;
    this.#large = null;
    const request = large.request;
    if ((this.#head = request.nextInUpstream) === null) this.#tail = null;
    this.pending--;
    large.finish();
    return next;
  }

  #connect(state: "connecting" | "retrying"): void {
    this.state = state;
    this.#watch.restart();
    const { host, port } = this.target;
    this.#connection = this.#plane.env.net.connect(host, port, this);
    new Handshake(this).start(this.#plane.config);
  }

  /** The connection is of no use any more: fail what is owed, try again later. */
  #broken(reason: string): void {
    if (this.state === "closed") return;
    const reached = this.state === "ready";
    this.#lastError = reason;
    this.open = false;
    this.state = "waiting";
    this.#plane.env.log.warn("server lost", {
      server: this.target.address,
      group: this.target.group,
      reason,
    });
    this.#drop(reached ? `the connection was lost (${reason}), the command may have run` : reason);
    if (this.#retired || !this.#reconnects) this.close();
    else this.#backoff.schedule(() => this.#connect("retrying"));
  }

  /** Closes the connection and fails every request that waits, in order. */
  #drop(reason: string): void {
    const connection = this.#connection;
    this.#connection = null;
    connection?.close();
    if (this.#rest !== null) this.#plane.env.net.blocks.give(this.#rest);
    this.#rest = null;
    this.#restLength = 0;
    const large = this.#large;
    this.#large = null;
    const { address, group } = this.target;
    const text = `ERR Cannot reach server ${address} of group ${group}: ${reason}`;
    let request = this.#head;
    this.#head = null;
    this.#tail = null;
    this.pending = 0;
    while (request !== null) {
      const next: Request | null = request.nextInUpstream;
      request.nextInUpstream = null;
      if (large !== null && large.request === request) large.abort();
      this.#plane.failRequest(request, text);
      request = next;
    }
    this.#callDrained();
    this.#becameIdle();
  }
}
