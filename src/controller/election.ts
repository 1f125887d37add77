/**
 * Leadership by lease, kept up.
 *
 *   follower ──acquire──▶ leader(term) ──renew every lease/3──▶ leader(term)
 *      ▲                       │ STALE: somebody else has it
 *      └───────────────────────┴ no renewal has succeeded for a whole lease (the store is away)
 *
 * A leader whose renewals fail stops acting as one when its own clock says that the lease is over; that it
 * may be late (a paused process) is harmless, because the store refuses its term.
 */
import { errorCodeOf, errorTextOf } from "../base/shoal-error.ts";
import type { Env, Timer } from "../env/env.ts";
import type { Candidate, Leadership, Member, Store } from "../store/store.ts";
import type { Service } from "./service.ts";

export interface ElectionHooks {
  /** We lead from now on; called once per term. When it throws, leadership is given back. */
  onLead(leader: Leadership): Promise<void>;
  /** Somebody else leads, or nobody that we know. */
  onFollow(leader: Leadership | null): void;
}

export class Election implements Service {
  readonly #env: Pick<Env, "clock" | "timers" | "log">;
  readonly #store: Store;
  readonly #candidate: Candidate;
  readonly #member: Member;
  readonly #leaseMs: number;
  readonly #hooks: ElectionHooks;
  #leader: Leadership | null = null;
  /** By the monotonic clock. */
  #leaseEndsMs = 0;
  #timer: Timer | null = null;
  #busy: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(
    env: Pick<Env, "clock" | "timers" | "log">,
    store: Store,
    candidate: Candidate & Pick<Member, "pid">,
    leaseMs: number,
    hooks: ElectionHooks,
  ) {
    this.#env = env;
    this.#store = store;
    const { id, incarnation, addr, pid } = candidate;
    this.#candidate = { id, incarnation, addr };
    this.#member = { id, addr, pid };
    this.#leaseMs = leaseMs;
    this.#hooks = hooks;
  }

  async run(): Promise<void> {
    // Once only: our own lease of a former life is taken over at once.
    await this.#acquire(true);
    await this.#announce();
    this.#timer = this.#env.timers.every(this.#leaseMs / 3, () => {
      this.#busy = this.#busy.then(() => this.#turn());
    });
  }

  async drain(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    await this.#busy;
  }

  /** Gives leadership back, so that the next one need not wait for the lease. */
  async stop(): Promise<void> {
    await this.drain();
    try {
      if (this.#leader !== null) await this.#store.releaseLeadership(this.#leader.term);
      await this.#store.removeMember(this.#candidate.id);
    } catch (error) {
      this.#env.log.warn("release-failed", { reason: errorTextOf(error) });
    }
    this.#leader = null;
  }

  /** Turns never overlap: `#busy` chains them, so a slow store delays the next one instead of doubling it. */
  async #turn(): Promise<void> {
    if (this.#stopped) return;
    try {
      if (this.#leader === null) await this.#acquire(false);
      else await this.#renew(this.#leader);
      await this.#announce();
    } catch (error) {
      this.#env.log.warn("lease-failed", { reason: errorTextOf(error) });
      if (errorCodeOf(error) === "STALE") this.#lose(await this.#store.readLeadership().catch(() => null));
      else if (this.#leader !== null && this.#env.clock.nowMs() >= this.#leaseEndsMs) this.#lose(null);
    }
  }

  async #acquire(replaceOwn: boolean): Promise<void> {
    // Counted from before the question: our lease must never seem longer to us than to the store.
    const askedMs = this.#env.clock.nowMs();
    const { granted, leader } = await this.#store.acquireLeadership(
      this.#candidate,
      this.#leaseMs,
      replaceOwn,
    );
    if (!granted) {
      this.#hooks.onFollow(leader);
      return;
    }
    this.#leader = leader;
    this.#leaseEndsMs = askedMs + this.#leaseMs;
    try {
      await this.#hooks.onLead(leader);
    } catch (error) {
      this.#lose(null);
      await this.#store.releaseLeadership(leader.term);
      throw error;
    }
  }

  /** Moves the end of the lease; the term stays. */
  async #renew(leader: Leadership): Promise<void> {
    const askedMs = this.#env.clock.nowMs();
    await this.#store.renewLeadership(leader.term, this.#leaseMs);
    this.#leaseEndsMs = askedMs + this.#leaseMs;
  }

  /** Followers are members too: status shows them, and their silence counts. For as long as a proxy's. */
  #announce(): Promise<void> {
    return this.#store.announceMember(this.#member, this.#leaseMs);
  }

  /** Acts as a follower from now on; the next turn tries to lead again. */
  #lose(next: Leadership | null): void {
    this.#leader = null;
    this.#hooks.onFollow(next);
  }
}
