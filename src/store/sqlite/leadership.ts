/** Leadership in SQLite: a row with a deadline. */
import { type LeaseRecord, checkTerm, decideAcquire } from "../lease-decision.ts";
import type { Candidate, LeaseGrant, Leadership } from "../store.ts";
import type { SqliteDatabase } from "./database.ts";

interface LeadershipRow {
  id: string;
  incarnation: string;
  addr: string;
  term: number;
  deadline_ms: number;
}

export function acquire(
  database: SqliteDatabase,
  candidate: Candidate,
  leaseMs: number,
  replaceOwn: boolean,
  nowMs: number,
): LeaseGrant {
  return database.transaction("acquire leadership in", () => {
    const current = readLease(database);
    const next = decideAcquire(current, candidate, leaseMs, replaceOwn, nowMs);
    if (next === null) return { granted: false, leader: toLeadership(current as LeaseRecord) };
    database.write(
      `INSERT OR REPLACE INTO leadership (only, id, incarnation, addr, term, deadline_ms)
       VALUES (1, ?, ?, ?, ?, ?)`,
      next.id,
      next.incarnation,
      next.addr,
      next.term,
      Math.floor(next.deadlineMs),
    );
    return { granted: true, leader: toLeadership(next) };
  });
}

export function renew(database: SqliteDatabase, term: number, leaseMs: number, nowMs: number): void {
  database.transaction("renew leadership in", () => {
    checkTerm("renew leadership", term, readLease(database));
    database.write("UPDATE leadership SET deadline_ms = ?", Math.floor(nowMs + leaseMs));
  });
}

export function release(database: SqliteDatabase, term: number): void {
  database.transaction("release leadership in", () => {
    database.write("UPDATE leadership SET deadline_ms = 0 WHERE term = ?", term);
  });
}

export function readLeader(database: SqliteDatabase): Leadership | null {
  const lease = readLease(database);
  return lease === null ? null : toLeadership(lease);
}

/** Also for the check of a term within another transaction. */
export function readLease(database: SqliteDatabase): LeaseRecord | null {
  const row = database.read<LeadershipRow>("SELECT id, incarnation, addr, term, deadline_ms FROM leadership");
  if (row === null) return null;
  const { id, incarnation, addr, term } = row;
  return { id, incarnation, addr, term, deadlineMs: row.deadline_ms };
}

function toLeadership({ id, incarnation, addr, term }: LeaseRecord): Leadership {
  return { id, incarnation, addr, term };
}
