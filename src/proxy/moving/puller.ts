/**
 * Fetches keys of one database from one group to another, for one worker.
 *
 *   want(key) ─▶ fresh ─▶ (turn ends) ─▶ attempt: one MIGRATE for many keys ─┬─ moved, absent ─▶ settle
 *                                          ▲                                 ├─ busy    ─▶ UNLINK at the
 *                                          │                                 │   source ─▶ settle
 *                                          ├── one key per attempt ◀─────────┼─ a batch was refused
 *                                          └── pause, is the target there? ◀─┴─ unclear, wait
 *
 *   with `acks: replica`:  MIGRATE COPY ─▶ WAIT at the target ─▶ UNLINK at the source ─▶ WAIT at the source
 *
 * The request goes over connections of this folder's own: a source stands still while it migrates, and so
 * would everything behind it on the shared connection. Few requests are under way at a time, because the
 * source carries them out one after the other anyway: what comes meanwhile makes the next batch larger.
 *
 * An IOERR says that nobody knows whether the target has the key. It is asked again, but not before the
 * target has answered a PING: a source that migrates to a frozen target is frozen itself for the timeout,
 * and what the target has received of the first attempt it must have carried out by then.
 *
 * Invariants: a key is settled only when the source has no copy of it that could be taken for the truth;
 * nothing is sent for a slot that is not moving between these two by the map in force; each waiter is told
 * exactly once.
 */
import { parseAddress } from "../../topology/cluster-map.ts";
import type { DataPlane } from "../data-plane.ts";
import { requestOf } from "../dispatch/ask-groups.ts";
import { SLOT_MOVING, type SlotMove } from "../slots/slot-states.ts";
import { type AckWish, ackWish } from "./ack-wish.ts";
import { migrateRequest, type MigrateAnswer, pullError, readMigrateReply } from "./migrate-words.ts";
import { Steps } from "./steps.ts";

/** Keys in one MIGRATE: a source stands still for the whole of it. */
const PULL_BATCH_KEYS_MAX = 64;
/** Attempts under way at a time: one at the source, one on its way to it. */
const ATTEMPTS_MAX = 2;
/** How long a source waits for the target in one step; the source serves nobody meanwhile. */
const PULL_TIMEOUT_MS = 1000;
/** Pause before an attempt is repeated; it doubles up to the bound. */
const PULL_PAUSE_MS_MIN = 5;
const PULL_PAUSE_MS_MAX = 250;

/** How a pull ended: `error` null when the key is at the target; `changed` when the map has another word. */
export type PullDone = (error: string | null, changed: boolean) => void;

interface Entry {
  readonly slot: number;
  readonly key: string;
  readonly waiters: PullDone[];
  readonly deadlineMs: number;
}

interface Attempt {
  entries: readonly Entry[];
  pauseMs: number;
}

export class Puller {
  readonly move: SlotMove;
  readonly database: number;
  readonly #plane: DataPlane;
  readonly #entries = new Map<string, Entry>();
  #fresh: Entry[] = [];
  /** Nothing has come through since; null while all is well. */
  #failingSinceMs: number | null = null;
  #flushing = false;
  /** Attempts that have been sent and are not over, pauses included. */
  #underWay = 0;
  /** Of those, the ones that a server owes an answer for. */
  #owed = 0;
  #idle: (() => void)[] = [];
  readonly #source: Steps;
  readonly #target: Steps;

  constructor(plane: DataPlane, move: SlotMove, database: number) {
    this.#plane = plane;
    this.move = move;
    this.database = database;
    this.#source = new Steps(plane, move.source, database);
    this.#target = new Steps(plane, move.target, database);
  }

  /** Fetches a key; `done` is called once, never at once. */
  want(slot: number, key: string, deadlineMs: number, done: PullDone): void {
    const known = this.#entries.get(key);
    if (known !== undefined) {
      known.waiters.push(done);
      return;
    }
    const entry = { slot, key, waiters: [done], deadlineMs };
    this.#entries.set(key, entry);
    this.#fresh.push(entry);
    this.#flushSoon();
  }

  /** Calls `run` when no server owes an answer; at once when none does. */
  whenAnswered(run: () => void): void {
    if (this.#owed === 0) run();
    else this.#idle.push(run);
  }

  /** Nothing waits and nothing is under way. */
  get unused(): boolean {
    return this.#entries.size === 0 && this.#underWay === 0;
  }

  /** Lets go of the connections; only when unused. */
  close(): void {
    this.#source.close();
    this.#target.close();
  }

  #flushSoon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    // What other sessions ask for in this turn goes with it.
    this.#plane.env.net.atTurnEnd(() => {
      this.#flushing = false;
      this.#flush();
    });
  }

  #flush(): void {
    while (this.#fresh.length > 0 && this.#underWay < ATTEMPTS_MAX) {
      const entries = this.#fresh.splice(0, PULL_BATCH_KEYS_MAX);
      this.#underWay++;
      this.#try({ entries, pauseMs: PULL_PAUSE_MS_MIN });
    }
  }

  /** Whether the map in force still says that `slot` moves between these two. */
  #stillMoving(slot: number): boolean {
    const { states } = this.#plane.slots;
    const move = states.moveOf(slot);
    if (states.of(slot) !== SLOT_MOVING || move === null) return false;
    const { source, target } = this.move;
    return move.source.primary === source.primary && move.target.primary === target.primary;
  }

  #try(attempt: Attempt): void {
    const entries = attempt.entries.filter((entry) => {
      const moving = this.#stillMoving(entry.slot);
      if (!moving) this.#settle(entry, null, true);
      return moving;
    });
    if (entries.length === 0) {
      this.#over();
      return;
    }
    attempt.entries = entries;
    const wish = ackWish(this.#plane.acks.strictest);
    const { host, port } = parseAddress(this.move.target.primary);
    const request = migrateRequest({
      host,
      port,
      database: this.database,
      timeoutMs: Math.min(PULL_TIMEOUT_MS, Math.ceil(this.#plane.config.server_timeout_ms / 2)),
      copy: wish !== null,
      credentials: this.#plane.serverCredentials,
      keys: entries.map((entry) => entry.key),
    });
    this.#plane.counters.pulls++;
    this.#ask(this.#source, [request], ([reply], lost) => {
      if (reply === undefined) this.#again(attempt, lost);
      else this.#judge(attempt, readMigrateReply(reply), wish);
    });
  }

  #judge(attempt: Attempt, answer: MigrateAnswer, wish: AckWish | null): void {
    const { kind, text } = answer;
    if (kind !== "unclear" && kind !== "wait") this.#failingSinceMs = null;
    if (kind === "moved" || kind === "absent") {
      if (wish === null) this.#settleAll(attempt, null);
      else if (kind === "moved") this.#confirmCopy(attempt, wish);
      else this.#confirmAbsence(attempt, wish);
    } else if (attempt.entries.length > 1 && (kind === "busy" || kind === "refused")) {
      // The text is about one of the keys, and doesn't say which.
      this.#underWay += attempt.entries.length;
      for (const entry of attempt.entries) this.#try({ entries: [entry], pauseMs: PULL_PAUSE_MS_MIN });
      this.#over();
    } else if (kind === "busy") {
      if (wish === null) this.#dropOldCopies(attempt, null);
      else this.#confirmCopy(attempt, wish);
    } else if (kind === "refused") this.#settleAll(attempt, text);
    else this.#again(attempt, text);
  }

  /** The target has the keys; are they safe there? Then the source's copies may go. */
  #confirmCopy(attempt: Attempt, wish: AckWish): void {
    this.#ask(this.#target, [requestOf("PING"), wish.request], ([, count], lost) => {
      const missing = count === undefined ? lost : wish.missing(count);
      if (missing === null) this.#dropOldCopies(attempt, wish);
      else this.#again(attempt, missing);
    });
  }

  /** Somebody has moved them before; has the source's replica seen that? */
  #confirmAbsence(attempt: Attempt, wish: AckWish): void {
    this.#ask(this.#source, [requestOf("PING"), wish.request], ([, count], lost) => {
      const missing = count === undefined ? lost : wish.missing(count);
      if (missing === null) this.#settleAll(attempt, null);
      else this.#again(attempt, missing);
    });
  }

  #dropOldCopies(attempt: Attempt, wish: AckWish | null): void {
    const unlink = requestOf("UNLINK", ...attempt.entries.map((entry) => entry.key));
    this.#ask(this.#source, wish === null ? [unlink] : [unlink, wish.request], ([gone, count], lost) => {
      if (gone === undefined) this.#again(attempt, lost);
      else if (gone.startsWith("-")) this.#again(attempt, gone.slice(1));
      else if (wish !== null && (count === undefined || wish.missing(count) !== null))
        this.#again(attempt, count === undefined ? lost : (wish.missing(count) as string));
      else this.#settleAll(attempt, null);
    });
  }

  /** Sends requests to one of the two; `told` gets their replies, or fewer and why no more came. */
  #ask(
    to: Steps,
    requests: readonly string[],
    told: (replies: readonly string[], lost: string) => void,
  ): void {
    this.#owed++;
    to.ask(requests, (replies, lost) => {
      this.#owed--;
      told(replies, lost);
      if (this.#owed > 0) return;
      for (const run of this.#idle.splice(0)) run();
    });
  }

  /** Once more, after a pause, when the target is there; or the error, when the time is over. */
  #again(attempt: Attempt, reason: string): void {
    const nowMs = this.#plane.env.clock.nowMs();
    this.#failingSinceMs ??= nowMs;
    // Once the time has run out for one, later keys get one attempt each: nobody waits again and again.
    const lost = nowMs - this.#failingSinceMs >= this.#plane.moving.holdMs;
    const isLate = ({ deadlineMs }: Entry): boolean => lost || deadlineMs <= nowMs;
    for (const entry of attempt.entries) if (isLate(entry)) this.#settle(entry, reason, false);
    attempt.entries = attempt.entries.filter((entry) => !isLate(entry));
    if (attempt.entries.length === 0) {
      this.#over();
      return;
    }
    this.#plane.counters.pullRetries++;
    const { pauseMs } = attempt;
    attempt.pauseMs = Math.min(pauseMs * 2, PULL_PAUSE_MS_MAX);
    this.#plane.env.timers.after(pauseMs, () => {
      this.#ask(this.#target, [requestOf("PING")], ([pong], lost) => {
        if (pong === undefined) this.#again(attempt, lost);
        else this.#try(attempt);
      });
    });
  }

  #settleAll(attempt: Attempt, error: string | null): void {
    for (const entry of attempt.entries) this.#settle(entry, error, false);
    this.#over();
  }

  #settle(entry: Entry, cause: string | null, changed: boolean): void {
    this.#entries.delete(entry.key);
    const { source, target } = this.move;
    const error = cause === null ? null : pullError(entry.key, source.id, target.id, cause);
    if (error === null && !changed) this.#plane.moving.pulled(entry.slot, this.database, entry.key);
    for (const done of entry.waiters) done(error, changed);
  }

  /** An attempt has ended. */
  #over(): void {
    this.#underWay--;
    this.#flush();
  }
}
