/**
 * Watches a client that has been sent a popped element, until it is known to live.
 *
 *   reply sent ─┬─ the client says something more ──▶ it lives: no more to watch
 *               ├─ it ends, and nothing follows ────▶ it has read the reply, then closed
 *               └─ its side resets the connection ──▶ it was gone, the reply unread: put back (L15)
 *
 * A client can go away in the moment in which its element is on the way to it; then nobody has the element.
 * The kernel on its side tells: a socket that is closed before the bytes come, or with bytes unread, answers
 * with a reset. The price is that a client which reads, says nothing, and resets the connection on purpose
 * within the bound gives its element back although it has it.
 *
 * It stands in the session's place as the connection's handler, so that sessions without such a reply pay
 * nothing.
 */
import type { ConnectionHandler } from "../../env/net.ts";
import type { Bytes } from "../../base/bytes.ts";
import type { DataPlane } from "../data-plane.ts";
import type { Session } from "../downstream/session.ts";

/** How long after the reply a reset counts, in seconds of the worker's tick. */
const RECEIPT_S = 1;
/** How long a reset may take to follow the client's end. */
const RESET_AFTER_END_MS = 50;
/** What a transport says of a reset: before the end, after it. */
const RESETS = new Set(["connection reset by peer", "broken pipe"]);

export class PopReceipt implements ConnectionHandler {
  readonly #plane: DataPlane;
  readonly #session: Session;
  readonly #giveBack: () => void;
  readonly #sentTick: number;
  #ended = false;

  private constructor(plane: DataPlane, session: Session, giveBack: () => void) {
    this.#plane = plane;
    this.#session = session;
    this.#giveBack = giveBack;
    this.#sentTick = plane.tick;
  }

  /** Watches `session`, whose reply is about to leave; `giveBack` is called when it was not read. */
  static watch(plane: DataPlane, session: Session, giveBack: () => void): void {
    session.connection.handler = new PopReceipt(plane, session, giveBack);
  }

  onOpen(): void {}

  onData(bytes: Bytes, start: number, end: number): void {
    this.#done();
    this.#session.onData(bytes, start, end);
  }

  onEnd(): void {
    this.#ended = true;
    this.#plane.env.timers.after(RESET_AFTER_END_MS, () => {
      if (!this.#ended || this.#session.closed) return;
      this.#done();
      this.#session.onEnd();
    });
  }

  onDrain(): void {
    this.#session.onDrain();
  }

  onClose(reason: string): void {
    this.#done();
    const soon = this.#plane.tick - this.#sentTick <= RECEIPT_S;
    if (soon && RESETS.has(reason)) this.#giveBack();
    this.#session.onClose(reason);
  }

  #done(): void {
    this.#ended = false;
    this.#session.connection.handler = this.#session;
  }
}
