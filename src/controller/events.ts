/** What happened, for people: a ring in memory and a line in the log for each. */
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
  "wiring-problem": "a replica must not be touched, or cannot be wired; somebody has to look",
  "proxy-joined": "a proxy reports for the first time, or again after it was lost",
  "proxy-lost": "a proxy's lease has run out",
  "proxy-left": "a proxy has drained and gone",
  "stream-cut": "a proxy did not read its map stream and was cut off",
} as const;

export type EventKind = keyof typeof EVENT_KINDS;

export interface ControllerEvent {
  /** Wall clock, milliseconds since 1970 UTC. */
  readonly atMs: number;
  readonly kind: EventKind;
  readonly fields: LogFields;
}

/** How many are kept; older ones are in the log. */
export const EVENTS_KEPT = 1000;

export class EventLog {
  readonly #env: Pick<Env, "clock" | "log">;
  readonly #ring: ControllerEvent[] = [];
  /** How often each kind has happened since the start. */
  readonly counts = new Map<EventKind, number>();

  constructor(env: Pick<Env, "clock" | "log">) {
    this.#env = env;
  }

  add(kind: EventKind, fields: LogFields = {}): void {
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
    this.#ring.push({ atMs: this.#env.clock.wallMs(), kind, fields });
    if (this.#ring.length > EVENTS_KEPT) this.#ring.shift();
    const bad =
      kind === "server-down" || kind === "proxy-lost" || kind === "wiring-problem" || kind === "leader-lost";
    if (bad) this.#env.log.warn(kind, fields);
    else this.#env.log.info(kind, fields);
  }

  /** Oldest first. */
  all(): readonly ControllerEvent[] {
    return this.#ring;
  }
}
