/**
 * Tells a hung server from a busy one: it owes replies, and for a while not one byte has come from it or
 * gone to it. No clock on the hot path: there it is only counted that something moved; a timer looks at the
 * counts.
 */
export class ProgressWatch {
  /** Grows with whatever arrives. */
  progress = 0;
  #seen = 0;
  #waitingSeen = 0;
  #stalledMs = 0;

  /** Once per `elapsedMs`: for how long nothing has moved, in ms. `waitingBytes`: still to be sent. */
  check(elapsedMs: number, pending: number, waitingBytes: number): number {
    const moved = this.progress !== this.#seen || waitingBytes < this.#waitingSeen;
    this.#seen = this.progress;
    this.#waitingSeen = waitingBytes;
    this.#stalledMs = moved || pending === 0 ? 0 : this.#stalledMs + elapsedMs;
    return this.#stalledMs;
  }

  /** A new connection: its time begins now. */
  restart(): void {
    this.#stalledMs = 0;
  }
}
