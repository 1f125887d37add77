/** Leadership in memory. */
import { type LeaseRecord, checkTerm, decideAcquire } from "../lease-decision.ts";
import type { Candidate, LeaseGrant, Leadership } from "../store.ts";
import type { MemoryDatabase } from "./database.ts";

export function acquire(
  database: MemoryDatabase,
  candidate: Candidate,
  leaseMs: number,
  replaceOwn: boolean,
  nowMs: number,
): LeaseGrant {
  const next = decideAcquire(database.lease, candidate, leaseMs, replaceOwn, nowMs);
  if (next !== null) database.lease = next;
  return { granted: next !== null, leader: toLeadership(database.lease as LeaseRecord) };
}

export function renew(database: MemoryDatabase, term: number, leaseMs: number, nowMs: number): void {
  checkTerm("renew leadership", term, database.lease);
  database.lease = { ...(database.lease as LeaseRecord), deadlineMs: nowMs + leaseMs };
}

export function release(database: MemoryDatabase, term: number): void {
  if (database.lease?.term === term) database.lease = { ...database.lease, deadlineMs: 0 };
}

export function readLeader(database: MemoryDatabase): Leadership | null {
  return database.lease === null ? null : toLeadership(database.lease);
}

function toLeadership({ id, incarnation, addr, term }: LeaseRecord): Leadership {
  return { id, incarnation, addr, term };
}
