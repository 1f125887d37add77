/**
 * What a proxy's master and its workers say to each other, over the IPC channel of the process (JSON).
 *
 *   master                                        worker
 *     │ ── start {worker, generation, config, map} ─▶ │  listens, applies the map
 *     │ ◀─ ready {address} ────────────────────────── │  (or failed {code, message}, then it exits)
 *     │ ◀─ ack {version, term} ────────────────────── │  the map, and each later one, is in force
 *     │ ── map {map} ───────────────────────────────▶ │
 *     │ ── login {login} ───────────────────────────▶ │  the servers know it by another password from now on
 *     │ ── control {lost} ──────────────────────────▶ │  no controller renews the lease, or one does again
 *     │ ◀─ stats {counters} ─────────── every second ─ │
 *     │ ◀─ servers {servers} ──────────────────────── │  what it sees of them, after each change
 *     │ ◀─ ask {id, question} ─────────────────────── │  e.g. CLIENT LIST over all workers
 *     │ ── ask {id, question} ─▶ every other worker ─▶ answer {id, answer}
 *     │ ── answers {id, answers, missing} ──────────▶ │  within 500 ms; who has not answered is missing
 *     │ ── users {records} ─────────────────────────▶ │  after `ready`: what was changed while it started
 *     │ ── drain ───────────────────────────────────▶ │  finishes its replies and exits with status 0
 *
 * Invariants: `start` comes first and once; maps arrive in the order of their versions; a worker whose
 * channel is cut (the master is gone) closes its listener at once, because the next master wants the
 * address for itself, drains within `drain_timeout_ms` and exits.
 */
import type { ErrorCode } from "../../base/shoal-error.ts";
import type { ServerLogin } from "../../contract/schemas.ts";
import type { ClusterMap } from "../../topology/cluster-map.ts";
import type { ProxyConfig } from "../proxy-config.ts";
import type { ServerSight } from "../upstream/server-sights.ts";
import type { UserRecord } from "../users/user-record.ts";

/** Plain numbers by name, summed over the workers for reports. */
export type WorkerCounters = Readonly<Record<string, number>>;

export type MasterMessage =
  | {
      readonly type: "start";
      /** Which of the N workers it is: 0 … N-1. The worker that replaces a dead one has its number. */
      readonly worker: number;
      /**
       * Grows by one with each worker process this master starts; with the master's start it makes ids
       * unique.
       */
      readonly generation: number;
      readonly config: ProxyConfig;
      readonly map: ClusterMap;
      /** What ACL SETUSER has changed since the proxy's start. */
      readonly users?: readonly UserRecord[];
      /** Who the worker is at the servers, instead of what `config` says. */
      readonly login?: ServerLogin;
    }
  /** Null: what `config` says again. */
  | { readonly type: "login"; readonly login: ServerLogin | null }
  | { readonly type: "users"; readonly records: readonly UserRecord[] }
  | { readonly type: "map"; readonly map: ClusterMap }
  | { readonly type: "control"; readonly lost: boolean }
  | { readonly type: "drain" }
  | { readonly type: "ask"; readonly id: number; readonly question: unknown }
  | {
      readonly type: "answers";
      /** The id of this worker's own `ask`. */
      readonly id: number;
      /**
       * One per worker that answered in time, in the order of the workers' numbers; its own is not among
       * them.
       */
      readonly answers: readonly unknown[];
      /** Numbers of the workers that did not. */
      readonly missing: readonly number[];
    };

export type WorkerMessage =
  | { readonly type: "ready"; readonly address: string }
  | { readonly type: "ack"; readonly version: number; readonly term: number }
  | {
      readonly type: "stats";
      readonly counters: WorkerCounters;
      /** Calls per slot since the last message, by samples: slot, calls, slot, calls … */
      readonly slotCalls?: readonly number[];
    }
  | { readonly type: "servers"; readonly servers: readonly ServerSight[] }
  | { readonly type: "failed"; readonly code: ErrorCode; readonly message: string }
  | { readonly type: "ask"; readonly id: number; readonly question: unknown }
  | { readonly type: "answer"; readonly id: number; readonly answer: unknown };
