/**
 * What the topology remembers of moves: everything that a leader needs to go on where another one stopped.
 *
 *   planned ──locked──▶ locking ──begun──▶ moving ──finished──▶ (gone; the slots are the target's)
 *      ▲                   │                  │ cancelled
 *      └────unlocked───────┘                  ▼            one job for each group that keys have gone to
 *                                          turning ──locked──▶ locking ──begun──▶ moving ──▶ (gone)
 *                                             ▲                   │
 *                                             └─────unlocked──────┘
 *
 * A job takes slots from one source; all of them are locked, swept and finished together, because one SCAN of
 * the source serves them all. What proxies do follows from the ranges of the map alone, and the ranges follow
 * from the phases ({@link rangesOf}): the two cannot disagree. Rejected: a job per slot (a pass of SCAN per
 * slot is quadratic), and phases for what can simply be done again (looking for strays, measuring): each
 * would be one more version of the map for every proxy.
 */
import type { ClusterTopology } from "./cluster-topology.ts";
import type { SlotRange } from "./cluster-map.ts";
import { cutRanges, joinRanges } from "./slot-ranges.ts";

/** Slots `from` to `to`, both included, go to group `target`. */
export interface MoveSpan {
  readonly from: number;
  readonly to: number;
  readonly target: string;
}

/**
 * planned: nothing has been touched; locking: proxies hold the slots' requests; moving: the target serves,
 * keys follow; turning: as moving in the other direction, and shall be locked to go back.
 */
export type MovePhase = "planned" | "locking" | "moving" | "turning";

export interface MoveJob {
  /** "m3.g1": the plan and the group that the slots leave. */
  readonly id: string;
  readonly source: string;
  readonly spans: readonly MoveSpan[];
  readonly phase: MovePhase;
  /** It takes back what a cancelled job has moved. */
  readonly back?: boolean;
  /** Also keys that block their servers for long are moved. */
  readonly force?: boolean;
  /** Found on the source right before the lock. */
  readonly keys?: number;
  readonly bytes?: number;
  /** Wall clock, milliseconds since 1970 UTC. */
  readonly createdMs: number;
}

/** A key that would block its servers for too long; its slot was left out of the move. */
export interface RefusedKey {
  readonly slot: number;
  readonly source: string;
  readonly target: string;
  /** Shown, not used: what is no printable ASCII is escaped, and a long one is cut. */
  readonly key: string;
  readonly bytes: number;
  /** How long source and target would serve nobody, as estimated. */
  readonly blocksMs: number;
}

export interface MovesRecord {
  /** In the order in which they were planned. */
  readonly jobs: readonly MoveJob[];
  readonly paused: boolean;
  /** Over all sources together; null: as fast as the source's latency allows. */
  readonly keysPerSecond: number | null;
  readonly bytesPerSecond: number | null;
  /** Number of the next plan. */
  readonly nextPlan: number;
  /** The newest last, at most {@link REFUSED_KEPT_MAX}. */
  readonly refused: readonly RefusedKey[];
}

/** Jobs at a time; one more plan is refused. */
export const MOVE_JOBS_MAX = 1024;
export const REFUSED_KEPT_MAX = 100;

const NO_MOVES: MovesRecord = {
  jobs: [],
  paused: false,
  keysPerSecond: null,
  bytesPerSecond: null,
  nextPlan: 1,
  refused: [],
};

export function movesOf(topology: ClusterTopology): MovesRecord {
  return topology.moves ?? NO_MOVES;
}

/** The job that has `slot`, in whatever phase. */
export function jobOfSlot(record: MovesRecord, slot: number): MoveJob | undefined {
  return record.jobs.find((job) => job.spans.some((span) => span.from <= slot && slot <= span.to));
}

export function spanSlots(spans: readonly MoveSpan[]): number {
  return spans.reduce((sum, span) => sum + span.to - span.from + 1, 0);
}

/** What the map says about the slots of a job in its phase. */
function rangeOf(job: MoveJob, span: MoveSpan): SlotRange {
  const { from, to, target } = span;
  switch (job.phase) {
    case "planned":
      return { from, to, group: job.source };
    case "locking":
      return { from, to, group: job.source, move: { to: target, phase: "locked" } };
    case "moving":
      return { from, to, group: job.source, move: { to: target, phase: "moving" } };
    case "turning":
      // Still as the cancelled job has left it: the keys come from where they shall go back to.
      return { from, to, group: target, move: { to: job.source, phase: "moving" } };
  }
}

/** `ranges` with the slots of `job` as its phase wants them. */
export function rangesOf(ranges: readonly SlotRange[], job: MoveJob): SlotRange[] {
  let result = ranges;
  for (const span of job.spans) result = replaceRange(result, rangeOf(job, span));
  return joinRanges(result);
}

/** `ranges` with the slots of `spans` belonging to the spans' targets. */
export function finishedRanges(ranges: readonly SlotRange[], spans: readonly MoveSpan[]): SlotRange[] {
  let result = ranges;
  for (const { from, to, target } of spans) result = replaceRange(result, { from, to, group: target });
  return joinRanges(result);
}

function replaceRange(ranges: readonly SlotRange[], range: SlotRange): SlotRange[] {
  const last = ranges[ranges.length - 1].to;
  return [
    ...cutRanges(ranges, { from: 0, to: range.from - 1 }),
    range,
    ...cutRanges(ranges, { from: range.to + 1, to: last }),
  ];
}
