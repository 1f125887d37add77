/**
 * How old a replica's data may be, from samples of replication offsets. Pure.
 *
 *   at t1 the primary's offset is 500, at t2 it is 900          a replica that has applied 700 has everything
 *   ──────┬───────────────────────┬─────────────▶ time          that was acknowledged before t1: it is fresh
 *        500        700 ↑        900                            as of t1
 *
 * The moment of a sample is the one before it was asked for: whatever any client had been told by then is in
 * the offset that came back. So "fresh as of t" means that no write which was acknowledged before t is
 * missing. Rejected: the replicas' own lag in seconds (master_last_io_seconds_ago): it tells when they last
 * heard something, not how far they are.
 */

/** Samples that are kept; at one each 50 ms they reach three seconds back. */
const SAMPLES_KEPT = 64;

/** Older than anything. */
export const NEVER = Number.NEGATIVE_INFINITY;

interface PrimarySample {
  readonly atMs: number;
  readonly offset: number;
}

/** The line of one primary's offsets. */
export class Freshness {
  readonly #samples: PrimarySample[] = [];
  readonly #replicas = new Map<string, number>();

  /** The primary has answered a question that was asked at `atMs` with `offset`. */
  takePrimary(atMs: number, offset: number): void {
    const last = this.#samples.at(-1);
    // A smaller offset is another history: what was known of the old one says nothing about it.
    if (last !== undefined && offset < last.offset) this.clear();
    this.#samples.push({ atMs, offset });
    if (this.#samples.length > SAMPLES_KEPT) this.#samples.shift();
  }

  /** A replica that follows has applied everything up to `offset`. How fresh it is comes back. */
  takeReplica(address: string, offset: number): number {
    let asOfMs = NEVER;
    for (const sample of this.#samples) if (sample.offset <= offset) asOfMs = sample.atMs;
    // It has been that fresh before; the samples which showed it may be gone.
    asOfMs = Math.max(asOfMs, this.#replicas.get(address) ?? NEVER);
    this.#replicas.set(address, asOfMs);
    return asOfMs;
  }

  /** A replica that does not follow: what it will hold is not known. */
  forget(address: string): void {
    this.#replicas.delete(address);
  }

  /**
   * Nothing that was acknowledged before this moment is missing at `address`; NEVER when nothing is known.
   */
  asOfMs(address: string): number {
    return this.#replicas.get(address) ?? NEVER;
  }

  clear(): void {
    this.#samples.length = 0;
    this.#replicas.clear();
  }
}
