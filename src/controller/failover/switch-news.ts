/**
 * Switches as events, on every controller: the one that made it tells when it is done, the others when they
 * see its record in the topology.
 *
 *   our own ──▶ done() ──▶ event ──▶ streams, webhook, script
 *   topology, at the start ──▶ recalled    topology, later on ──▶ event, streams
 *   we lead from now on ──▶ those of the last RETELL_MS ──▶ webhook and script again, marked `repeated`
 *
 * A leader that dies between storing a switch and telling of it has told nobody, and nobody can know. So its
 * successor tells once more: twice is a nuisance, never is a night without sleep. Rejected: a mark in the
 * topology that it has been told. It would be a new map for every proxy with each notice, and a crash between
 * telling and marking comes to the same.
 */
import type { Env } from "../../env/env.ts";
import type { LogFields } from "../../env/log.ts";
import type { SwitchRecord } from "../../topology/cluster-topology.ts";
import type { ClusterState } from "../cluster-state.ts";
import type { ControllerEvent, EventKind, EventLog } from "../events.ts";

/** What a leader before us has done so lately may not have been told: a lease, and two notices' time. */
export const RETELL_MS = 60_000;

export interface SwitchNewsParts {
  readonly id: string;
  readonly state: ClusterState;
  readonly events: EventLog;
  /** Tells webhook and script again. */
  readonly retell: (event: ControllerEvent) => void;
}

export class SwitchNews {
  readonly #env: Pick<Env, "clock">;
  readonly #parts: SwitchNewsParts;
  /** Of switches that this process has not made. */
  readonly #recalled = new Map<string, ControllerEvent>();
  #running = false;
  #leading = false;

  constructor(env: Pick<Env, "clock">, parts: SwitchNewsParts) {
    this.#env = env;
    this.#parts = parts;
    parts.state.onChange(() => this.#follow());
  }

  /** Switches of the time before this process are events too. */
  start(): void {
    this.#running = true;
    for (const record of this.#records()) this.#recall(record, false);
    this.#follow();
  }

  /** We have made it. `more`: what is known of it besides the record. */
  done(record: SwitchRecord, more: LogFields = {}): void {
    this.#parts.events.add(kindOf(record), { ...fieldsOf(record), ...more });
  }

  #follow(): void {
    const { state, id } = this.#parts;
    if (!this.#running) return;
    // Our own is told when it is done; it stands in the topology a moment before.
    for (const record of this.#records()) if (record.controller !== id) this.#recall(record, true);
    if (state.leading && !this.#leading) this.#retell();
    this.#leading = state.leading;
    const kept = new Set(this.#records().map(keyOf));
    for (const key of this.#recalled.keys()) if (!kept.has(key)) this.#recalled.delete(key);
  }

  #retell(): void {
    const sinceMs = this.#env.clock.wallMs() - RETELL_MS;
    for (const event of this.#recalled.values()) if (event.atMs >= sinceMs) this.#parts.retell(event);
  }

  #recall(record: SwitchRecord, live: boolean): void {
    const key = keyOf(record);
    if (this.#recalled.has(key)) return;
    const event = this.#parts.events.recall(record.endedAtMs, kindOf(record), fieldsOf(record), live);
    this.#recalled.set(key, event);
  }

  #records(): readonly SwitchRecord[] {
    return this.#parts.state.topology?.switches ?? [];
  }
}

function kindOf({ kind }: SwitchRecord): EventKind {
  return kind === "failover" ? "failover-done" : "switchover-done";
}

function keyOf({ group, endedAtMs }: SwitchRecord): string {
  return `${group} ${endedAtMs}`;
}

/** The same words whoever tells it, and however late. */
function fieldsOf(record: SwitchRecord): LogFields {
  const { group, from, to, controller, reason, startedAtMs, endedAtMs } = record;
  const { silentMs, lostBytesMax, acknowledgedLost } = record;
  const durationMs = endedAtMs - startedAtMs;
  return { group, from, to, controller, reason, durationMs, silentMs, lostBytesMax, acknowledgedLost };
}
