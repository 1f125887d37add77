/**
 * The store as the controller sees it: leadership by lease, one topology, the controllers that are alive.
 *
 *   acquireLeadership ──▶ term 7 ──▶ writeTopology(7, …) ──▶ … ──▶ releaseLeadership(7)
 *                           │ renewLeadership(7) every third of the lease
 *   a paused leader wakes up: writeTopology(7, …) while term 8 is in force ──▶ STALE, nothing written
 *
 * Invariants, shown by test/conformance/store for every kind:
 *   - terms only grow, and no two holders ever have the same one;
 *   - a write under a term that is not the one in force changes nothing (STALE), and so does a write whose
 *     version does not follow the stored one (STALE);
 *   - a write that has returned is durable; a reader sees whole topologies only;
 *   - no lock outlives its holder by more than the lease.
 * The leader's clock is not trusted for safety, only for speed: a lease decides when another may try, the
 * term decides who may write. Made to fit SQLite (a transaction), etcd (a lease, a transaction that compares)
 * and ZooKeeper (an ephemeral node, setData with a version). Rejected: a lock (it stays behind after a
 * crash), and separate keys per group (a reader could see half of a change; one topology of 4095 groups is
 * about a megabyte).
 */
import type { Env } from "../env/env.ts";
import type { ClusterTopology } from "../topology/cluster-topology.ts";

export type StoreEnv = Pick<Env, "clock" | "timers" | "random">;

/** A controller that wants to lead. */
export interface Candidate {
  /** Its name, the same after a restart. */
  readonly id: string;
  /** Random, new with every start: tells a restarted controller from a second one with the same name. */
  readonly incarnation: string;
  /** "host:port" of its API. */
  readonly addr: string;
}

export interface Leadership {
  readonly id: string;
  readonly incarnation: string;
  readonly addr: string;
  /** Grows by at least one with each change of the holder. */
  readonly term: number;
}

/** A controller that is alive. */
export interface Member {
  readonly id: string;
  readonly addr: string;
  readonly pid: number;
}

export interface LeaseGrant {
  /** Whether the candidate leads now. */
  readonly granted: boolean;
  /** Who leads: the candidate, or the one whose lease is still running. */
  readonly leader: Leadership;
}

export interface Store {
  /** For messages: "SQLite file ./data/shoal.sqlite". */
  readonly description: string;

  /**
   * Leads when nobody does, or when the lease has run out. With `replaceOwn` also when the holder has our own
   * id: a restarted controller need not wait for the lease of its former life, whose writes are refused from
   * now on. Only to be used once after a start; otherwise two processes with one id would take it from each
   * other for ever.
   */
  acquireLeadership(candidate: Candidate, leaseMs: number, replaceOwn: boolean): Promise<LeaseGrant>;
  /** @throws ShoalError STALE when `term` is not in force any more */
  renewLeadership(term: number, leaseMs: number): Promise<void>;
  /** Gives it up, so that the next one need not wait. Nothing happens when `term` is not in force. */
  releaseLeadership(term: number): Promise<void>;
  /** Who led last, whether or not the lease still runs; null before the first. */
  readLeadership(): Promise<Leadership | null>;

  readTopology(): Promise<ClusterTopology | null>;
  /**
   * Replaces the topology; returns when it is durable. The first version is 1, each next one follows the
   * stored one.
   * @throws ShoalError STALE, or STORE when the medium refuses (a full disk)
   */
  writeTopology(term: number, topology: ClusterTopology): Promise<void>;
  /**
   * Calls `onChange` soon after every write, by whichever process; several writes may make one call. Returns
   * the stop.
   */
  watchTopology(onChange: () => void): () => void;

  /** Says that a controller is alive, for `leaseMs` from now. */
  announceMember(member: Member, leaseMs: number): Promise<void>;
  /** Takes it back at an orderly stop. */
  removeMember(id: string): Promise<void>;
  readMembers(): Promise<readonly Member[]>;

  close(): Promise<void>;
}
