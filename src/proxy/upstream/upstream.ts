/**
 * The worker's shared connection to one server, for one database and one protocol.
 *
 *   send ─▶ output queue ─▶ (one send per turn) ─▶ server ─▶ upstream-replies.ts ─▶ the head of the queue
 *           └▶ tail of the queue                             head of the queue ─▶ its session, or its owner
 *
 *   idle ─first request─▶ connecting ─handshake answered─▶ ready
 *                             │                              │ closed, hung, broken bytes
 *                             └───────── refused ────────────┴──▶ waiting ─(back-off)─▶ retrying ─▶ ready
 *
 * Only `ready` is `open`: clients' requests wait in their sessions until then (holding/), so that nothing
 * stands in a queue that could break, and a server that refused SELECT or AUTH never runs them in the wrong
 * database or as the wrong user. What the proxy asks for itself may be sent in `connecting` too, where it
 * waits for the handshake (`prepare`). A hung server looks like a busy one until `server_timeout_ms` has
 * passed without a byte from it while it owes replies: then it is treated as dead. Clients of other groups
 * never wait for it, because nothing here waits.
 *
 * Invariants: the queue holds exactly the requests whose replies have not come; each reply belongs to the
 * queue's head; after anything unexpected the connection is closed, because replies could no longer be
 * matched (loss-modes L16). Nothing that may have been delivered is ever sent again (L12), but what only
 * reads: for that, shared connections keep what they have sent (`SentRequests`).
 */
import type { Bytes } from "../../base/bytes.ts";
import { OutputQueue } from "../../base/output-queue.ts";
import type { Connection, ConnectionHandler } from "../../env/net.ts";
import type { DataPlane } from "../data-plane.ts";
import type { Session } from "../downstream/session.ts";
import type { Request } from "../request.ts";
import { Backoff } from "./backoff.ts";
import { BusyProbe } from "./busy-probe.ts";
import { Handshake, type UpstreamTarget } from "./handshake.ts";
import { SentRequests } from "./sent-requests.ts";
import { UpstreamReplies } from "./upstream-replies.ts";

/**
 * Requests that are larger than this are handed to the output queue as blocks instead of being copied, if
 * they can be.
 */
export const ADOPT_BYTES_MIN = 16 << 10;
/** Bytes that may wait to be sent on one connection; above, requests are refused until they are out. */
const OUTPUT_BYTES_MAX = 256 << 20;
/** First block of what waits for a handshake. */
const HELD_BLOCK_BYTES = 16 << 10;
/** Without a byte for so long while it owes replies, a server counts as wedged for the controllers. */
const WEDGED_MS = 1000;
/** An idle server that has not answered for so long, the last PING included, is not vouched for. */
const QUIET_MS_MAX = 1.5 * WEDGED_MS;

export type UpstreamState = "idle" | "connecting" | "ready" | "waiting" | "retrying" | "closed";

export class Upstream extends UpstreamReplies implements ConnectionHandler {
  override readonly target: UpstreamTarget;
  state: UpstreamState = "idle";
  /** Whether `send` may be called: the one thing that the hot path asks. */
  open = false;
  /**
   * The map holds the group's requests: a switchover. Keys' requests meet the gate of their slot (slots/).
   */
  heldByMap = false;
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
  readonly #backoff: Backoff;
  #lastError = "";
  readonly #probe: BusyProbe;
  /** The progress that was seen at the last `ping`. */
  #pingedAt = -1;
  /** What the server says while a script keeps it from all else; null when none does. */
  #busy: string | null = null;
  /** Told to close when nothing is owed any more. */
  #retired = false;
  /** More bytes wait to be sent than may. */
  #overfull = false;

  /**
   * `reconnects`: whether a lost connection is tried again; those that one session has for itself are not.
   */
  constructor(plane: DataPlane, target: UpstreamTarget, reconnects: boolean) {
    super(plane);
    this.target = target;
    this.#reconnects = reconnects;
    this.#backoff = new Backoff(plane.env, plane.config);
    this.#probe = new BusyProbe(plane, target, {
      busy: (text) => this.#setBusy(text),
      alive: () => this.watch.vouch(),
    });
  }

  /**
   * Sends `bytes[start, end)`, one whole request; the reply goes to `session` in its turn. Only while
   * `open`. False, from acks/ only: not now; the request is to be looked at again.
   */
  send(session: Session, bytes: Bytes, start: number, end: number): boolean {
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
    if (output.length > OUTPUT_BYTES_MAX) this.#overfill(connection);
    return true;
  }

  /**
   * Makes sure that there is a connection, or that one is tried. Whether requests may be sent now comes
   * back; before the handshake is answered they wait here.
   */
  prepare(): boolean {
    if (this.state === "idle") this.#connect("connecting");
    return this.open || (this.state === "connecting" && !this.#retired);
  }

  /** As `prepare`, for a client's request: it must not get to a group that is held. */
  takes(): boolean {
    return this.prepare() && !this.heldByMap;
  }

  /** Not open, but it is known why and when that ends: nothing to wait for. */
  get refuses(): boolean {
    return this.#busy !== null || this.#overfull;
  }

  /** The error for a request that can't be sent now. */
  get refusal(): string {
    if (this.#busy !== null) return this.#busy;
    const { address, group } = this.target;
    if (this.heldByMap) return `ERR Cannot reach group ${group}: a switchover has not ended in time`;
    return `ERR Cannot reach server ${address} of group ${group}: ${this.#lastError}`;
  }

  /** The server is kept by a script; it answers on other connections, mostly with an error. */
  get busy(): boolean {
    return this.#busy !== null;
  }

  /** No new requests; closes when the last reply has come, or at once when the server gives no answers. */
  retire(): void {
    this.#retired = true;
    this.#refreshOpen();
    if (this.pending === 0 || this.alive === false) this.close();
  }

  /** Asks for a sign of life, unless there was one since the last call or one is owed. */
  ping(): void {
    if (!this.prepare() || this.pending > 0) return;
    const seen = this.watch.progress;
    this.#pingedAt = seen === this.#pingedAt ? seen + 1 : seen;
    if (this.#pingedAt > seen) this.afterPending(() => undefined);
  }

  /** Whether the server is there; null when there is nothing that tells. */
  get alive(): boolean | null {
    const { stalledMs, quietMs } = this.watch;
    if (this.state === "waiting" || this.state === "retrying") return false;
    if (this.#busy !== null) return true;
    if (stalledMs >= WEDGED_MS) return false;
    return this.state === "ready" && quietMs < QUIET_MS_MAX ? true : null;
  }

  /** Why it is not alive, in words. */
  get condition(): string {
    if (this.#busy !== null) return "busy with a script";
    if (this.state === "ready" && this.alive === false) return `no answer for over ${WEDGED_MS} ms`;
    return this.state === "ready" ? "" : this.#lastError;
  }

  /** Closes at once; what is owed fails. */
  close(why = ""): void {
    this.open = false;
    if (this.state === "closed") return;
    this.state = "closed";
    this.#backoff.cancel();
    this.#drop(why === "" ? "the connection was closed" : why, why === "" && this.held === null);
  }

  onOpen(): void {
    // Nothing to do: the handshake stands in the connection's output and leaves by itself.
  }

  onEnd(): void {
    this.broken("the server closed the connection");
  }

  onDrain(): void {
    this.callDrained();
  }

  onClose(reason: string): void {
    this.broken(reason);
  }

  /** Called every `elapsedMs`: finds a server that owes replies and does nothing. */
  checkProgress(elapsedMs: number): void {
    const waiting = this.out === null ? 0 : this.out.length;
    const stalledMs = this.stalled(this.watch.check(elapsedMs, this.pending, waiting));
    const bound = this.stallMsMax;
    if (stalledMs > 0 && this.state === "ready" && !this.patient) this.#probe.ask();
    if (stalledMs < bound || (this.patient && this.state === "ready")) return;
    this.plane.counters.serverTimeouts++;
    const reason = `no answer within ${bound} ms`;
    this.broken(reason);
    if (this.#reconnects) this.plane.holding.hung(this, reason);
  }

  /** The handshake's last reply has come: the server is there. */
  handshakeDone(): void {
    if (this.connection !== null && this.held !== null) {
      const { output } = this.connection;
      if (this.#reconnects && output.length === 0)
        this.sent = new SentRequests(this.plane.env.net.blocks, output, this);
      this.letGo(this.connection, this.held);
    }
    this.state = "ready";
    this.#refreshOpen();
    this.#backoff.reset();
    if (this.#reconnects) this.plane.holding.back(this);
  }

  handshakeFailed(text: string): void {
    this.broken(text);
  }

  /**
   * New requests are told so until something arrives. That is seen by another handler in this one's place,
   * so that the hot path need not ask.
   */
  #setBusy(text: string): void {
    const connection = this.connection;
    if (this.state !== "ready" || this.pending === 0 || connection === null) return;
    this.watch.restart();
    if (this.#busy !== null) return;
    this.#busy = text;
    this.plane.busyUpstreams++;
    this.#refreshOpen();
    connection.handler = {
      onOpen: () => undefined,
      onData: (bytes, start, end) => {
        connection.handler = this;
        this.#clearBusy();
        this.#refreshOpen();
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
  #overfill(connection: Connection): void {
    if (!this.open) return;
    this.#overfull = true;
    this.#refreshOpen();
    this.#lastError = "too many bytes wait to be sent to it";
    this.whenDrained(() => {
      if (this.connection !== connection) return;
      this.#overfull = false;
      this.#refreshOpen();
    });
  }

  /** `open` says all of this in one field, for the hot path. */
  #refreshOpen(): void {
    const free = this.#busy === null && !this.#overfull;
    this.open = this.state === "ready" && !this.#retired && free;
  }

  /** Another connection to the same server hangs: this one, which owes nothing, is not trusted any more. */
  doubt(reason: string): void {
    if (this.state === "ready" && this.pending === 0 && this.#reconnects) this.broken(reason);
  }

  /** Of the time in which nothing has moved, what counts against the server. */
  protected stalled(stalledMs: number): number {
    return stalledMs;
  }

  /** For how long nothing may come while replies are owed, in ms. */
  protected get stallMsMax(): number {
    const { server_connect_timeout_ms, server_timeout_ms } = this.plane.config;
    return this.state === "ready" ? server_timeout_ms : server_connect_timeout_ms;
  }

  protected override becameIdle(): void {
    this.sent?.idle();
    if (this.#retired) {
      this.close();
      this.plane.slots.retired(this);
    }
    this.callIdle();
  }

  #connect(state: "connecting" | "retrying"): void {
    this.state = state;
    this.watch.restart();
    const { host, port } = this.target;
    const { net } = this.plane.env;
    this.connection = net.connect(host, port, this);
    this.out = this.connection.output;
    new Handshake(this).start(this.plane.config, !this.#reconnects, state === "retrying");
    this.held = new OutputQueue(net.blocks, HELD_BLOCK_BYTES);
    this.out = this.held;
  }

  /** The connection is of no use any more: fail what is owed, try again later. */
  protected override broken(reason: string): void {
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
    this.#drop(sent ? `the connection was lost (${reason})` : reason, sent);
    if (this.#retired || !this.#reconnects) {
      this.close();
      return;
    }
    this.#backoff.schedule(() => this.#connect("retrying"));
    this.plane.holding.lost(this);
  }

  /** The connection is gone, for `reason`; what is owed fails next. */
  protected dropped(_reason: string): void {}

  /** A request that was taken off the queue gets no reply. */
  protected override fail(request: Request, text: string): void {
    this.plane.failRequest(request, text);
  }

  /** Closes the connection and ends what waits for it. `sent`: that may have got there. */
  #drop(reason: string, sent: boolean): void {
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
    this.#overfull = false;
    this.forgetRest()?.abort();
    const unanswered = this.sent?.recover() ?? null;
    this.sent = null;
    this.dropped(reason);
    const { address, group } = this.target;
    const mayHaveRun = sent ? ", the command may have run" : "";
    const text = `ERR Cannot reach server ${address} of group ${group}: ${reason}${mayHaveRun}`;
    this.failPending(text, unanswered);
    this.callDrained();
    this.becameIdle();
  }
}
