/**
 * A request with a very large value, passed on to the server while it arrives, over a connection of its own.
 *
 *   client ─▶ take ─▶ private upstream ─▶ server          memory: what waits in one output queue, bounded
 *      ▲                    │ queue long: stop reading
 *      └────────────────────┘ drained: read again
 *
 * Why not the shared connection: half a request on it would block everybody until this client has sent the
 * rest. Why it is right: all earlier requests of the session have been answered before it starts, and the
 * session takes no further request until this one is answered, so nothing can overtake it. A client that
 * goes away in the middle takes the private connection with it; the server drops half a request.
 *
 * Only for commands whose one key comes before the value. All others are collected whole
 * (`client_request_bytes_max`).
 */
import { type Bytes, ownCopy, readLatin1 } from "../../base/bytes.ts";
import { ROUTE_KEY } from "../../commands/command.ts";
import { lookupCommand } from "../../commands/command-lookup.ts";
import type { Timer } from "../../env/env.ts";
import { HEADROOM_BYTES } from "../../env/net.ts";
import { BULK_BYTES_MAX, type RequestScanner } from "../../resp/request-scanner.ts";
import { errorReply } from "../../resp/reply-writer.ts";
import { slotOf } from "../../routing/slot-of.ts";
import type { DataPlane } from "../data-plane.ts";
import type { Request } from "../request.ts";
import { SLOT_LOCKED } from "../slots/slot-states.ts";
import type { Upstream } from "../upstream/upstream.ts";
import { HOLD_WAIT } from "./reply-queue.ts";
import type { Session } from "./session.ts";

/** An argument that is longer than this is worth a connection of its own. */
const STREAM_BYTES_MIN = 1 << 20;
/** Bytes that wait for the server before the client is no longer read. */
const WAITING_BYTES_MAX = 4 << 20;
/** "$", up to nine digits, CR, LF. */
const HEADER_BYTES_MAX = 12;

/** How long a client may go on sending a value whose slot is locked; a lock may last twice as long. */
const GRACE_MS = 500;
const CUT = "its slot is about to move and the value was not all here; it has not run, try again";

const CR = 13;
const DOLLAR = 36;

/** Whether an incomplete request of a plain session may go this way: a large argument, its key known. */
export function canStream(scanner: RequestScanner, bytes: Uint8Array): boolean {
  if (scanner.pendingBulkBytes < STREAM_BYTES_MIN || scanner.argsSeen === 0) return false;
  const command = lookupCommand(bytes, scanner.argStart[0], scanner.argEnd[0]);
  return (
    command !== null &&
    command.route === ROUTE_KEY &&
    command.firstKey > 0 &&
    command.firstKey < scanner.argsSeen
  );
}

export class StreamedRequest {
  readonly #plane: DataPlane;
  readonly #session: Session;
  /** Null when there is no way to the server: the rest of the request is read and dropped. */
  #upstream: Upstream | null = null;
  #request: Request | null = null;
  #argumentsLeft: number;
  /** Bytes of the present argument that are still to come, its line end included. */
  #bodyLeft: number;
  #carry: Uint8Array | null = null;
  #slot = -1;
  #graceTimer: Timer | null = null;
  #reading = true;

  private constructor(plane: DataPlane, session: Session, argumentsLeft: number, bodyLeft: number) {
    this.#plane = plane;
    this.#session = session;
    this.#argumentsLeft = argumentsLeft;
    this.#bodyLeft = bodyLeft;
  }

  /**
   * Starts with what is there, `bytes[start, end)`. Null: not now, its slot is locked or its key on the way;
   * the session is held, and looks at it again.
   */
  static start(
    plane: DataPlane,
    session: Session,
    scanner: RequestScanner,
    bytes: Bytes,
    start: number,
    end: number,
  ): StreamedRequest | null {
    const command = lookupCommand(bytes, scanner.argStart[0], scanner.argEnd[0]);
    const key = command === null ? 0 : command.firstKey;
    const [keyStart, keyEnd] = [scanner.argStart[key], scanner.argEnd[key]];
    const slot = slotOf(bytes, keyStart, keyEnd, plane.slots.mask);
    const admitted = plane.moving.active
      ? plane.moving.admitKey(session, slot, readLatin1(bytes, keyStart, keyEnd))
      : true;
    if (admitted === false) return null;
    const home = session.lane.homes[slot];
    if (admitted === true && plane.holding.enter(session, home)) return null;
    const way = admitted === true ? plane.privates.takeReady(session, home) : admitted;
    if (way === null) {
      // Half a request, and nothing of it sent: whoever goes away now is not waited for.
      session.held = true;
      return null;
    }
    const index = scanner.argsSeen;
    const bodyLeft = scanner.argStart[index] + scanner.pendingBulkBytes + 2 - end;
    const stream = new StreamedRequest(plane, session, scanner.argc - index - 1, bodyLeft);
    if (command !== null) plane.count(command, session);
    if (typeof way === "string") session.answer(errorReply(way));
    else stream.#open(slot, way);
    stream.#pass(bytes, start, end);
    return stream;
  }

  #open(slot: number, upstream: Upstream): void {
    this.#slot = slot;
    this.#plane.moving.streams.add(this);
    this.#upstream = upstream;
    this.#request = upstream.beginStream(this.#session);
  }

  /** Takes what has arrived. Where the request ended; `end` when it goes on. */
  take(bytes: Bytes, received: number, end: number): number {
    let at = received;
    if (this.#carry !== null) {
      at -= this.#carry.length;
      bytes.set(this.#carry, at);
      this.#carry = null;
    }
    for (;;) {
      const size = Math.min(this.#bodyLeft, end - at);
      this.#pass(bytes, at, at + size);
      this.#bodyLeft -= size;
      at += size;
      if (this.#bodyLeft > 0) return end;
      if (this.#argumentsLeft === 0) {
        this.#finish();
        return at;
      }
      const body = this.#header(bytes, at, end);
      if (body < 0) return end;
      this.#pass(bytes, at, body);
      at = body;
    }
  }

  /** Reads "$n": where the body begins, and how long it is; -1 when it is not there or wrong. */
  #header(bytes: Bytes, start: number, end: number): number {
    let at = start + 1;
    let length = 0;
    while (at < end && bytes[at] >= 48 && bytes[at] <= 57) length = length * 10 + bytes[at++] - 48;
    const valid = bytes[start] === DOLLAR && at - start < HEADER_BYTES_MAX && length <= BULK_BYTES_MAX;
    if (start < end && (!valid || (at < end && bytes[at] !== CR))) {
      this.clientGone();
      this.#session.streamEnded();
      this.#session.protocolError("invalid bulk length");
      return -1;
    }
    if (at + 2 > end) {
      this.#carry = ownCopy(bytes, start, Math.min(end, start + HEADROOM_BYTES));
      return -1;
    }
    this.#argumentsLeft--;
    this.#bodyLeft = length + 2;
    return at + 2;
  }

  #pass(bytes: Bytes, start: number, end: number): void {
    const upstream = this.#upstream;
    if (upstream === null || start >= end) return;
    if (!upstream.owes(this.#request)) {
      this.clientGone();
      return;
    }
    upstream.output.append(bytes, start, end);
    upstream.flushSoon();
    if (upstream.output.length < WAITING_BYTES_MAX || !this.#reading) return;
    this.#reading = false;
    this.#session.connection.setReading(false);
    upstream.whenDrained(() => this.#resume());
  }

  #resume(): void {
    this.#reading = true;
    if (!this.#session.closed && this.#session.holds === 0) this.#session.connection.setReading(true);
  }

  /**
   * A map has come into force. One that has locked the slot is acknowledged when this request has ended, and
   * its client may take all day to send the rest: it is given a moment. Half a request has not run.
   */
  mapChanged(): void {
    const { states } = this.#plane.slots;
    if (this.#graceTimer !== null || states.of(this.#slot) !== SLOT_LOCKED) return;
    this.#graceTimer = this.#plane.env.timers.after(GRACE_MS, () => {
      this.#graceTimer = null;
      if (this.#plane.slots.states.of(this.#slot) === SLOT_LOCKED) this.#leave(CUT);
    });
  }

  /** All of it has been passed on: the session goes on when the reply has come. */
  #finish(): void {
    const upstream = this.#upstream;
    this.#session.streamEnded();
    this.#ended();
    if (upstream === null) return;
    upstream.endStream();
    this.#session.hold(HOLD_WAIT);
    upstream.whenIdle(() => {
      this.#plane.privates.give(upstream);
      this.#session.release(HOLD_WAIT);
    });
  }

  /** The client is gone, or has sent what is no request: so goes the connection. */
  clientGone(): void {
    this.#leave("");
  }

  #leave(why: string): void {
    const upstream = this.#upstream;
    this.#upstream = null;
    this.#ended();
    if (upstream !== null) this.#plane.privates.discard(upstream, why);
  }

  #ended(): void {
    this.#plane.moving.streams.delete(this);
    this.#graceTimer?.cancel();
  }
}
