/**
 * KEYS, FLUSHALL and FLUSHDB while slots move: asked of every group at once, they would overlook a key that
 * goes from a group which has not answered yet to one which has.
 *
 *   round 1: the groups that slots leave ──all answered──▶ round 2: every group ──▶ one answer of both
 *
 * A key that is at its source in round 1 is found (flushed) there. One that is not has moved, and keys don't
 * move back: round 2 finds (flushes) it at the target. A map that comes in between begins round 1 again, as
 * another group may be a source by it.
 *
 * DBSIZE and RANDOMKEY are left as they are: a key on its way may be counted twice or not at all.
 */
import { array, bulk } from "../../resp/reply-writer.ts";
import type { DataPlane } from "../data-plane.ts";
import { askEveryGroup } from "../dispatch/ask-groups.ts";
import type { Call } from "../dispatch/call.ts";
import { listOf } from "../dispatch/fleet-values.ts";
import type { Merge } from "../dispatch/gather.ts";
import { mergeOf, valueOf } from "../dispatch/merges.ts";
import { decodeReply } from "../../resp/reply-decoder.ts";
import { HOLD_WAIT } from "../downstream/reply-queue.ts";
import type { Session } from "../downstream/session.ts";

const TWICE = new Set(["keys", "flushall", "flushdb"]);
/** How often maps that keep coming may begin round 1 again. */
const RESTARTS_MAX = 8;

interface FirstRound {
  readonly version: number;
  readonly restarts: number;
  /** What KEYS has found; empty for the others. */
  readonly keys: Set<string>;
}

export class WholeKeyspace {
  readonly #plane: DataPlane;
  /** Sessions whose first round is over. */
  readonly #first = new WeakMap<Session, FirstRound>();

  constructor(plane: DataPlane) {
    this.#plane = plane;
  }

  /** Takes a call for all groups. Null: it is none of these. False: the session looks at it again later. */
  take(call: Call): boolean | null {
    const { session, command } = call;
    if (!TWICE.has(command.name)) return null;
    const first = this.#first.get(session);
    this.#first.delete(session);
    const version = this.#plane.slots.map?.version ?? 0;
    if (first?.version === version || (first?.restarts ?? 0) >= RESTARTS_MAX)
      return askEveryGroup(this.#plane, call, mergeWith(call, first as FirstRound));
    const keys = first?.keys ?? new Set<string>();
    return this.#ask(call, { version, keys, restarts: (first?.restarts ?? 0) + 1 });
  }

  #ask(call: Call, round: FirstRound): boolean {
    const { session, bytes, start, end } = call;
    const { sources } = this.#plane.slots.states;
    const asked = session.lane.groups.filter(
      (upstream) => sources.has(upstream.target.group) && upstream.prepare(),
    );
    this.#first.set(session, round);
    // Nothing leaves any group: what is held is held for another reason.
    if (asked.length === 0) return this.take(call) as boolean;
    let left = asked.length;
    const ended = (): void => {
      if (--left === 0) session.release(HOLD_WAIT);
    };
    session.hold(HOLD_WAIT);
    for (const upstream of asked) {
      const onReply = (_request: unknown, reply: Uint8Array, from: number, to: number): void => {
        if (call.command.name === "keys")
          for (const key of listOf(decodeReply(reply, from, to))) round.keys.add(String(key));
        ended();
      };
      // A group that fails here fails in the second round too, and says so there.
      upstream.begin({ onReply, onFailure: ended }, 0);
      upstream.output.append(bytes, start, end);
      upstream.flushSoon();
    }
    return false;
  }
}

/** The answer of the second round; for KEYS each key once, of whichever round. */
function mergeWith(call: Call, first: FirstRound): Merge {
  if (call.command.name !== "keys") return mergeOf(call.command);
  return (gather) => {
    const error = gather.errorText(false);
    if (error !== null) return error;
    const keys = new Set(first.keys);
    for (const part of gather.parts) for (const key of listOf(valueOf(part))) keys.add(String(key));
    return array([...keys].map(bulk));
  };
}
