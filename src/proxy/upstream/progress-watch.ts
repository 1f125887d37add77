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
  #vouchedMs = 0;
  /** For how long nothing has arrived, in ms. */
  quietMs = 0;

  /**
   * For how long nothing has moved although replies are owed, and nobody has vouched for the server, in ms.
   */
  get stalledMs(): number {
    return this.#stalledMs - this.#vouchedMs;
  }

  /** The server has answered over another connection. */
  vouch(): void {
    this.#vouchedMs = this.#stalledMs;
  }

  /** Once per `elapsedMs`: for how long nothing has moved, in ms. `waitingBytes`: still to be sent. */
  check(elapsedMs: number, pending: number, waitingBytes: number): number {
    const moved = this.progress !== this.#seen || waitingBytes < this.#waitingSeen;
    this.quietMs = this.progress === this.#seen ? this.quietMs + elapsedMs : 0;
    this.#seen = this.progress;
    this.#waitingSeen = waitingBytes;
    this.#stalledMs = moved || pending === 0 ? 0 : this.#stalledMs + elapsedMs;
    if (this.#stalledMs === 0) this.#vouchedMs = 0;
    return this.#stalledMs;
  }

  /** A new connection: its time begins now. */
  restart(): void {
    this.#stalledMs = 0;
    this.#vouchedMs = 0;
  }
}
