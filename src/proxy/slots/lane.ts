/**
 * The upstreams for one database and one protocol, by slot: what a session in that state uses.
 *
 * A server answers in the protocol, and for the database, of the connection; so sessions that differ in
 * either can't share one. A lane is made when the first session needs it: most clusters ever use two
 * (database 0, RESP2 and RESP3).
 */
import type { Protocol } from "../../resp/reply-writer.ts";
import type { Upstream } from "../upstream/upstream.ts";

export interface Lane {
  readonly database: number;
  readonly protocol: Protocol;
  /** One entry per slot; several slots share an upstream. Replaced whole when a map is applied. */
  bySlot: Upstream[];
  /** One per group, in the order of the map. */
  groups: Upstream[];
}
