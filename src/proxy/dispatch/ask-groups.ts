/** One request to the primary of every group: over the shared connections, or over connections of its own. */
import { bulk } from "../../resp/reply-writer.ts";
import type { DataPlane } from "../data-plane.ts";
import type { ReplyOwner } from "../request.ts";
import { PrivatePool } from "../upstream/private-pool.ts";
import type { Upstream } from "../upstream/upstream.ts";
import type { Call } from "./call.ts";
import { Gather, type Merge } from "./gather.ts";

/**
 * Takes a call that concerns all groups. True: an answer will come; false: the session looks at it again
 * later.
 */
export type FanOut = (plane: DataPlane, call: Call) => boolean;

/** For replies that nobody wants. */
export const NOBODY: ReplyOwner = { onReply: () => undefined, onFailure: () => undefined };

/** A request in array form, encoded. Words are Latin-1: a character per byte. */
export function requestOf(...words: readonly string[]): string {
  return `*${words.length}\r\n${words.map(bulk).join("")}`;
}

/** Sends the request as it is to every group. */
export function askEveryGroup(plane: DataPlane, call: Call, merge: Merge): true {
  const { session, bytes, start, end } = call;
  const gather = new Gather(plane, session, call.command, merge);
  for (const upstream of session.lane.groups) {
    if (!gather.begin(upstream)) continue;
    upstream.output.append(bytes, start, end);
    upstream.flushSoon();
  }
  gather.seal();
  return true;
}

/**
 * The request goes to every group, and `merge` makes one answer of theirs. A cluster of one group answers
 * for itself: then nothing is put into other words.
 */
export function merged(merge: (call: Call) => Merge): FanOut {
  return (plane, call) => {
    const { groups } = call.session.lane;
    if (groups.length === 1) return plane.dispatcher.sendTo(call, groups[0]);
    return askEveryGroup(plane, call, merge(call));
  };
}

/**
 * As `askEveryGroup`, each over a connection of its own to where `shared` leads: the call may wait at the
 * server, or must reach it while the shared connection stands behind a script that runs. `before`: a request
 * sent ahead of it on the same connections, "" for none. The connections come back; they are given back when
 * they owe nothing.
 */
export function askPrivately(
  plane: DataPlane,
  gather: Gather,
  call: Call,
  shared: readonly Upstream[],
  before: string,
): Upstream[] {
  const taken: Upstream[] = [];
  for (const like of shared) {
    const upstream = plane.privates.take(like);
    if (upstream === null) {
      const error = plane.privates.full ? PrivatePool.FULL : like.refusal;
      gather.parts.push({ group: like.target.group, block: null, length: 0, error });
      continue;
    }
    taken.push(upstream);
    upstream.patient = true;
    if (before !== "") {
      upstream.begin(NOBODY, 0);
      upstream.output.appendLatin1(before);
    }
    gather.begin(upstream);
    upstream.output.append(call.bytes, call.start, call.end);
    upstream.flushSoon();
    upstream.whenIdle(() => {
      upstream.patient = false;
      plane.privates.give(upstream);
    });
  }
  return taken;
}
