/** The store in memory: for tests and simulations. Nothing survives the process. */
import type { Candidate, LeaseGrant, Leadership, Member, Store, StoreEnv } from "../store.ts";
import { MemoryDatabase } from "./database.ts";
import * as leadership from "./leadership.ts";
import * as members from "./members.ts";
import * as record from "./topology-record.ts";

/**
 * Opens a store on `database`; hand the same one in again to stand for a second process, or for a restart.
 */
export async function openMemoryStore(env: StoreEnv, database = new MemoryDatabase()): Promise<Store> {
  const now = (): number => env.clock.wallMs();
  const mine = new Set<() => void>();
  return {
    description: "memory",
    acquireLeadership: async (
      candidate: Candidate,
      leaseMs: number,
      replaceOwn: boolean,
    ): Promise<LeaseGrant> => leadership.acquire(database, candidate, leaseMs, replaceOwn, now()),
    renewLeadership: async (term, leaseMs) => leadership.renew(database, term, leaseMs, now()),
    releaseLeadership: async (term) => leadership.release(database, term),
    readLeadership: async (): Promise<Leadership | null> => leadership.readLeader(database),
    readTopology: async () => record.readTopology(database),
    writeTopology: async (term, topology) => record.writeTopology(database, term, topology),
    watchTopology: (onChange) => {
      const notify = (): void => {
        if (mine.has(notify)) onChange();
      };
      mine.add(notify);
      database.watchers.add(notify);
      return () => {
        mine.delete(notify);
        database.watchers.delete(notify);
      };
    },
    announceMember: async (member: Member, leaseMs) => members.announce(database, member, leaseMs, now()),
    removeMember: async (id) => members.removeMember(database, id),
    readMembers: async () => members.readMembers(database, now()),
    close: async () => {
      for (const notify of mine) database.watchers.delete(notify);
      mine.clear();
    },
  };
}
