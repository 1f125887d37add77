/** The moves as the API shows them: a row for each job and target. Pure. */
import type { Move, Moves } from "../../contract/move-routes.ts";
import type { MoveJob, MovesRecord } from "../../topology/move-record.ts";
import { spanSlots } from "../../topology/move-record.ts";
import type { MoveRun } from "./move-run.ts";

/** `runs`: by job, those that are under way here. */
export function showMoves(record: MovesRecord, runs: ReadonlyMap<string, MoveRun>): Moves {
  return {
    moves: record.jobs.flatMap((job) => rowsOf(job, record, runs.get(job.id))),
    paused: record.paused,
    limits: { keysPerSecond: record.keysPerSecond, bytesPerSecond: record.bytesPerSecond },
    refused: [...record.refused],
  };
}

function rowsOf(job: MoveJob, record: MovesRecord, run: MoveRun | undefined): Move[] {
  const targets = [...new Set(job.spans.map((span) => span.target))];
  return targets.map((target) => {
    const spans = job.spans.filter((span) => span.target === target);
    const moved = run?.progress.of(target) ?? { keys: 0, bytes: 0 };
    // Keys are counted per source; a target's part is taken to be that of its slots.
    const share = spanSlots(spans) / spanSlots(job.spans);
    const keysTotal = Math.max(moved.keys, Math.round((job.keys ?? 0) * share));
    const keysPerSecond = Math.round((run?.progress.keysPerSecond ?? 0) * share);
    const left = keysTotal - moved.keys;
    return {
      id: `${job.id}.${target}`,
      source: job.source,
      target,
      ranges: spans.map(({ from, to }) => ({ from, to })),
      phase: stepOf(job, run),
      back: job.back === true,
      keysTotal,
      keysMoved: moved.keys,
      bytesMoved: moved.bytes,
      keysPerSecond,
      secondsLeft: keysPerSecond > 0 ? Math.ceil(left / keysPerSecond) : null,
      refused: record.refused.filter((key) => key.source === job.source && key.target === target),
      problem: run?.problem ?? null,
    };
  });
}

function stepOf(job: MoveJob, run: MoveRun | undefined): Move["phase"] {
  if (job.phase === "locking") return "locking";
  if (job.phase === "moving") return run?.step === "finishing" ? "finishing" : "moving";
  return run?.step === "strays" ? "strays" : "planned";
}
