/** The controllers that are alive, in SQLite: a row each, with a deadline. */
import type { Member } from "../store.ts";
import type { SqliteDatabase } from "./database.ts";

export function announce(database: SqliteDatabase, member: Member, leaseMs: number, nowMs: number): void {
  database.write(
    "INSERT OR REPLACE INTO members (id, addr, pid, deadline_ms) VALUES (?, ?, ?, ?)",
    member.id,
    member.addr,
    member.pid,
    Math.floor(nowMs + leaseMs),
  );
}

export function removeMember(database: SqliteDatabase, id: string): void {
  database.write("DELETE FROM members WHERE id = ?", id);
}

export function readMembers(database: SqliteDatabase, nowMs: number): Member[] {
  return database.readAll<Member>(
    "SELECT id, addr, pid FROM members WHERE deadline_ms > ? ORDER BY id",
    Math.floor(nowMs),
  );
}
