/**
 * WAIT and WAITAOF: how many replicas have got the session's writes; of several groups the least.
 *
 *   session ─▶ (no reply owed) ─┬─▶ g1, a connection of its own: PING, WAIT n t ─▶ 2 ┐
 *                               └─▶ g2, a connection of its own: PING, WAIT n t ─▶ 1 ┴─▶ 1
 *
 * A server waits for the replication offset that the asking connection has seen last, and the session's
 * writes went over connections that it shares with others. PING makes the connection see the offset of now;
 * as no reply is owed any more, all of the session's writes are before it. On a shared connection WAIT would
 * block everybody.
 */
import type { Bytes } from "../../base/bytes.ts";
import { decodeReply } from "../../resp/reply-decoder.ts";
import { array, integer } from "../../resp/reply-writer.ts";
import type { DataPlane } from "../data-plane.ts";
import { HOLD_DRAIN, HOLD_WAIT } from "../downstream/reply-queue.ts";
import type { ReplyOwner } from "../request.ts";
import type { Upstream } from "../upstream/upstream.ts";
import { askPrivately, requestOf } from "./ask-groups.ts";
import type { Blocked } from "./blocking-call.ts";
import type { Call } from "./call.ts";
import { listOf } from "./fleet-values.ts";
import { Gather, type Merge } from "./gather.ts";
import { valueOf } from "./merges.ts";

/** WAIT's integer, or WAITAOF's two. */
const least: Merge = (gather) => {
  const error = gather.errorText(false);
  if (error !== null) return error;
  const values = gather.parts.map(valueOf);
  if (!Array.isArray(values[0])) return integer(Math.min(...(values as number[])));
  const [local, replicas] = [0, 1].map((i) => Math.min(...values.map((value) => Number(listOf(value)[i]))));
  return array([integer(local), integer(replicas)]);
};

class Waiting implements Blocked {
  readonly #plane: DataPlane;
  readonly #shared: readonly Upstream[];
  readonly #upstreams: readonly Upstream[];

  constructor(plane: DataPlane, shared: readonly Upstream[], upstreams: readonly Upstream[]) {
    this.#plane = plane;
    this.#shared = shared;
    this.#upstreams = upstreams;
  }

  unblock(error: boolean, told: (count: number) => void): void {
    const asked = this.#upstreams.filter((upstream) => upstream.pending > 0 && upstream.clientId !== "");
    let left = asked.length;
    let unblocked = 0;
    if (left === 0) told(0);
    const ended = (count: number): void => {
      unblocked = Math.max(unblocked, count);
      if (--left === 0) told(unblocked);
    };
    const owner: ReplyOwner = {
      onReply: (_request, bytes: Bytes, start, end) => ended(Number(decodeReply(bytes, start, end)) || 0),
      onFailure: () => ended(0),
    };
    for (const upstream of asked) {
      const shared = this.#shared.find((each) => each.target.address === upstream.target.address);
      if (shared === undefined || !shared.prepare()) {
        ended(0);
        continue;
      }
      shared.begin(owner, 0);
      shared.output.appendLatin1(
        requestOf("CLIENT", "UNBLOCK", upstream.clientId, error ? "ERROR" : "TIMEOUT"),
      );
      shared.flushSoon();
    }
  }

  /** Nothing is lost with the reply: the connections are cut. */
  clientGone(): void {
    for (const upstream of this.#upstreams) if (upstream.pending > 0) this.#plane.privates.discard(upstream);
  }
}

/** Takes WAIT or WAITAOF. False: not now, replies are owed. */
export function wait(plane: DataPlane, call: Call): boolean {
  const { session } = call;
  if (session.inFlight > 0) {
    session.hold(HOLD_DRAIN);
    return false;
  }
  const gather = new Gather(plane, session, call.command, (parts) => {
    session.blocked = null;
    session.release(HOLD_WAIT);
    return least(parts);
  });
  session.hold(HOLD_WAIT);
  const { groups } = session.lane;
  session.blocked = new Waiting(plane, groups, askPrivately(plane, gather, call, groups, requestOf("PING")));
  // Read on, although requests wait: the client's end must be seen at once.
  session.connection.setReading(true);
  gather.seal();
  return true;
}
