/** The controllers that are alive, in memory. */
import type { Member } from "../store.ts";
import type { MemoryDatabase } from "./database.ts";

export function announce(database: MemoryDatabase, member: Member, leaseMs: number, nowMs: number): void {
  database.members.set(member.id, { ...member, deadlineMs: nowMs + leaseMs });
}

export function removeMember(database: MemoryDatabase, id: string): void {
  database.members.delete(id);
}

export function readMembers(database: MemoryDatabase, nowMs: number): Member[] {
  const alive = [...database.members.values()].filter((member) => member.deadlineMs > nowMs);
  return alive.map(({ id, addr, pid }) => ({ id, addr, pid })).sort((a, b) => (a.id < b.id ? -1 : 1));
}
