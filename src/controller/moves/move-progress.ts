/** How far one run of a job has come, for people. In memory: a new leader counts what it moves itself. */
import type { Clock } from "../../env/env.ts";

/** What has gone to one target. */
interface Counts {
  keys: number;
  bytes: number;
}

/** The rate is that of the last few seconds. */
const RATE_WINDOW_MS = 3000;

export class MoveProgress {
  /** Keys that stood on both sides; the source's were deleted. */
  duplicates = 0;
  readonly startedMs: number;
  readonly #clock: Clock;
  readonly #byTarget = new Map<string, Counts>();
  /** Keys in all at some moments, the oldest first. */
  #marks: Array<{ readonly atMs: number; readonly keys: number }> = [];
  #keys = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.startedMs = clock.nowMs();
  }

  moved(target: string, keys: number, bytes: number, duplicates: number): void {
    const counts = this.#byTarget.get(target) ?? { keys: 0, bytes: 0 };
    counts.keys += keys;
    counts.bytes += bytes;
    this.#byTarget.set(target, counts);
    this.duplicates += duplicates;
    this.#keys += keys;
    const atMs = this.#clock.nowMs();
    const last = this.#marks.at(-1);
    if (last !== undefined && atMs - last.atMs < RATE_WINDOW_MS / 10) return;
    this.#marks.push({ atMs, keys: this.#keys });
    this.#marks = this.#marks.filter((mark) => atMs - mark.atMs <= RATE_WINDOW_MS);
  }

  of(target: string): Counts {
    return this.#byTarget.get(target) ?? { keys: 0, bytes: 0 };
  }

  get total(): Counts {
    const all = [...this.#byTarget.values()];
    return {
      keys: this.#keys,
      bytes: all.reduce((sum, { bytes }) => sum + bytes, 0),
    };
  }

  get keysPerSecond(): number {
    const first = this.#marks[0];
    if (first === undefined) return 0;
    const ms = this.#clock.nowMs() - first.atMs;
    return ms < 1 || ms > 2 * RATE_WINDOW_MS ? 0 : Math.round(((this.#keys - first.keys) * 1000) / ms);
  }
}
