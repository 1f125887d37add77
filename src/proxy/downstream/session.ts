/**
 * One client connection: the part that takes requests. What it owes the client is in reply-queue.ts, what it
 * is in the middle of in session-state.ts.
 *
 *   onData ─▶ run ─▶ scan ─▶ dispatch ─┬─ one key, nothing special: straight to its upstream   (the hot path)
 *              │                       └─ all else: the dispatcher
 *              ├─ not all there, or on hold ─▶ input
 *              └─ a very large value ─▶ streamed-request.ts
 *
 * Invariants: a request is dispatched exactly once, whole, in the order of arrival; a session without traffic
 * owns no block, so that ten thousand idle ones cost little.
 */
import type { Bytes } from "../../base/bytes.ts";
import { ROUTE_KEY } from "../../commands/command.ts";
import { lookupCommand } from "../../commands/command-lookup.ts";
import { type ConnectionHandler, HEADROOM_BYTES } from "../../env/net.ts";
import { INCOMPLETE, INLINE, type RequestScanner } from "../../resp/request-scanner.ts";
import { errorReply } from "../../resp/reply-writer.ts";
import { slotOf } from "../../routing/slot-of.ts";
import { CLOSING, HOLD_DRAIN, HOLD_OUTPUT } from "./reply-queue.ts";
import { SessionState } from "./session-state.ts";
import { RequestInput } from "./request-input.ts";
import { canStream, StreamedRequest } from "./streamed-request.ts";
import { unauthenticatedError } from "./unauthenticated-error.ts";

/** How long a client that is being closed may take to fetch what waits for it. */
const CLOSE_LINGER_MS = 5000;

export class Session extends SessionState implements ConnectionHandler {
  #input: RequestInput | null = null;
  /** The scanner that is in the middle of a long request at the input's start; else null. */
  #partial: RequestScanner | null = null;
  #stream: StreamedRequest | null = null;
  /** The client sends no more. Requests that are held are taken all the same before the session closes. */
  #ended = false;

  /** Bytes that wait to become requests. */
  get inputBytes(): number {
    return this.#input === null ? 0 : this.#input.length;
  }

  /** The bytes themselves; null while there are none. For looking only. */
  get waitingInput(): RequestInput | null {
    return this.#input;
  }

  /** Its client sends no more: it is gone, or only wants the answers. */
  get ended(): boolean {
    return this.#ended;
  }

  // ── events of the connection ────────────────────────────────────────────────────────────────────────

  onOpen(): void {}

  onData(bytes: Bytes, received: number, end: number): void {
    if ((this.holds & CLOSING) !== 0) return;
    this.info.lastTick = this.plane.tick;
    let start = received;
    if (this.#stream !== null) {
      start = this.#stream.take(bytes, start, end);
      if (start >= end) return;
    }
    if (this.#input !== null || this.holds !== 0) {
      start = this.#prepend(bytes, start, end);
      if (start < 0) return;
    }
    const at = this.#run(bytes, start, end);
    if (at < end) this.#keepInput(bytes, at, end);
  }

  onEnd(): void {
    // Half a request will never be whole now; one on its way to a server takes its connection with it. What
    // waits for a lost group has not been sent, and a socket that was closed looks like one that only says
    // that it was all: a client that gave up must not have its write done seconds later, beside its retry.
    if (this.#stream !== null || this.blocked !== null || this.held) {
      this.abort("closed in the middle of a request");
      return;
    }
    this.#ended = true;
    if (this.holds === 0) this.resume();
  }

  onDrain(): void {
    this.release(HOLD_OUTPUT);
  }

  onClose(reason: string): void {
    this.#gone(reason);
  }

  // ── requests ────────────────────────────────────────────────────────────────────────────────────────

  /** Takes whole requests from `bytes[from, end)` while it may; where it stopped comes back. */
  #run(bytes: Bytes, from: number, end: number): number {
    let at = from;
    while (at < end && this.holds === 0) {
      const partial = this.#partial;
      const scanner = partial ?? this.plane.scanner;
      const next = partial === null ? scanner.scan(bytes, at, end) : scanner.resume(bytes, at, end);
      if (next < 0) {
        const after = this.#odd(scanner, bytes, at, end, next);
        if (after < 0) return at;
        at = after;
        continue;
      }
      if (scanner.argc > 0 && !this.#dispatch(scanner, bytes, at, next)) return at;
      if (partial !== null) this.#dropPartial();
      at = next;
    }
    return at;
  }

  /** False: not now; the request is to be looked at again when the hold that was set is over. */
  #dispatch(request: RequestScanner, bytes: Bytes, start: number, end: number): boolean {
    const { argStart, argEnd } = request;
    const command = lookupCommand(bytes, argStart[0], argEnd[0]);
    if (this.plain && command !== null && command.firstKey !== 0 && command.route === ROUTE_KEY) {
      const { arity, firstKey } = command;
      if (arity >= 0 ? request.argc === arity : request.argc >= -arity) {
        const slot = slotOf(bytes, argStart[firstKey], argEnd[firstKey], this.plane.slots.mask);
        const upstream = this.lane.bySlot[slot];
        if (upstream.open) {
          this.plane.count(command, this);
          return upstream.send(this, bytes, start, end) || this.plane.uncount(command);
        }
      }
    }
    request.bytes = bytes;
    return this.plane.dispatcher.dispatch(this, command, request, start, end);
  }

  /** What `scan` says when it is not a whole request. The position to go on at, or -1 to wait. */
  #odd(scanner: RequestScanner, bytes: Bytes, at: number, end: number, result: number): number {
    if (result === INLINE) return this.#inline(scanner, bytes, at, end);
    if (result === INCOMPLETE) this.#incomplete(scanner, bytes, at, end);
    else this.protocolError(scanner.error);
    return -1;
  }

  #inline(scanner: RequestScanner, bytes: Bytes, at: number, end: number): number {
    const { inline } = this.plane;
    const next = inline.read(bytes, at, end);
    if (next === INCOMPLETE) {
      this.#waitFor(end - at + 1);
      return -1;
    }
    if (next < 0) {
      this.protocolError(inline.error);
      return -1;
    }
    if (inline.length === 0) return next;
    scanner.scan(inline.bytes, 0, inline.length);
    return this.#dispatch(scanner, inline.bytes, 0, inline.length) ? next : -1;
  }

  #incomplete(scanner: RequestScanner, bytes: Bytes, at: number, end: number): void {
    this.#waitFor(scanner.bytesNeeded);
    const refusal = this.authenticated ? "" : unauthenticatedError(scanner);
    if (refusal !== "") {
      this.protocolError(refusal);
      return;
    }
    // A session that is special in any way (MULTI, tracking …) has its requests whole.
    if (this.plain && canStream(scanner, bytes)) {
      // It goes a way of its own, so all that was sent before must have been answered first.
      if (this.inFlight > 0) {
        this.hold(HOLD_DRAIN);
        this.#dropPartial();
        return;
      }
      this.#stream = StreamedRequest.start(this.plane, this, scanner, bytes, at, end);
      this.#dropPartial();
    } else if (this.#partial === null && scanner.bytesNeeded > HEADROOM_BYTES) {
      // From here on the scanner belongs to this request, which is scanned once however it arrives.
      this.#partial = this.plane.lendScanner(scanner);
      this.#partial.rebase(at, this.#input?.block?.bytes === bytes ? at : 0);
    }
  }

  #waitFor(needed: number): void {
    this.#input ??= new RequestInput();
    this.#input.needed = needed;
  }

  #dropPartial(): void {
    if (this.#partial === null) return;
    this.plane.returnScanner(this.#partial);
    this.#partial = null;
  }

  /** The streamed request is over: what comes next is scanned again. */
  streamEnded(): void {
    this.#stream = null;
  }

  // ── bytes that wait ─────────────────────────────────────────────────────────────────────────────────

  /** Puts what waits in front of what has come. The new start; or -1 when it was taken care of here. */
  #prepend(bytes: Bytes, start: number, end: number): number {
    const input = (this.#input ??= new RequestInput());
    const small = this.#partial === null && input.length <= HEADROOM_BYTES && this.holds === 0;
    const enough = input.length + end - start >= input.needed;
    if (small && enough) return input.block === null ? start : this.#prependSmall(input, bytes, start);
    this.#append(input, bytes, start, end);
    if (this.holds === 0 && input.length >= input.needed) this.#resumeInput();
    return -1;
  }

  #prependSmall(input: RequestInput, bytes: Bytes, start: number): number {
    this.#input = null;
    return input.prependTo(this.plane.env.net.blocks, bytes, start);
  }

  #keepInput(bytes: Bytes, at: number, end: number): void {
    if (this.closed || (this.holds & CLOSING) !== 0 || this.#stream !== null) this.#dropInput();
    else this.#append((this.#input ??= new RequestInput()), bytes, at, end);
  }

  #append(input: RequestInput, bytes: Bytes, start: number, end: number): void {
    if (input.length + end - start > this.plane.config.client_request_bytes_max) {
      this.protocolError("too big request");
      return;
    }
    input.append(this.plane.env.net.blocks, bytes, start, end, this.#partial);
  }

  /** Takes the requests that wait in the input. */
  #resumeInput(): void {
    const input = this.#input;
    const block = input === null ? null : input.block;
    if (input === null || block === null) return;
    // A request that ends where the input ends may take the block into an output queue instead of copying it.
    this.plane.offerAdoptable(block, input.end);
    const at = this.#run(block.bytes, input.start, input.end);
    if (this.plane.adopted(block)) {
      input.forget();
      this.#input = null;
    } else if (this.#input === input && input.block === block) {
      if (this.#stream !== null || at >= input.end) this.#dropInput();
      else input.start = at;
    }
  }

  protected override resume(): void {
    this.endStraying();
    this.#resumeInput();
    if (this.holds !== 0 || this.closed) return;
    if (this.#ended) this.closeWhenAnswered();
    else this.connection.setReading(true);
  }

  #dropInput(): void {
    this.#input?.drop(this.plane.env.net.blocks);
    this.#input = null;
  }

  // ── the end ─────────────────────────────────────────────────────────────────────────────────────────

  /** Bytes that are no request: says so, and closes when the replies before it are out. */
  protocolError(text: string): void {
    this.plane.counters.protocolErrors++;
    this.answer(errorReply(`ERR Protocol error: ${text}`));
    this.closeWhenAnswered();
  }

  /** Takes no more requests; closes when all replies owed are written. */
  closeWhenAnswered(): void {
    if (this.closed) return;
    this.hold(CLOSING);
    this.#dropInput();
    this.#dropPartial();
    if (this.head === null) this.finish();
  }

  override abort(reason: string): void {
    if (this.closed) return;
    this.connection.close();
    this.#gone(reason);
  }

  protected override finish(): void {
    if (this.closed) return;
    this.connection.closeAfterFlush(CLOSE_LINGER_MS);
    this.#gone("closed");
  }

  #gone(reason: string): void {
    if (this.closed) return;
    this.closed = true;
    this.#stream?.clientGone();
    this.#dropInput();
    this.#dropPartial();
    this.forgetReplies();
    this.endSpecial();
    this.plane.sessionClosed(this, reason);
  }
}
