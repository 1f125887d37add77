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
 * idle, connecting, ready take requests (in `connecting` they wait here until the handshake is answered: a
 * server that refused SELECT or AUTH would run them all the same, in the wrong database or as the wrong
 * user); waiting and retrying refuse them at once, so that a dead server costs its clients an error and not
 * a wait. A hung server looks like a busy one until `server_timeout_ms` has passed without a byte from it
 * while it owes replies: then it is treated as dead. That is the bound for clients which use it; clients of
 * other groups never wait for it, because nothing here waits.
 *
 * Invariants: the queue holds exactly the requests whose replies have not come; each reply belongs to the
 * queue's head; after anything unexpected the connection is closed, because replies could no longer be
 * matched (loss-modes L16). Nothing that may have been delivered is ever sent again (L12).
 */
import type { Block } from "../../base/block-pool.ts";
import type { Bytes } from "../../base/bytes.ts";
import { OutputQueue } from "../../base/output-queue.ts";
import type { Connection, ConnectionHandler } from "../../env/net.ts";
import { ReplyScanner } from "../../resp/reply-scanner.ts";
import type { DataPlane } from "../data-plane.ts";
import type { Session } from "../downstream/session.ts";
import type { Request } from "../request.ts";
import { Backoff } from "./backoff.ts";
import { BusyProbe } from "./busy-probe.ts";
import { Handshake, type UpstreamTarget } from "./handshake.ts";
import { ProgressWatch } from "./progress-watch.ts";
import { LARGE_BROKEN, LargeReply } from "./large-reply.ts";
import { UpstreamQueue } from "./upstream-queue.ts";

/** The start of a reply that has not come whole: kept up to this length, above it goes on as a LargeReply. */
const REST_BYTES_MAX = 16 << 10;
/**
 * Requests that are larger than this are handed to the output queue as blocks instead of being copied, if
 * they can be.
 */
export const ADOPT_BYTES_MIN = 16 << 10;
/** Bytes that may wait to be sent on one connection; above, requests are refused until they are out. */
const OUTPUT_BYTES_MAX = 256 << 20;
/** First block of what waits for a handshake. */
const HELD_BLOCK_BYTES = 16 << 10;
/** RESP3's out-of-band data: no reply to anything. */
const PUSH = 62;

export type UpstreamState = "idle" | "connecting" | "ready" | "waiting" | "retrying" | "closed";

export class Upstream extends UpstreamQueue implements ConnectionHandler {
  readonly target: UpstreamTarget;
  state: UpstreamState = "idle";
  /** Whether `send` may be called: the one thing that the hot path asks. */
  open = false;
  /** The server may take its time: it waits on a client's behalf. */
  patient = false;
  /** This connection's id at the server; "" until it is known, and on shared connections. */
  clientId = "";
  /** The tracking sink that this connection's reads are tracked for; "" while they are not. */
  trackedBy = "";
  /** SHA1s of scripts that this connection's server has been shown. */
  readonly scripts = new Set<string>();
  /** Whether this connection's server has its functions; see dispatch/function-repair.ts. */
  functions: "unknown" | "counted" | "checked" = "unknown";
  readonly #reconnects: boolean;
  readonly #scanner = new ReplyScanner();
  readonly #backoff: Backoff;
  #rest: Block | null = null;
  #restLength = 0;
  #large: LargeReply | null = null;
  #lastError = "";
  readonly #watch = new ProgressWatch();
  readonly #probe: BusyProbe;
  /** What the server says while a script keeps it from all else; null when none does. */
  #busy: string | null = null;
  /** Told to close when nothing is owed any more. */
  #retired = false;

  /**
   * `reconnects`: whether a lost connection is tried again; those that one session has for itself are not.
   */
  constructor(plane: DataPlane, target: UpstreamTarget, reconnects: boolean) {
    super(plane);
    this.target = target;
    this.#reconnects = reconnects;
    this.#backoff = new Backoff(plane.env, plane.config);
    this.#probe = new BusyProbe(plane, target, (text) => this.#setBusy(text));
  }

  /**
   * Sends `bytes[start, end)`, one whole request; the reply goes to `session` in its turn. Only while
   * `open`.
   */
  send(session: Session, bytes: Bytes, start: number, end: number): void {
    const request = this.plane.requests.take();
    request.session = session;
    request.kind = session.replyKind;
    session.enqueue(request);
    this.enqueue(request);
    const connection = this.connection as Connection;
    const output = this.out as OutputQueue;
    if (end - start >= ADOPT_BYTES_MIN) this.appendLarge(output, bytes, start, end);
    else output.append(bytes, start, end);
    connection.flushSoon();
    if (output.length > OUTPUT_BYTES_MAX) this.#overfull(connection);
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
    if (this.#busy !== null) return this.#busy;
    const { address, group } = this.target;
    return `ERR Cannot reach server ${address} of group ${group}: ${this.#lastError}`;
  }

  /** The server is kept by a script; it answers on other connections, mostly with an error. */
  get busy(): boolean {
    return this.#busy !== null;
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

  onOpen(): void {
    // Nothing to do: the handshake stands in the connection's output and leaves by itself.
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
    this.callDrained();
  }

  onClose(reason: string): void {
    this.#broken(reason);
  }

  /** Called every `elapsedMs`: finds a server that owes replies and does nothing. */
  checkProgress(elapsedMs: number): void {
    const waiting = this.out === null ? 0 : this.out.length;
    const stalledMs = this.#watch.check(elapsedMs, this.pending, waiting);
    const { server_connect_timeout_ms, server_timeout_ms } = this.plane.config;
    const bound = this.state === "ready" ? server_timeout_ms : server_connect_timeout_ms;
    if (stalledMs > 0 && this.state === "ready" && !this.patient) this.#probe.ask();
    if (stalledMs < bound || (this.patient && this.state === "ready")) return;
    this.plane.counters.serverTimeouts++;
    this.#broken(`no answer within ${bound} ms`);
  }

  /** The handshake's last reply has come: the server is there. */
  handshakeDone(): void {
    if (this.connection !== null && this.held !== null) this.letGo(this.connection, this.held);
    this.state = "ready";
    this.open = !this.#retired;
    this.#backoff.reset();
  }

  handshakeFailed(text: string): void {
    this.#broken(text);
  }

  /**
   * New requests are told so until something arrives. That is seen by another handler in this one's place,
   * so that the hot path need not ask.
   */
  #setBusy(text: string): void {
    const connection = this.connection;
    if (this.state !== "ready" || this.pending === 0 || connection === null) return;
    this.#watch.restart();
    if (this.#busy !== null) return;
    this.#busy = text;
    this.plane.busyUpstreams++;
    this.open = false;
    connection.handler = {
      onOpen: () => undefined,
      onData: (bytes, start, end) => {
        connection.handler = this;
        this.#clearBusy();
        this.open = !this.#retired;
        this.onData(bytes, start, end);
      },
      onEnd: () => this.onEnd(),
      onDrain: () => this.onDrain(),
      onClose: (reason) => this.onClose(reason),
    };
  }

  #clearBusy(): void {
    if (this.#busy === null) return;
    this.#busy = null;
    this.plane.busyUpstreams--;
  }

  /** More waits than may: no new requests until the server has taken all of it, or is found to be hung. */
  #overfull(connection: Connection): void {
    if (!this.open) return;
    this.open = false;
    this.#lastError = "too many bytes wait to be sent to it";
    this.whenDrained(() => {
      if (this.state !== "ready" || this.connection !== connection || this.#busy !== null) return;
      this.open = !this.#retired;
    });
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
    if (this.pending === 0) this.#becameIdle();
  }

  #becameIdle(): void {
    if (this.#retired) {
      this.close();
      this.plane.slots.retired(this);
    }
    this.callIdle();
  }

  /** A push is passed over; a reply that nobody waits for means that the order is lost. */
  #unexpected(bytes: Bytes, start: number): boolean {
    if (this.connection === null) return false;
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
    const request = this.head;
    const known = this.#scanner.bodyEnd - start;
    if (length <= REST_BYTES_MAX && known <= REST_BYTES_MAX) {
      this.#rest ??= this.plane.env.net.blocks.take(REST_BYTES_MAX);
      bytes.copy(this.#rest.bytes, 0, start, end);
      this.#restLength = length;
      return;
    }
    if (request === null || bytes[start] === PUSH) {
      this.#broken("a reply that nobody waits for");
      return;
    }
    this.#large = new LargeReply(this.plane, request, this.#scanner);
    this.#takeLarge(this.#large, bytes, start, end);
  }

  #takeLarge(large: LargeReply, bytes: Bytes, start: number, end: number): number {
    const next = large.take(bytes, start, end);
    if (next === LARGE_BROKEN) this.#broken("bytes that are no reply");
    if (next < 0) return next;
    this.#large = null;
    const request = large.request;
    this.takeHead(request);
    large.finish();
    return next;
  }

  #connect(state: "connecting" | "retrying"): void {
    this.state = state;
    this.#watch.restart();
    const { host, port } = this.target;
    const { net } = this.plane.env;
    this.connection = net.connect(host, port, this);
    this.out = this.connection.output;
    new Handshake(this).start(this.plane.config, !this.#reconnects);
    this.held = new OutputQueue(net.blocks, HELD_BLOCK_BYTES);
    this.out = this.held;
  }

  /** The connection is of no use any more: fail what is owed, try again later. */
  #broken(reason: string): void {
    if (this.state === "closed") return;
    const sent = this.held === null;
    this.#lastError = reason;
    this.open = false;
    this.state = "waiting";
    this.plane.env.log.warn("server lost", {
      server: this.target.address,
      group: this.target.group,
      reason,
    });
    this.#drop(sent ? `the connection was lost (${reason}), the command may have run` : reason);
    if (this.#retired || !this.#reconnects) this.close();
    else this.#backoff.schedule(() => this.#connect("retrying"));
  }

  /** Closes the connection and fails every request that waits, in order. */
  #drop(reason: string): void {
    const connection = this.connection;
    this.connection = null;
    this.#clearBusy();
    this.#probe.cancel();
    this.scripts.clear();
    this.functions = "unknown";
    if (this.trackedBy !== "") this.plane.tracking.invalidateAll();
    this.trackedBy = "";
    connection?.close();
    this.held?.clear();
    this.held = null;
    this.out = null;
    if (this.#rest !== null) this.plane.env.net.blocks.give(this.#rest);
    this.#rest = null;
    this.#restLength = 0;
    const large = this.#large;
    this.#large = null;
    const { address, group } = this.target;
    const text = `ERR Cannot reach server ${address} of group ${group}: ${reason}`;
    let request = this.head;
    this.head = null;
    this.tail = null;
    this.pending = 0;
    while (request !== null) {
      const next: Request | null = request.nextInUpstream;
      request.nextInUpstream = null;
      if (large !== null && large.request === request) large.abort();
      this.plane.failRequest(request, text);
      request = next;
    }
    this.callDrained();
    this.#becameIdle();
  }
}
