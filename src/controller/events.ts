/**
 * What happened, for people: a ring in memory and a line in the log for each.
 *
 *   add() ──▶ ring ──▶ GET /api/v1/events?since=…
 *     │└────▶ listeners ──▶ streams, webhook, script
 *     └─────▶ log
 *
 * Ids grow and are made of the wall clock, so that "everything since the last one that I have seen" also
 * means something to the next leader, whose events are others.
 */
import type { Env } from "../env/env.ts";
import type { LogFields } from "../env/log.ts";

export const EVENT_KINDS = {
  "cluster-created": "the store was empty and was filled from the configuration",
  "leader-elected": "this controller leads",
  "leader-lost": "this controller leads no more",
  "map-changed": "a new map is in force",
  "server-up": "a server answers (again)",
  "server-down": "a server does not answer",
  "replica-wired": "a replica was told to follow its primary",
  "replica-joined": "a replica is in sync for the first time",
  "replica-in-sync": "a replica has all of its primary's data again",
  "replica-away": "a replica has been away for too long to be promoted, until it is in sync again",
  "group-protected": "a replica is in sync: the group would survive the loss of its primary",
  "group-unprotected": "no replica is in sync: the loss of the primary would be the loss of the group",
  "primary-restarted": "a primary's process is another one than before",
  "primary-trusted": "a primary that was started again stays one",
  "failover-begun": "a primary is dead, and a replica takes over",
  "failover-done": "a replica has taken over; with the bound of what may be lost",
  "failover-ended": "the primary is back before a replica took over: it stays",
  "failover-refused": "a primary is dead, and no replica may take over",
  "switchover-begun": "somebody had a replica take over",
  "switchover-done": "a replica has taken over as planned, with everything",
  "switchover-ended": "a switchover was given up: the primary stays",
  "safe-mode": "no primary is replaced automatically, for the reason that is named",
  "safe-mode-over": "primaries are replaced automatically again",
  "sentinel-told": "a redis-sentinel was told to watch over a group, of its settings, or to do so no more",
  "sentinel-reset": "a redis-sentinel was made to forget replicas that must not take over",
  "sentinel-lost": "a redis-sentinel does not answer",
  "sentinel-back": "a redis-sentinel answers again",
  "notify-failed": "a webhook or script could not be told",
  "wiring-problem": "a replica must not be touched, or cannot be wired; somebody has to look",
  "group-added": "a group came in; it owns no slots yet, unless some were named",
  "group-removed": "a group went; its servers run on",
  "server-added": "a replica was added to a group",
  "server-removed": "a replica was taken out of its group",
  "slots-assigned": "slots changed hands without their keys, because somebody said so",
  "options-changed": "cluster-wide options were set",
  "proxy-joined": "a proxy reports for the first time, or again after it was lost",
  "proxy-lost": "a proxy's lease has run out",
  "proxy-left": "a proxy has drained and gone",
  "proxy-fenced": "a silent proxy was shut out of a server, so that slots can be moved without it",
  "proxy-let-in": "a fenced proxy has the map in force and may sign in again",
  "proxy-forgotten": "somebody vouches that a silent proxy will never send anything again",
  "move-planned": "slots shall be moved to other groups",
  "slots-locked": "proxies hold the requests for slots that are about to be moved",
  "slots-unlocked": "slots were not moved, because a proxy has not acknowledged the lock in time",
  "slots-moving": "slots belong to their new group; their keys follow",
  "move-finished": "the last key of the slots has been moved",
  "move-cancelled": "moves were dropped or turn back",
  "moves-paused": "no further keys are moved, for now",
  "moves-resumed": "keys are moved again",
  "moves-limited": "the speed of moves was bounded",
  "move-problem": "a move does not get on; it is tried again",
  "strays-deleted": "a group held keys of slots that it never served; nobody could reach them",
  "slot-refused": "a slot was left out of a move, because a key in it would block its servers for too long",
  "big-key-moved": "a key was moved alone, because its size blocks the servers for a while",
  "source-copies-deleted": "keys stood on both sides of a move; the source's copies were deleted",
  "stream-cut": "a proxy did not read its map stream and was cut off",
} as const;

export type EventKind = keyof typeof EVENT_KINDS;

export interface ControllerEvent {
  /** Grows from event to event. */
  readonly id: number;
  /** Wall clock, milliseconds since 1970 UTC. */
  readonly atMs: number;
  readonly kind: EventKind;
  readonly fields: LogFields;
}

/** Of these a person wants to know at once: webhook and script are told. */
export const NOTIFIED_KINDS: ReadonlySet<EventKind> = new Set<EventKind>([
  "server-down",
  "server-up",
  "wiring-problem",
  "group-protected",
  "group-unprotected",
  "primary-restarted",
  "primary-trusted",
  "failover-begun",
  "failover-done",
  "failover-ended",
  "failover-refused",
  "switchover-done",
  "switchover-ended",
  "safe-mode",
  "safe-mode-over",
  "sentinel-lost",
  "sentinel-back",
  "proxy-lost",
  "leader-elected",
]);

/** Logged as warnings. */
const BAD_KINDS: ReadonlySet<EventKind> = new Set<EventKind>([
  "server-down",
  "proxy-lost",
  "wiring-problem",
  "leader-lost",
  "group-unprotected",
  "primary-restarted",
  "failover-begun",
  "failover-refused",
  "switchover-ended",
  "safe-mode",
  "sentinel-lost",
  "notify-failed",
]);

/** How many are kept; older ones are in the log. */
export const EVENTS_KEPT = 1000;

export class EventLog {
  readonly #env: Pick<Env, "clock" | "log">;
  readonly #ring: ControllerEvent[] = [];
  readonly #listeners = new Set<(event: ControllerEvent) => void>();
  #lastId = 0;
  /** How often each kind has happened since the start. */
  readonly counts = new Map<EventKind, number>();

  constructor(env: Pick<Env, "clock" | "log">) {
    this.#env = env;
  }

  /** Called for each event from now on; the stop comes back. */
  onEvent(listener: (event: ControllerEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  add(kind: EventKind, fields: LogFields = {}): void {
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
    const event = this.#keep(this.#env.clock.wallMs(), kind, fields);
    if (BAD_KINDS.has(kind)) this.#env.log.warn(kind, fields);
    else this.#env.log.info(kind, fields);
    for (const listener of this.#listeners) listener(event);
  }

  /** One that another controller has logged; `live`: it has just happened, so that listeners are told. */
  recall(atMs: number, kind: EventKind, fields: LogFields, live: boolean): ControllerEvent {
    const event = this.#keep(atMs, kind, fields);
    if (live) for (const listener of this.#listeners) listener(event);
    return event;
  }

  /** Oldest first. */
  all(): readonly ControllerEvent[] {
    return this.#ring;
  }

  /** Those with a higher id, oldest first. */
  since(id: number): readonly ControllerEvent[] {
    return this.#ring.filter((event) => event.id > id);
  }

  #keep(atMs: number, kind: EventKind, fields: LogFields): ControllerEvent {
    this.#lastId = Math.max(this.#lastId + 1, Math.floor(atMs));
    const event = { id: this.#lastId, atMs, kind, fields };
    this.#ring.push(event);
    if (this.#ring.length > EVENTS_KEPT) this.#ring.shift();
    return event;
  }
}
