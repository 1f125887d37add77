/**
 * Where the sessions wait that have a request for one group.
 *
 *   there ──lost, or held by the map──▶ lost since t ──time over──▶ refusing
 *     ▲                                     │                          │
 *     └──────────── found ──────────────────┴──────────────────────────┘
 */
import { HOLD_WAIT } from "../downstream/reply-queue.ts";
import type { Session } from "../downstream/session.ts";

export class HoldRoom {
  #primary: string;
  #heldByMap: boolean;
  /** By the clock that never goes back; null while the group is there, as far as is known. */
  #lostSinceMs: number | null = null;
  #sessions = new Set<Session>();

  constructor(primary: string, heldByMap: boolean) {
    this.#primary = primary;
    this.#heldByMap = heldByMap;
  }

  get size(): number {
    return this.#sessions.size;
  }

  /** What the map says of the group now; whether that is news. */
  serves(primary: string, heldByMap: boolean): boolean {
    const news = primary !== this.#primary || heldByMap !== this.#heldByMap;
    this.#primary = primary;
    this.#heldByMap = heldByMap;
    return news;
  }

  /** The group can't be reached now: whether one more may wait for it. */
  holds(nowMs: number, timeoutMs: number): boolean {
    this.#lostSinceMs ??= nowMs;
    return !this.expired(nowMs, timeoutMs);
  }

  expired(nowMs: number, timeoutMs: number): boolean {
    return this.#lostSinceMs !== null && nowMs - this.#lostSinceMs >= timeoutMs;
  }

  /** The group is there, or another server is to be tried for it. */
  found(): void {
    this.#lostSinceMs = null;
  }

  add(session: Session): void {
    this.#sessions.add(session);
    // A first connection takes a moment and is no loss: who has said that it was all gets its reply.
    session.held = this.#lostSinceMs !== null;
    session.hold(HOLD_WAIT);
    // Read on, although requests wait: the client's end must be seen, or its write would be done long after.
    session.connection.setReading(true);
  }

  /** All look again. */
  release(): void {
    if (this.#sessions.size === 0) return;
    const sessions = this.#sessions;
    this.#sessions = new Set();
    for (const session of sessions) {
      session.held = false;
      session.release(HOLD_WAIT);
    }
  }

  /**
   * Bytes that wait with the sessions; forgets those whose client is gone. One that has sent more than
   * `readBytesMax` is no longer read.
   */
  inputBytes(readBytesMax: number): number {
    let bytes = 0;
    for (const session of this.#sessions) {
      if (session.closed) {
        this.#sessions.delete(session);
        continue;
      }
      if (session.inputBytes > readBytesMax) session.connection.setReading(false);
      bytes += session.inputBytes;
    }
    return bytes;
  }
}
