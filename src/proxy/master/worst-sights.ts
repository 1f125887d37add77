/**
 * What a proxy sees of the servers, made of what its workers see: the worst of it.
 *
 * One worker that gets no answer is reason enough for a report: its clients are without that server, whatever
 * the others say. Whether it is reason enough for a switch is for the controllers to decide.
 */
import type { ServerSight } from "../upstream/server-sights.ts";

/** What one worker has told, and when. */
export interface WorkerSights {
  readonly sights: readonly ServerSight[];
  /** By the clock that never goes back. */
  readonly toldMs: number;
}

const BADNESS = { unknown: 0, up: 1, down: 2 } as const;

/** One sight per server. Of equal ones the one that has lasted longest; durations are those of `nowMs`. */
export function worstSights(workers: readonly WorkerSights[], nowMs: number): ServerSight[] {
  const worst = new Map<string, ServerSight>();
  for (const { sights, toldMs } of workers) {
    for (const sight of sights) {
      const aged = { ...sight, sinceMs: Math.round(sight.sinceMs + nowMs - toldMs) };
      const known = worst.get(sight.addr);
      if (known === undefined || isWorse(aged, known)) worst.set(sight.addr, aged);
    }
  }
  return [...worst.values()];
}

function isWorse(a: ServerSight, b: ServerSight): boolean {
  if (a.state === b.state) return a.sinceMs > b.sinceMs;
  return BADNESS[a.state] > BADNESS[b.state];
}
