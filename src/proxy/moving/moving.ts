/**
 * What stands between a request and a slot that is locked or moving. One per worker.
 *
 *   serving(A) ──▶ locked ──────────▶ moving(A → B) ──────────▶ serving(B)
 *                  │ requests wait     │ a key is pulled before     the gate is gone: the hot path again
 *                  │ what runs ends    │ anything runs at B
 *
 *   dispatcher ─▶ admit ─┬─ all keys usable ─▶ true: go on
 *                        ├─ a slot is locked ─▶ parked until the next map ─────────┐ session on hold,
 *                        ├─ keys not here yet ─▶ Puller (A, B, database) ─▶ pulled ┘ then asked again
 *                        └─ that failed, or took too long ─▶ the error
 *
 * Invariants: nothing runs at the target for a key before its pull was answered; a session that waits is
 * held, so its later requests can't overtake; a map is acknowledged when nothing that began before it runs
 * on: requests (slots/), waits of blocked clients, and pulls, which put up their fences here. What is
 * remembered of a slot lives as long as its move.
 *
 * Rejected: asking the source first and the target on a miss, as Redis Cluster's clients do (ASK): the
 * servers would have to know about the move.
 */
import { ROUTE_KEY } from "../../commands/command.ts";
import type { Timer } from "../../env/env.ts";
import type { DataPlane } from "../data-plane.ts";
import { argument, type Call } from "../dispatch/call.ts";
import { slotOfArgument } from "../dispatch/locate.ts";
import { HOLD_WAIT } from "../downstream/reply-queue.ts";
import type { StreamedRequest } from "../downstream/streamed-request.ts";
import type { Session } from "../downstream/session.ts";
import { SLOT_LOCKED, SLOT_MOVING, type SlotMove, type SlotStates } from "../slots/slot-states.ts";
import { WholeKeyspace } from "./whole-keyspace.ts";
import { PulledKeys } from "./pulled-keys.ts";
import { Puller } from "./puller.ts";
import { keysAhead } from "./look-ahead.ts";
import { type PatternSort, readPatternKeys } from "./sort-patterns.ts";
import { type WantedKey, wantedBy } from "./wanted-keys.ts";

/** Keys that one worker remembers to be at their targets, all moving slots together. */
const PULLED_KEYS_MAX = 800_000;
/** Bytes of their names. */
const PULLED_KEY_BYTES_MAX = 64 << 20;
/** A slot's share is at least this. */
const PULLED_KEYS_PER_SLOT_MIN = 64;
/** How long a request waits for a locked slot or a key, when `hold_timeout_ms` names no time. */
const HOLD_TIMEOUT_MS = 10_000;

/** Null: the keys can be used now. */
export type Usable = (error: string | null) => void;

interface Parked {
  readonly deadlineMs: number;
  readonly slot: number;
  /** Asks again; with `error`, gives up. */
  readonly resume: Usable;
}

interface Verdict {
  readonly version: number;
  readonly error: string | null;
  /** What it was asked for. The session may have run that without asking again: its slot has settled. */
  readonly keys: readonly WantedKey[];
  readonly sorts: readonly PatternSort[];
}

export class Moving {
  readonly wholeKeyspace: WholeKeyspace;
  /** Large values that are still coming in. */
  readonly streams = new Set<StreamedRequest>();
  readonly #plane: DataPlane;
  readonly #pulled: (PulledKeys | undefined)[] = [];
  readonly #pullers = new Map<string, Puller>();
  #parked: Parked[] = [];
  #timer: Timer | null = null;
  /** By slot, for those that are locked: since when. */
  #lockedAtMs = new Float64Array(0);
  /** What came out for a held session; looked at when it asks again with the same request. */
  readonly #verdicts = new WeakMap<Session, Verdict>();

  constructor(plane: DataPlane) {
    this.#plane = plane;
    this.wholeKeyspace = new WholeKeyspace(plane);
  }

  /** Whether any slot is locked or moving: only then the dispatcher asks. */
  get active(): boolean {
    return this.#plane.slots.states.unsettled;
  }

  /** Requests that wait for a locked slot. */
  get parkedCount(): number {
    return this.#parked.length;
  }

  /** True: the call may run now. False: its session is held, and asks again. Text: the error. */
  admit(call: Call): boolean | string {
    const { session, command } = call;
    if (this.#isHere(call)) return true;
    if (command.name === "swapdb") return SWAPDB_REFUSED;
    const { keys, sorts } = wantedBy(this.#plane, call);
    const verdict = this.#verdictFor(session, keys, sorts);
    return verdict ?? (keys.length === 0 || this.#admitKeys(session, keys, sorts));
  }

  /** The most common case, without asking for more: one key, and it has been pulled. */
  #isHere(call: Call): boolean {
    const { session, command } = call;
    const { firstKey, route, name } = command;
    if (firstKey === 0 || route !== ROUTE_KEY || session.transaction !== null || name === "move")
      return false;
    const slot = slotOfArgument(this.#plane, call, firstKey);
    if (this.#plane.slots.states.of(slot) !== SLOT_MOVING) return false;
    return this.#pulled[slot]?.has(session.lane.database, argument(call, firstKey)) === true;
  }

  /** As `admit`, for one key of a request that is not all here yet. */
  admitKey(session: Session, slot: number, key: string): boolean | string {
    const keys = [{ slot, database: session.lane.database, key }];
    return this.#verdictFor(session, keys, []) ?? this.#admitKeys(session, keys);
  }

  /** What came out for these keys while the session was held; null: nothing that still holds. */
  #verdictFor(
    session: Session,
    keys: readonly WantedKey[],
    sorts: readonly PatternSort[],
  ): boolean | string | null {
    const verdict = this.#verdicts.get(session);
    if (verdict === undefined) return null;
    this.#verdicts.delete(session);
    const holds = verdict.version === this.#version && sameKeys(verdict.keys, keys);
    return holds && JSON.stringify(verdict.sorts) === JSON.stringify(sorts) ? (verdict.error ?? true) : null;
  }

  #admitKeys(session: Session, keys: readonly WantedKey[], sorts: readonly PatternSort[] = []): boolean {
    if (sorts.length === 0 && this.#usable(keys)) return true;
    session.hold(HOLD_WAIT);
    // By then what the client has sent stands in the session's input.
    this.#plane.env.net.atTurnEnd(() => this.#lookAhead(session));
    const told: Usable = (error) => {
      if (session.closed) return;
      this.#verdicts.set(session, { version: this.#version, error, keys, sorts });
      session.release(HOLD_WAIT);
    };
    this.whenUsable(keys, (error) => (error === null ? this.#fetchPatterns(sorts, told) : told(error)));
    return false;
  }

  #lookAhead(session: Session): void {
    if (session.closed || !this.active) return;
    for (const wanted of keysAhead(this.#plane, session))
      if (this.#isMissing(wanted)) this.whenUsable([wanted], () => undefined);
  }

  /** Makes the keys usable that SORT reaches by patterns. */
  #fetchPatterns([sort, ...others]: readonly PatternSort[], done: Usable): void {
    if (sort === undefined) {
      done(null);
      return;
    }
    readPatternKeys(this.#plane, sort, (keys, error) => {
      if (error !== null) done(error);
      else
        this.whenUsable(keys, (failed) =>
          failed === null ? this.#fetchPatterns(others, done) : done(failed),
        );
    });
  }

  /** Calls `done` when all keys can be used at the homes of their slots: at once, or later. */
  whenUsable(keys: readonly WantedKey[], done: Usable): void {
    const { states } = this.#plane.slots;
    const locked = keys.find(({ slot }) => states.of(slot) === SLOT_LOCKED);
    if (locked !== undefined) {
      this.#park(locked.slot, (error) => (error === null ? this.whenUsable(keys, done) : done(error)));
      return;
    }
    const missing = keys.filter((wanted) => this.#isMissing(wanted));
    if (missing.length === 0) {
      done(null);
      return;
    }
    let left = missing.length;
    let failed: string | null = null;
    let again = false;
    const deadlineMs = this.#plane.env.clock.nowMs() + this.holdMs;
    const ended = (error: string | null, changed: boolean): void => {
      failed ??= error;
      again ||= changed;
      if (--left > 0) return;
      if (failed === null && again) this.whenUsable(keys, done);
      else done(failed);
    };
    for (const { slot, database, key } of missing)
      this.#pullerFor(slot, database).want(slot, key as string, deadlineMs, ended);
  }

  /** A key is at its target now. */
  pulled(slot: number, database: number, key: string): void {
    this.#plane.counters.pulledKeys++;
    this.#pulled[slot]?.add(database, key);
  }

  /** A map is in force; `before`: what the last one said. */
  mapChanged(before: SlotStates): void {
    const { slots } = this.#plane;
    this.#forget(before, slots.states);
    this.#noteLocks(before, slots.states);
    for (const [name, puller] of this.#pullers) {
      // What was sent under the last map must have been answered before this one is acknowledged.
      puller.whenAnswered(slots.fence());
      if (puller.unused && !slots.states.moves.some((move) => nameOf(move, puller.database) === name)) {
        puller.close();
        this.#pullers.delete(name);
      }
    }
    for (const session of this.#plane.clients.all()) {
      session.watch?.mapChanged(session);
      session.blocked?.mapChanged?.();
    }
    for (const stream of this.streams) stream.mapChanged();
    const parked = this.#parked;
    this.#parked = [];
    for (const { resume } of parked) resume(null);
  }

  get #version(): number {
    return this.#plane.slots.map?.version ?? 0;
  }

  /** How long a request waits for a lock or a key. */
  get holdMs(): number {
    const { slots, config } = this.#plane;
    const wanted = Number(slots.map?.options["hold_timeout_ms"] ?? config.hold_timeout_ms);
    // 0 means "fail at once" for groups that are down. A lock is no outage, it is over in milliseconds.
    return wanted > 0 ? wanted : HOLD_TIMEOUT_MS;
  }

  #usable(keys: readonly WantedKey[]): boolean {
    const { states } = this.#plane.slots;
    return keys.every((wanted) => states.of(wanted.slot) !== SLOT_LOCKED && !this.#isMissing(wanted));
  }

  /** Whether the key may still be at the source. */
  #isMissing({ slot, database, key }: WantedKey): boolean {
    if (key === null || this.#plane.slots.states.of(slot) !== SLOT_MOVING) return false;
    return this.#pulled[slot]?.has(database, key) !== true;
  }

  #pullerFor(slot: number, database: number): Puller {
    const move = this.#plane.slots.states.moveOf(slot) as SlotMove;
    const name = nameOf(move, database);
    let puller = this.#pullers.get(name);
    if (puller === undefined) {
      puller = new Puller(this.#plane, move, database);
      this.#pullers.set(name, puller);
    }
    return puller;
  }

  /** What is remembered of slots whose move is over, or another one, is of no use. */
  #forget(before: SlotStates, now: SlotStates): void {
    const { mask } = this.#plane.slots;
    let moving = 0;
    for (let slot = 0; slot <= mask; slot++) if (now.moveOf(slot) !== null) moving++;
    const share = Math.max(PULLED_KEYS_PER_SLOT_MIN, Math.floor(PULLED_KEYS_MAX / 2 / Math.max(1, moving)));
    const bytes = Math.ceil(PULLED_KEY_BYTES_MAX / 2 / Math.max(1, moving));
    for (let slot = 0; slot <= mask; slot++) {
      const move = now.moveOf(slot);
      const last = before.moveOf(slot);
      const same = move?.source.id === last?.source.id && move?.target.id === last?.target.id;
      if (move === null) this.#pulled[slot] = undefined;
      else if (!same || this.#pulled[slot] === undefined) this.#pulled[slot] = new PulledKeys(share, bytes);
    }
  }

  #noteLocks(before: SlotStates, now: SlotStates): void {
    const { mask } = this.#plane.slots;
    if (this.#lockedAtMs.length <= mask) this.#lockedAtMs = new Float64Array(mask + 1);
    const nowMs = this.#plane.env.clock.nowMs();
    for (let slot = 0; slot <= mask; slot++)
      if (now.of(slot) === SLOT_LOCKED && before.of(slot) !== SLOT_LOCKED) this.#lockedAtMs[slot] = nowMs;
  }

  #park(slot: number, resume: Usable): void {
    const nowMs = this.#plane.env.clock.nowMs();
    // One time for the lock and not one for each request: a client must not wait for it again and again.
    const deadlineMs = this.#lockedAtMs[slot] + this.holdMs;
    if (deadlineMs <= nowMs) {
      resume(lockedError(slot));
      return;
    }
    this.#parked.push({ deadlineMs, slot, resume });
    if (this.#timer === null) this.#giveUpIn(deadlineMs - nowMs);
  }

  /** Nothing waits for ever: a lock that stays is an error for those that have waited long enough. */
  #giveUpLate(): void {
    this.#timer = null;
    const nowMs = this.#plane.env.clock.nowMs();
    const late = this.#parked.filter(({ deadlineMs }) => deadlineMs <= nowMs);
    this.#parked = this.#parked.filter(({ deadlineMs }) => deadlineMs > nowMs);
    for (const { slot, resume } of late) resume(lockedError(slot));
    if (this.#parked.length === 0 || this.#timer !== null) return;
    const next = this.#parked.reduce((least, { deadlineMs }) => Math.min(least, deadlineMs), Infinity);
    this.#giveUpIn(Math.max(1, next - nowMs));
  }

  #giveUpIn(delayMs: number): void {
    this.#timer = this.#plane.env.timers.after(delayMs, () => this.#giveUpLate());
  }
}

const SWAPDB_REFUSED =
  "ERR SWAPDB can't run while slots move between groups: keys on their way would end in the other database";

function sameKeys(some: readonly WantedKey[], others: readonly WantedKey[]): boolean {
  return (
    some.length === others.length &&
    some.every(({ slot, database, key }, index) => {
      const other = others[index];
      return slot === other.slot && database === other.database && key === other.key;
    })
  );
}

function lockedError(slot: number): string {
  return `TRYAGAIN Slot ${slot} is locked, because it is about to move or its group is switched over`;
}

function nameOf(move: SlotMove, database: number): string {
  const { source, target } = move;
  return `${source.id} ${source.primary} ${target.id} ${target.primary} ${database}`;
}
