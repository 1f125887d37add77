/** What must hold, for Shoal. */
import type { Measured } from "./measure.ts";

export interface Floor {
  readonly what: string;
  readonly value: number;
  readonly bound: string;
  readonly pass: boolean;
}

const THROUGHPUT_SHARE_MIN = 0.6;
const P99_FACTOR_MAX = 5;
const KEYS_PER_SECOND_MIN = 30_000;

export function checkFloors({ before, during, after, quiet }: Measured): Floor[] {
  const throughput = during.requestsPerSecond / before.requestsPerSecond;
  const p99 = during.p99Ms / before.p99Ms;
  const failures =
    during.errors + during.misses + after.errors + after.misses + before.errors + before.misses;
  return [
    floor(
      "throughput during / before",
      throughput,
      `≥ ${THROUGHPUT_SHARE_MIN}`,
      throughput >= THROUGHPUT_SHARE_MIN,
    ),
    floor("p99 during / before", p99, `≤ ${P99_FACTOR_MAX}`, p99 <= P99_FACTOR_MAX),
    floor(
      "keys/s without load",
      quiet.keysPerSecond,
      `≥ ${KEYS_PER_SECOND_MIN}`,
      quiet.keysPerSecond >= KEYS_PER_SECOND_MIN,
    ),
    floor("errors and misses", failures, "0", failures === 0),
  ];
}

function floor(what: string, value: number, bound: string, pass: boolean): Floor {
  return { what, value, bound, pass };
}
