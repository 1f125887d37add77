/** The store in a SQLite file: the embedded default, where one machine is in play. */
import type { Candidate, LeaseGrant, Leadership, Member, Store, StoreEnv } from "../store.ts";
import { SqliteDatabase } from "./database.ts";
import * as leadership from "./leadership.ts";
import * as members from "./members.ts";
import * as record from "./topology-record.ts";

/** How often the file is looked at for writes of other processes. */
const WATCH_PERIOD_MS = 250;

/** @throws ShoalError STORE when the file is not ours, of another version, damaged or not writable */
export async function openSqliteStore(env: StoreEnv, path: string, bytesMax?: number): Promise<Store> {
  const database = new SqliteDatabase(path, bytesMax);
  const now = (): number => env.clock.wallMs();
  const watch = new TopologyWatch(env, database);
  return {
    description: `SQLite file ${path}`,
    acquireLeadership: async (
      candidate: Candidate,
      leaseMs: number,
      replaceOwn: boolean,
    ): Promise<LeaseGrant> => leadership.acquire(database, candidate, leaseMs, replaceOwn, now()),
    renewLeadership: async (term, leaseMs) => leadership.renew(database, term, leaseMs, now()),
    releaseLeadership: async (term) => leadership.release(database, term),
    readLeadership: async (): Promise<Leadership | null> => leadership.readLeader(database),
    readTopology: async () => record.readTopology(database),
    writeTopology: async (term, topology) => {
      record.writeTopology(database, term, topology);
      watch.look();
    },
    watchTopology: (onChange) => watch.add(onChange),
    announceMember: async (member: Member, leaseMs) => members.announce(database, member, leaseMs, now()),
    removeMember: async (id) => members.removeMember(database, id),
    readMembers: async () => members.readMembers(database, now()),
    close: async () => {
      watch.stop();
      database.close();
    },
  };
}

/**
 * SQLite tells nobody of a write, so the stored version is read again and again while somebody wants to know.
 */
class TopologyWatch {
  readonly #env: StoreEnv;
  readonly #database: SqliteDatabase;
  readonly #listeners = new Set<() => void>();
  #seen = 0;
  #stopTimer: (() => void) | null = null;

  constructor(env: StoreEnv, database: SqliteDatabase) {
    this.#env = env;
    this.#database = database;
  }

  add(onChange: () => void): () => void {
    if (this.#stopTimer === null) {
      this.#seen = record.readVersion(this.#database);
      const timer = this.#env.timers.every(WATCH_PERIOD_MS, () => this.#lookSafely());
      this.#stopTimer = () => timer.cancel();
    }
    this.#listeners.add(onChange);
    return () => {
      this.#listeners.delete(onChange);
      if (this.#listeners.size === 0) this.stop();
    };
  }

  /** Tells the listeners when the version has changed since the last look. */
  look(): void {
    if (this.#stopTimer === null) return;
    const version = record.readVersion(this.#database);
    if (version === this.#seen) return;
    this.#seen = version;
    for (const listener of this.#listeners) queueMicrotask(listener);
  }

  stop(): void {
    this.#stopTimer?.();
    this.#stopTimer = null;
    this.#listeners.clear();
  }

  #lookSafely(): void {
    try {
      this.look();
    } catch {
      // A file that cannot be read now is read again at the next turn; whoever writes is told at once.
    }
  }
}
