/** The rules of leadership that the kinds of store share which keep the lease themselves. Pure. */
import { ShoalError } from "../base/shoal-error.ts";
import type { ClusterTopology } from "../topology/cluster-topology.ts";
import type { Candidate, Leadership } from "./store.ts";

/** The longest lease that may be asked for. */
export const LEASE_MS_MAX = 60_000;

/** Leadership as it is stored. */
export interface LeaseRecord extends Leadership {
  /** Wall clock; the lease is over from this moment on. 0: given up. */
  readonly deadlineMs: number;
}

/**
 * What is stored after `candidate` has asked, or null when the present lease stands. The wall clock may jump:
 * then a lease ends too early or too late, which costs a change of leader or time, never a wrong write (the
 * term sees to that).
 */
export function decideAcquire(
  current: LeaseRecord | null,
  candidate: Candidate,
  leaseMs: number,
  replaceOwn: boolean,
  nowMs: number,
): LeaseRecord | null {
  // A deadline further away than any lease was set before the clock went back: it would lock everybody out.
  const running =
    current !== null && nowMs < current.deadlineMs && current.deadlineMs <= nowMs + LEASE_MS_MAX;
  const own = current !== null && current.id === candidate.id;
  const same = own && current.incarnation === candidate.incarnation;
  if (running && !same && !(own && replaceOwn)) return null;
  return { ...candidate, term: (current?.term ?? 0) + 1, deadlineMs: nowMs + leaseMs };
}

/** @throws ShoalError STALE */
export function checkTerm(action: string, term: number, current: Leadership | null): void {
  if (current !== null && current.term === term) return;
  const inForce =
    current === null ? "no term is in force" : `term ${current.term} of ${current.id} is in force`;
  throw new ShoalError("STALE", `Cannot ${action} under term ${term}: ${inForce}`);
}

/** @throws ShoalError STALE */
export function checkVersion(next: ClusterTopology, storedVersion: number): void {
  if (next.version === storedVersion + 1) return;
  const message = `Cannot write topology version ${next.version}: version ${storedVersion} is stored`;
  throw new ShoalError("STALE", message);
}
