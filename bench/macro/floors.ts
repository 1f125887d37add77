/** What the numbers have to reach, in one table, and whether they do. */
import type { IdleMemory } from "./idle-connections.ts";
import type { Row } from "./paired-rounds.ts";
import type { Spread } from "./statistics.ts";
import type { TargetName } from "./targets.ts";

/** CPU per request, as a share of nutcracker's, by requests that a client sends at once. */
const CPU_RATIO_MAX: Readonly<Record<number, number>> = { 1: 0.85, 16: 0.5, 64: 0.3 };
const RSS_RATIO_MAX = 1;
const IDLE_BYTES_MAX = 3 * 1024;
/** With one client as with many. */
const MGET_TIME_RATIO_MAX = 1.5;

/** `value` is a median and must not be above `max`; `spread` is what it varied between. */
export interface Floor {
  readonly what: string;
  readonly value: number;
  readonly max: number;
  readonly spread: Spread | null;
  readonly pass: boolean;
}

/** Resident memory in bytes, after the comparison's load. */
export interface LoadedMemory {
  readonly shoalBytes: number;
  /** Null without nutcracker. */
  readonly nutcrackerBytes: number | null;
}

export interface Measured {
  readonly comparison: readonly Row[];
  readonly memory: LoadedMemory;
  readonly idle: IdleMemory;
  readonly mget: readonly Row[];
}

/** Only those for which there is something to compare with. */
export function checkFloors({ comparison, memory, idle, mget }: Measured): Floor[] {
  const floors: Floor[] = [];
  for (const { point, ratios } of comparison) {
    const ratio = ratios.nutcracker?.proxyCpu;
    const max = CPU_RATIO_MAX[point.pipeline];
    if (ratio == null || max === undefined) continue;
    const { operation, clients, pipeline } = point;
    const what = `CPU per ${operation} / nutcracker's, ${clients} clients × ${pipeline}`;
    floors.push(floorOf(what, ratio.median, max, ratio));
  }
  if (memory.nutcrackerBytes !== null) {
    const ratio = memory.shoalBytes / memory.nutcrackerBytes;
    floors.push(floorOf("memory of the worker after that load / nutcracker's", ratio, RSS_RATIO_MAX, null));
  }
  const idleWhat = `bytes per connection, ${idle.connections} idle ones`;
  floors.push(floorOf(idleWhat, idle.bytesPerConnection, IDLE_BYTES_MAX, null));
  for (const row of mget) {
    const time = timeRatio(row, "bare");
    const { clients } = row.point;
    const what = `time per MGET of 100 keys over 3 groups / bare server's, ${clients} clients`;
    if (time !== null) floors.push(floorOf(what, time.median, MGET_TIME_RATIO_MAX, time));
  }
  return floors;
}

/** Time against another target's: in a closed loop it is the rates' ratio turned over. */
export function timeRatio(row: Row, name: TargetName): Spread | null {
  const rate = row.ratios[name]?.requestsPerSecond;
  return rate === undefined ? null : { median: 1 / rate.median, min: 1 / rate.max, max: 1 / rate.min };
}

function floorOf(what: string, value: number, max: number, spread: Spread | null): Floor {
  return { what, value, max, spread, pass: value <= max };
}
