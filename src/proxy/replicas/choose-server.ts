/**
 * Which server of a group a session may read from now. Pure.
 *
 *   candidates ─▶ reachable? ─▶ fresh enough? ─▶ not behind what the session has seen? ─▶ the one it reads
 *                                                                                        already, else the
 *                                                                                        best
 *
 * Never backwards (loss mode L13): a replica applies the primary's writes in their order, so a session that
 * stays with one replica, and with one life of it (offset-sampler.ts), sees time go forward only. To another
 * server it may go when that one is fresh as of the moment of the session's last reply from elsewhere: then
 * it has all that the session can have seen. The session's own writes are part of that: they were answered
 * by the primary.
 */
import type { ReadFrom } from "./read-policy.ts";

/** One replica, or the primary, as the choice sees it. */
export interface Candidate {
  readonly address: string;
  readonly isPrimary: boolean;
  /** It answers, and follows (or is) the primary. */
  readonly usable: boolean;
  /** See freshness.ts; a primary is always fresh. */
  readonly asOfMs: number;
  /** It stands in the proxy's zone. */
  readonly sameZone: boolean;
  /** Time to it and back, in ms. */
  readonly roundTripMs: number;
}

/** What a session may see in a group. */
export interface Bounds {
  readonly nowMs: number;
  /** 0: none. */
  readonly maxStalenessMs: number;
  /** Nobody may read from a replica that is not fresh as of this: slots came to the group then. */
  readonly groupFloorMs: number;
  /** When the session was last answered by another server than `current`; NEVER if it was not. */
  readonly seenMs: number;
  /**
   * The address that it last read from, if that is still the same process; "" for none. While there is one,
   * no other replica is fit: the session has to leave first, and `seenMs` is the moment at which it did.
   */
  readonly current: string;
  /** Spreads sessions over replicas that are equally good. */
  readonly salt: number;
}

/** Why a candidate can't be read now; null when it can. */
export function unfitFor(candidate: Candidate, bounds: Bounds): "down" | "stale" | "behind" | null {
  if (!candidate.usable) return "down";
  if (candidate.isPrimary) return null;
  const { nowMs, maxStalenessMs, groupFloorMs, seenMs, current } = bounds;
  const { asOfMs, address } = candidate;
  if (maxStalenessMs > 0 && nowMs - asOfMs > maxStalenessMs) return "stale";
  if (asOfMs < groupFloorMs) return "behind";
  if (address === current) return null;
  // What was read at `current` is in no `seenMs` yet: see ReadPosition.leave.
  return current === "" && asOfMs >= seenMs ? null : "behind";
}

/** The server to read from; null when none is fit. */
export function chooseServer(
  from: ReadFrom,
  candidates: readonly Candidate[],
  bounds: Bounds,
): Candidate | null {
  const fit = candidates.filter(
    (candidate) => allowed(from, candidate) && unfitFor(candidate, bounds) === null,
  );
  const current = fit.find(({ address }) => address === bounds.current);
  // Another one that is a little better is no reason to leave: it would have to catch up first.
  if (current !== undefined) return current;
  if (fit.length === 0) return null;
  if (from !== "nearest") return fit[bounds.salt % fit.length];
  const near = fit.filter(({ sameZone }) => sameZone);
  return (near.length > 0 ? near : fit).toSorted((a, b) => a.roundTripMs - b.roundTripMs)[0];
}

function allowed(from: ReadFrom, { isPrimary }: Candidate): boolean {
  return from === "nearest" || !isPrimary;
}
