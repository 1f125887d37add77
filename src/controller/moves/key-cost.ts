/**
 * How long it takes to MIGRATE a key, estimated from its size and type; source and target serve nobody
 * meanwhile.
 *
 * Measured between two servers on one machine (docs/moving-slots.md): 10 to 15 µs for a key of 200 bytes in a
 * batch; per byte of MEMORY USAGE 3 to 5 ns for strings, lists, sorted sets and streams, which are copied,
 * and 13 to 16 ns for hashes and sets, whose elements are hashed anew one by one. `#scale` follows what
 * calls really take on the machines at hand.
 */

const KEY_US = 12;
const BYTE_NS: Readonly<Record<string, number>> = { string: 3.5, list: 4.5, stream: 5, zset: 5.5 };
/** Hashes, sets, and whatever a module brings. */
const BYTE_NS_MAX = 16;
/** Share of the newest measurement. */
const SMOOTHING = 0.2;
const SCALE_MIN = 0.25;
const SCALE_MAX = 20;

/** Bytes from which on it is worth asking for a key's type. */
export const BIG_KEY_BYTES = 256 << 10;

export class KeyCost {
  #scale = 1;

  /** Milliseconds for a key of `bytes`; without a type, that of the costliest is taken. */
  ofKey(bytes: number, type?: string): number {
    const byteNs = type === undefined ? BYTE_NS_MAX : (BYTE_NS[type] ?? BYTE_NS_MAX);
    return (this.#scale * (KEY_US * 1000 + byteNs * bytes)) / 1e6;
  }

  /** A call that was estimated at `estimatedMs` took `tookMs`. */
  learn(estimatedMs: number, tookMs: number): void {
    if (estimatedMs <= 0) return;
    const scale = (this.#scale * tookMs) / estimatedMs;
    const bounded = Math.min(SCALE_MAX, Math.max(SCALE_MIN, scale));
    this.#scale += SMOOTHING * (bounded - this.#scale);
  }
}
