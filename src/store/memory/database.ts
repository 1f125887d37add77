/** What the memory store keeps. Several stores opened on one of these are several processes on one store. */
import type { LeaseRecord } from "../lease-decision.ts";
import type { Member } from "../store.ts";

export interface MemberRecord extends Member {
  readonly deadlineMs: number;
}

export class MemoryDatabase {
  lease: LeaseRecord | null = null;
  /** As text, so that nobody holds a reference to what is "stored". */
  topologyText: string | null = null;
  topologyVersion = 0;
  readonly members = new Map<string, MemberRecord>();
  readonly watchers = new Set<() => void>();
}
