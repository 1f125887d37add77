/**
 * Changes by the moving of slots: `(topology, event) → change`, pure. The phases are drawn in
 * move-record.ts, what is done in each of them in controller/moves.
 *
 * An event that comes too late (its job has been cancelled, or is in another phase) changes nothing: whoever
 * carries a job out looks at the stored phase again before each step.
 */
import { ShoalError } from "../base/shoal-error.ts";
import type { ClusterTopology, TopologyChange } from "./cluster-topology.ts";
import {
  MOVE_JOBS_MAX,
  type MoveJob,
  type MovePhase,
  type MoveSpan,
  type MovesRecord,
  REFUSED_KEPT_MAX,
  type RefusedKey,
  finishedRanges,
  movesOf,
  rangesOf,
} from "./move-record.ts";
import { cutRanges } from "./slot-ranges.ts";

/** Slots `from` to `to`, both included, shall belong to group `target`. */
export interface PlannedMove {
  readonly from: number;
  readonly to: number;
  readonly target: string;
}

export type MoveEvent =
  | {
      readonly type: "move-planned";
      readonly moves: readonly PlannedMove[];
      /** Also keys that block their servers for long. */
      readonly force?: boolean;
      /** Wall clock. */
      readonly atMs?: number;
    }
  /** `keys`, `bytes`: what was found on the source. */
  | { readonly type: "move-locked"; readonly job: string; readonly keys: number; readonly bytes: number }
  | { readonly type: "move-unlocked"; readonly job: string }
  | { readonly type: "move-begun"; readonly job: string }
  | { readonly type: "move-finished"; readonly job: string }
  /** A plan ("m3") or a job of it ("m3.g1"); null: all. */
  | { readonly type: "move-cancelled"; readonly id: string | null }
  /** The slots of these keys leave the job before it begins. */
  | { readonly type: "slots-refused"; readonly job: string; readonly refused: readonly RefusedKey[] }
  | { readonly type: "moves-paused"; readonly paused: boolean }
  | {
      readonly type: "moves-limited";
      readonly keysPerSecond: number | null;
      readonly bytesPerSecond: number | null;
    };

/** Null when the event is none of these, or changes nothing. @throws ShoalError CONFLICT, NOT_FOUND */
export function changeByMoveEvent(topology: ClusterTopology, event: MoveEvent): TopologyChange | null {
  const record = movesOf(topology);
  switch (event.type) {
    case "move-planned":
      return plan(topology, record, event);
    case "move-locked":
      return toPhase(topology, event.job, ["planned", "turning"], "locking", event);
    case "move-unlocked":
      return unlock(topology, record, event.job);
    case "move-begun":
      return toPhase(topology, event.job, ["locking"], "moving");
    case "move-finished":
      return finish(topology, record, event.job);
    case "move-cancelled":
      return cancel(topology, record, event.id);
    case "slots-refused":
      return refuse(record, event.job, event.refused);
    case "moves-paused":
      return record.paused === event.paused ? null : { moves: { ...record, paused: event.paused } };
    case "moves-limited": {
      const { keysPerSecond, bytesPerSecond } = event;
      return { moves: { ...record, keysPerSecond, bytesPerSecond } };
    }
    default:
      return null;
  }
}

/** The id that the next plan gets: "m4". */
export function nextPlanId(topology: ClusterTopology): string {
  return `m${movesOf(topology).nextPlan}`;
}

function plan(
  topology: ClusterTopology,
  record: MovesRecord,
  event: Extract<MoveEvent, { type: "move-planned" }>,
): TopologyChange | null {
  const bySource = new Map<string, MoveSpan[]>();
  // Slots that a job has already are on their way to the same target, as checkMove has seen.
  const taken = new Set(record.jobs.flatMap((job) => job.spans.flatMap(slotsOf)));
  for (const move of event.moves) {
    checkMove(topology, record, move);
    for (const range of cutRanges(topology.ranges, move)) {
      if (range.group === move.target) continue;
      for (const span of withoutSlots({ from: range.from, to: range.to, target: move.target }, taken)) {
        bySource.set(range.group, [...(bySource.get(range.group) ?? []), span]);
      }
    }
    for (const slot of slotsOf(move)) taken.add(slot);
  }
  if (bySource.size === 0) return null;
  const common = {
    phase: "planned" as const,
    createdMs: event.atMs ?? 0,
    ...(event.force && { force: true }),
  };
  const planId = nextPlanId(topology);
  const jobs: MoveJob[] = [...record.jobs];
  for (const [source, spans] of bySource) jobs.push({ id: `${planId}.${source}`, source, spans, ...common });
  if (jobs.length > MOVE_JOBS_MAX) {
    throw new ShoalError("LIMIT", `Cannot plan moves: ${MOVE_JOBS_MAX} jobs are under way already`);
  }
  const planned = [...bySource.values()].flat();
  const refused = record.refused.filter(
    ({ slot }) => !planned.some(({ from, to }) => from <= slot && slot <= to),
  );
  return { moves: { ...record, jobs, refused, nextPlan: record.nextPlan + 1 } };
}

function checkMove(topology: ClusterTopology, record: MovesRecord, move: PlannedMove): void {
  const slots = move.from === move.to ? `slot ${move.from}` : `slots ${move.from}-${move.to}`;
  const fail = (code: "INVALID_ARGUMENT" | "NOT_FOUND" | "CONFLICT", why: string): never => {
    throw new ShoalError(code, `Cannot move ${slots} to group ${move.target}: ${why}`);
  };
  if (!(move.from >= 0 && move.to >= move.from && move.to < topology.slots)) {
    fail("INVALID_ARGUMENT", `the slots are 0 to ${topology.slots - 1}`);
  }
  if (!topology.groups.some((group) => group.id === move.target)) fail("NOT_FOUND", "there is no such group");
  for (const job of record.jobs) {
    const other = job.spans.find((span) => span.from <= move.to && span.to >= move.from);
    if (other === undefined || (other.target === move.target && job.back !== true)) continue;
    const why = `slots ${other.from}-${other.to} are being moved to group ${other.target} (${job.id})`;
    fail("CONFLICT", `${why}; wait for that, or cancel it with: shoal moves cancel`);
  }
}

/** Null when the job is gone or in another phase than one of `from`. */
function toPhase(
  topology: ClusterTopology,
  id: string,
  from: readonly MovePhase[],
  phase: MovePhase,
  found?: { readonly keys: number; readonly bytes: number },
): TopologyChange | null {
  const job = movesOf(topology).jobs.find((candidate) => candidate.id === id);
  if (job === undefined || !from.includes(job.phase)) return null;
  const counts = found === undefined ? {} : { keys: found.keys, bytes: found.bytes };
  return replaceJob(topology, job, [{ ...job, ...counts, phase }]);
}

function unlock(topology: ClusterTopology, record: MovesRecord, id: string): TopologyChange | null {
  const job = record.jobs.find((candidate) => candidate.id === id);
  return toPhase(topology, id, ["locking"], job?.back === true ? "turning" : "planned");
}

/** `next` in the place of `job`, and the ranges as they want it. */
function replaceJob(topology: ClusterTopology, job: MoveJob, next: readonly MoveJob[]): TopologyChange {
  const record = movesOf(topology);
  let ranges = topology.ranges;
  for (const each of next) ranges = rangesOf(ranges, each);
  const jobs = record.jobs.flatMap((candidate) => (candidate === job ? next : [candidate]));
  return { ranges, moves: { ...record, jobs } };
}

function finish(topology: ClusterTopology, record: MovesRecord, id: string): TopologyChange | null {
  const job = record.jobs.find((candidate) => candidate.id === id);
  if (job === undefined || job.phase !== "moving") return null;
  const jobs = record.jobs.filter((candidate) => candidate !== job);
  return { ranges: finishedRanges(topology.ranges, job.spans), moves: { ...record, jobs } };
}

/** What has not begun is dropped; what has begun goes back, each group's keys by a job of their own. */
function cancel(topology: ClusterTopology, record: MovesRecord, id: string | null): TopologyChange | null {
  const chosen = record.jobs.filter((job) => id === null || job.id === id || job.id.startsWith(`${id}.`));
  if (id !== null && chosen.length === 0) {
    throw new ShoalError("NOT_FOUND", `Cannot cancel ${id}: no such move is under way`);
  }
  // Whoever takes everything back has seen what was refused.
  const forget = id === null && record.refused.length > 0;
  let next: TopologyChange = forget ? { moves: { ...record, refused: [] } } : {};
  let changed = forget;
  for (const job of chosen) {
    if (job.back === true) continue;
    changed = true;
    next = { ...next, ...cancelJob({ ...topology, ...next }, job) };
  }
  return changed ? next : null;
}

function cancelJob(topology: ClusterTopology, job: MoveJob): TopologyChange {
  if (job.phase !== "moving") {
    const unlocked = rangesOf(topology.ranges, { ...job, phase: "planned" });
    return { ...replaceJob(topology, job, []), ranges: unlocked };
  }
  const targets = [...new Set(job.spans.map((span) => span.target))];
  const back = targets.map((target): MoveJob => {
    const spans = job.spans.filter((span) => span.target === target);
    return {
      id: `${job.id}.${target}`,
      source: target,
      spans: spans.map(({ from, to }) => ({ from, to, target: job.source })),
      phase: "turning",
      back: true,
      createdMs: job.createdMs,
    };
  });
  return replaceJob(topology, job, back);
}

function refuse(record: MovesRecord, id: string, refused: readonly RefusedKey[]): TopologyChange | null {
  const job = record.jobs.find((candidate) => candidate.id === id);
  // A slot that is locked or moving can't be left out any more: its keys may be on both sides.
  if (job === undefined || job.phase !== "planned" || refused.length === 0) return null;
  const out = new Set(refused.map(({ slot }) => slot));
  const spans = job.spans.flatMap((span) => withoutSlots(span, out));
  const rest = spans.length === 0 ? [] : [{ ...job, spans }];
  const jobs = record.jobs.flatMap((candidate) => (candidate === job ? rest : [candidate]));
  const kept = [...record.refused.filter(({ slot }) => !out.has(slot)), ...refused].slice(-REFUSED_KEPT_MAX);
  return { moves: { ...record, jobs, refused: kept } };
}

function slotsOf(span: { readonly from: number; readonly to: number }): number[] {
  return Array.from({ length: span.to - span.from + 1 }, (_, index) => span.from + index);
}

/** The parts of `span` that are left when the slots of `out` are taken from it. */
function withoutSlots(span: MoveSpan, out: ReadonlySet<number>): MoveSpan[] {
  const parts: MoveSpan[] = [];
  let from = span.from;
  for (let slot = span.from; slot <= span.to + 1; slot++) {
    if (slot <= span.to && !out.has(slot)) continue;
    if (slot > from) parts.push({ from, to: slot - 1, target: span.target });
    from = slot + 1;
  }
  return parts;
}
