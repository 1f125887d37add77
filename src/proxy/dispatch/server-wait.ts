/**
 * One wait at one server on a client's behalf: the connection that waits, and the ways to end it.
 *
 *   send ─▶ a connection of its own ─▶ the server waits … ─▶ the reply
 *   release ─▶ CLIENT UNBLOCK over another connection, until the wait is over
 *
 * Once is not enough: the two requests go over two connections, and the server may see the second before the
 * first; nor is the connection's id known before its handshake is through.
 */
import { decodeReply } from "../../resp/reply-decoder.ts";
import type { DataPlane } from "../data-plane.ts";
import type { ReplyOwner, Request } from "../request.ts";
import type { Upstream } from "../upstream/upstream.ts";
import { requestOf } from "./ask-groups.ts";

/**
 * A server that was told to let go, and has not yet, is told again after this time, which doubles up to the
 * bound.
 */
const RELEASE_MS_MIN = 5;
const RELEASE_MS_MAX = 500;

export class ServerWait {
  readonly shared: Upstream;
  readonly #plane: DataPlane;
  readonly #upstream: Upstream;
  readonly #request: Request;
  #over = false;

  private constructor(plane: DataPlane, shared: Upstream, upstream: Upstream, request: Request) {
    this.#plane = plane;
    this.shared = shared;
    this.#upstream = upstream;
    this.#request = request;
  }

  /** Over `upstream`, a connection of its own to where `shared` leads. Bytes follow by `output`. */
  static begin(plane: DataPlane, shared: Upstream, upstream: Upstream, owner: ReplyOwner): ServerWait {
    upstream.patient = true;
    owner.session?.tracking?.announce(upstream);
    return new ServerWait(plane, shared, upstream, upstream.begin(owner, 0));
  }

  /** The connection, for the request's bytes. */
  get upstream(): Upstream {
    return this.#upstream;
  }

  /** The reply is here, or will never be. */
  end(): void {
    this.#over = true;
    this.#upstream.patient = false;
    this.#upstream.whenIdle(() => this.#plane.privates.give(this.#upstream));
  }

  /** Tells the server once to let go; how many waits it has ended is told. */
  unblock(error: boolean, told: (count: number) => void): void {
    const id = this.#upstream.clientId;
    // Once it is answered the server may wait there for replicas (acks/), which is not to be ended.
    const waits = id !== "" && this.#upstream.owes(this.#request);
    const over = waits ? this.#way() : null;
    if (over === null) {
      told(0);
      return;
    }
    over.begin(
      {
        onReply: (_request, bytes, start, end) => told(Number(decodeReply(bytes, start, end)) || 0),
        onFailure: () => told(0),
      },
      0,
    );
    over.output.appendLatin1(requestOf("CLIENT", "UNBLOCK", id, error ? "ERROR" : "TIMEOUT"));
    over.flushSoon();
    if (over !== this.shared) over.whenIdle(() => this.#plane.privates.give(over));
  }

  /** Tells it again and again, until the wait is over. */
  release(pauseMs = RELEASE_MS_MIN): void {
    if (this.#over) return;
    this.unblock(false, (count) => {
      if (count > 0 || this.#over) return;
      const next = Math.min(pauseMs * 2, RELEASE_MS_MAX);
      this.#plane.env.timers.after(pauseMs, () => this.release(next));
    });
  }

  /** Nobody wants the reply any more, and nothing is lost with it. */
  cut(): void {
    this.#upstream.close();
  }

  /** The shared connection; one of its own once the map leads elsewhere. */
  #way(): Upstream | null {
    if (this.shared.prepare()) return this.shared;
    return this.shared.state === "closed" ? this.#plane.privates.open(this.shared.target) : null;
  }
}
