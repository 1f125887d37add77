/**
 * A connection to a server whose data a session may have to trust: it knows since when it stands, and tells
 * when it does not stand any more.
 *
 * A process that was started again is another server at the same address: it may have read an old file, and
 * what was known of the one before says nothing about it. Nobody tells us of that but the connections, which
 * end with the process.
 */
import type { DataPlane } from "../data-plane.ts";
import type { UpstreamTarget } from "../upstream/handshake.ts";
import { Upstream } from "../upstream/upstream.ts";

export class ReplicaLink extends Upstream {
  /** Since when the server has been there at the other end; Infinity while it is not known to be. */
  readyMs = Number.POSITIVE_INFINITY;
  readonly #onLost: () => void;

  constructor(plane: DataPlane, target: UpstreamTarget, onLost: () => void) {
    super(plane, target, true);
    this.#onLost = onLost;
  }

  override handshakeDone(): void {
    // Before sessions that wait for this are let go.
    this.readyMs = this.plane.env.clock.nowMs();
    super.handshakeDone();
  }

  protected override dropped(reason: string): void {
    super.dropped(reason);
    this.readyMs = Number.POSITIVE_INFINITY;
    this.#onLost();
  }
}
