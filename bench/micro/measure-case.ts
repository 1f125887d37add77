/**
 * Times one small operation: nanoseconds per call, over several rounds.
 *
 *   run(n) does the operation n times and returns something that depends on every one of them, so that the
 *   compiler can't leave any out; the results end in `sink`, which is printed.
 */
import { type Spread, spreadOf } from "../macro/statistics.ts";

export interface MicroCase {
  readonly name: string;
  /** How many operations one iteration of `run` is. */
  readonly operations: number;
  /** Does `iterations` iterations. */
  readonly run: (iterations: number) => number;
}

export interface MicroResult {
  readonly name: string;
  /** Nanoseconds per operation. */
  readonly ns: Spread;
  readonly rounds: number;
}

const WARM_UP_MS = 200;
const ROUND_MS = 100;

/** All results so far, mixed into one number. */
export const sink = { value: 0 };

/** Measures all cases round by round, so that a disturbance does not hit all rounds of one. */
export function measureCases(cases: readonly MicroCase[], rounds: number): MicroResult[] {
  const iterations = cases.map(calibrate);
  const samples = cases.map((): number[] => []);
  for (let round = 0; round < rounds; round++) {
    cases.forEach((each, index) => {
      const ms = time(each, iterations[index]);
      samples[index].push((ms * 1e6) / (iterations[index] * each.operations));
    });
  }
  return cases.map(({ name }, index) => ({ name, ns: spreadOf(samples[index]), rounds }));
}

/** Warms the case up; how many iterations take about ROUND_MS comes back. */
function calibrate(each: MicroCase): number {
  let iterations = 100;
  let ms = time(each, iterations);
  for (let spent = ms; spent < WARM_UP_MS; spent += ms) {
    iterations = Math.ceil(iterations * Math.min(10, Math.max(1, ROUND_MS / Math.max(ms, 0.01))));
    ms = time(each, iterations);
  }
  return Math.max(1, Math.ceil((iterations * ROUND_MS) / ms));
}

function time(each: MicroCase, iterations: number): number {
  const start = performance.now();
  sink.value = (sink.value + each.run(iterations)) % 1e9;
  return performance.now() - start;
}
