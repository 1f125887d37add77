/**
 * Calls per slot, for who wants to deal slots out by load.
 *
 *   every SAMPLE_PERIOD_MS ─▶ the gate stands for every slot (lane.ts) ─▶ the next requests take the way over
 *                             the dispatcher, which counts them ─▶ the loop turn ends: as before
 *
 * What was counted stands for all requests since the last sample. Counting each request on the hot path was
 * measured at 6 ns of the 280 that one costs in a deep pipeline (`Float64Array`; integer arrays are slower):
 * little, but for a number that is read once in a while. This way the hot path does not change at all, and
 * one loop turn in some hundreds is a little slower.
 */
import type { Timers } from "../../env/env.ts";

/** Between two samples. */
const SAMPLE_PERIOD_MS = 100;

export interface SampledTables {
  /** Leads all requests over the dispatcher, or no longer. */
  divert(diverted: boolean): void;
  /** All requests so far. */
  requests(): number;
  /** Calls `run` when the loop turn ends. */
  atTurnEnd(run: () => void): void;
}

export class SlotSampler {
  /** A sample is being taken: the dispatcher calls `count`. */
  open = false;
  readonly #tables: SampledTables;
  /** Slots of the sample. */
  #sample: number[] = [];
  /** Requests up to the last sample. */
  #requests = 0;
  readonly #calls = new Map<number, number>();

  constructor(timers: Timers, tables: SampledTables) {
    this.#tables = tables;
    timers.every(SAMPLE_PERIOD_MS, () => this.#begin());
  }

  /** A request for a key of `slot`. Only while `open`. */
  count(slot: number): void {
    if (this.#sample.length === 0) this.#tables.atTurnEnd(() => this.#end());
    this.#sample.push(slot);
  }

  /** What was counted since the last call: slot, calls, slot, calls … Whole numbers. */
  take(): number[] {
    const flat: number[] = [];
    for (const [slot, calls] of this.#calls) {
      const whole = Math.floor(calls);
      if (whole === 0) continue;
      flat.push(slot, whole);
      // The fraction waits for more.
      if (calls > whole) this.#calls.set(slot, calls - whole);
      else this.#calls.delete(slot);
    }
    return flat;
  }

  #begin(): void {
    // One that nobody came into stays open: then there is nothing to slow down either.
    if (this.open) return;
    this.open = true;
    this.#tables.divert(true);
  }

  #end(): void {
    this.open = false;
    this.#tables.divert(false);
    const requests = this.#tables.requests();
    const share = (requests - this.#requests) / this.#sample.length;
    this.#requests = requests;
    for (const slot of this.#sample) this.#calls.set(slot, (this.#calls.get(slot) ?? 0) + share);
    this.#sample = [];
  }
}
