/**
 * The upstreams for one database and one protocol, by slot: what a session in that state uses.
 *
 *   bySlot  the hot path's: where a request goes if it may go without another question; else the gate
 *   homes   everybody else's: where the slot lives, be it usable at the moment or not
 *
 * A gate is an upstream that is never open. A slot that is locked or moving has it in `bySlot`, so that the
 * hot path's one question (`open`) leads its requests to the dispatcher, which asks the rest. While no slot
 * is unsettled the two tables are one.
 *
 * A server answers in the protocol, and for the database, of the connection; so sessions that differ in
 * either can't share one. A lane is made when the first session needs it: most clusters ever use two
 * (database 0, RESP2 and RESP3).
 */
import type { Protocol } from "../../resp/reply-writer.ts";
import type { Upstream } from "../upstream/upstream.ts";

/**
 * Whose requests share the connections: "noloop" and "noloop-broadcast" are for sessions that track so, whose
 * writes the servers must be able to tell from others'; see tracking/no-loop-links.ts.
 */
export type LaneKind = "shared" | "noloop" | "noloop-broadcast";

export interface Lane {
  readonly database: number;
  readonly protocol: Protocol;
  readonly kind: LaneKind;
  /** Which of those that differ in nothing else; see acks/. */
  readonly stripe: number;
  /** One entry per slot: its home, or the gate. Replaced whole when a map is applied. */
  bySlot: Upstream[];
  /** One entry per slot; several slots share an upstream. Replaced whole when a map is applied. */
  homes: Upstream[];
  /** One per group, in the order of the map. */
  groups: Upstream[];
}
