/**
 * Pub/Sub between MULTI and EXEC.
 *
 *   PUBLISH for the transaction's own server  ─▶ queued with the other commands, runs among them
 *   PUBLISH for another one, or before a key  ─▶ kept back; runs when EXEC has, and not when EXEC has not
 *   UNSUBSCRIBE                               ─▶ the proxy's own: done when EXEC has run
 *   SUBSCRIBE                                 ─▶ refused: its confirmation comes later than EXEC's reply
 *   PUBSUB                                    ─▶ with one group as it is; refused with several
 *
 * Rejected: running every PUBLISH after EXEC (others could get in between where one server would not let
 * them), and refusing what is for another server (frameworks set a key and publish in one transaction).
 */
import { errorReply } from "../../resp/reply-writer.ts";
import type { DataPlane } from "../data-plane.ts";
import type { Call } from "../dispatch/call.ts";
import { publishOver, publishUpstream, type Replied } from "./publish-command.ts";
import { CHANNEL, SHARD, SUBSCRIBE_WORDS } from "./topic-kind.ts";

export function isPublish(name: string): boolean {
  return name === "publish" || name === "spublish";
}

/** Why a call cannot be part of a transaction; null when Pub/Sub has nothing against it. */
export function transactionRefusal(call: Call): string | null {
  const { name } = call.command;
  if ((SUBSCRIBE_WORDS as readonly string[]).includes(name))
    return `ERR '${name}' inside a transaction is not supported by the proxy; subscribe before MULTI`;
  if (!isPubSub(name) || call.session.lane.groups.length === 1) return null;
  return `CROSSSLOT '${name}' concerns all groups and can't be part of a transaction`;
}

/** Whether the server of `slot`, a transaction's (-1: none yet), is the one that runs this call. */
export function runsWithTransaction(plane: DataPlane, call: Call, slot: number): boolean {
  const { groups, homes } = call.session.lane;
  const { name } = call.command;
  if (!isPublish(name)) return isPubSub(name);
  return groups.length === 1 || (slot >= 0 && publishUpstream(plane, call) === homes[slot]);
}

function isPubSub(name: string): boolean {
  return name.startsWith("pubsub|");
}

/** Publishes, in order, what a transaction has left to be published; `done` gets the replies. */
export function publishAfter(
  plane: DataPlane,
  calls: readonly Call[],
  done: (replies: readonly string[]) => void,
): void {
  const replies: string[] = calls.map(() => "");
  let left = calls.length;
  if (left === 0) done(replies);
  for (const [i, call] of calls.entries()) {
    const replied: Replied = (text) => {
      replies[i] = text;
      if (--left === 0) done(replies);
    };
    const upstream = publishUpstream(plane, call);
    const kind = call.command.name === "spublish" ? SHARD : CHANNEL;
    if (upstream.prepare()) publishOver(plane, call, kind, upstream, replied);
    else replied(errorReply(upstream.refusal));
  }
}
