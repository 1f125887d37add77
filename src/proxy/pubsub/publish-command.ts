/**
 * PUBLISH and SPUBLISH: sent to the primary of the channel's slot, in the session's order with its other
 * commands for that server.
 *
 * The reply is the number of receivers. A server counts connections, and this worker is one of them however
 * many of its sessions have subscribed; so what the worker adds to the server's count is replaced by the
 * number of its sessions. Other workers and other proxies count as one each: asking them would make every
 * PUBLISH wait for all of them.
 *
 * A RESP3 session may publish to itself. A server then pushes the message before the reply; the two come over
 * different connections here, so such a PUBLISH goes over the one on which its message will come.
 */
import type { Bytes } from "../../base/bytes.ts";
import { errorReply, integer } from "../../resp/reply-writer.ts";
import { decodeReply } from "../../resp/reply-decoder.ts";
import { slotOf } from "../../routing/slot-of.ts";
import type { DataPlane } from "../data-plane.ts";
import { argument, type Call, fail } from "../dispatch/call.ts";
import { HOLD_DRAIN, HOLD_WAIT } from "../downstream/reply-queue.ts";
import type { Session } from "../downstream/session.ts";
import type { Upstream } from "../upstream/upstream.ts";
import { globMatches } from "../../base/glob-match.ts";
import type { PubSubLink } from "./pubsub-link.ts";
import type { Subscriber } from "./subscriber.ts";
import { CHANNEL, PATTERN, SHARD, type TopicKind } from "./topic-kind.ts";

type Handler = (plane: DataPlane, call: Call) => boolean;

/** The reply to a PUBLISH, encoded. */
export type Replied = (text: string) => void;

/** Where a PUBLISH goes. */
export function publishUpstream(plane: DataPlane, call: Call): Upstream {
  const { request, bytes, session } = call;
  const slot = slotOf(bytes, request.argStart[1], request.argEnd[1], plane.slots.mask);
  return session.lane.homes[slot];
}

function publish(kind: TopicKind): Handler {
  return (plane, call) => {
    const { session } = call;
    const upstream = publishUpstream(plane, call);
    if (plane.holding.enter(session, upstream)) return false;
    const hub = plane.pubsub;
    if (hub.empty || !hub.reaches(kind, argument(call, 1))) return plane.dispatcher.sendTo(call, upstream);
    const link = hub.readyLink(upstream.target.group);
    if (link !== null && hears(session, kind, argument(call, 1)))
      return publishToSelf(plane, call, kind, link);
    if (!upstream.takes()) return fail(session, upstream.refusal);
    const place = session.reserve();
    publishOver(plane, call, kind, upstream, (text) => session.complete(place, text));
    return true;
  };
}

/** Sends it; `replied` gets the reply with the count made right, or the error. */
export function publishOver(
  plane: DataPlane,
  call: Call,
  kind: TopicKind,
  upstream: Upstream,
  replied: Replied,
): void {
  const channel = argument(call, 1);
  const { group } = upstream.target;
  upstream.begin(
    {
      onReply: (_request, bytes, start, end) =>
        replied(countedReply(plane, kind, channel, group, bytes, start, end)),
      onFailure: (_request, text) => replied(errorReply(text)),
    },
    0,
  );
  upstream.output.append(call.bytes, call.start, call.end);
  upstream.flushSoon();
}

function countedReply(
  plane: DataPlane,
  kind: TopicKind,
  channel: string,
  group: string,
  bytes: Bytes,
  start: number,
  end: number,
): string {
  const reply = decodeReply(bytes, start, end);
  if (typeof reply !== "number") return errorReply(String((reply as { text?: string }).text));
  const { counted, sessions } = plane.pubsub.receivers(kind, channel, group);
  return integer(Math.max(0, reply - counted) + sessions);
}

/** Whether the session itself has subscribed to what it publishes. */
function hears(session: Session, kind: TopicKind, channel: string): boolean {
  const { subscriber } = session;
  if (subscriber === null || subscriber.total === 0) return false;
  if (subscriber.topics[kind].has(channel)) return true;
  if (kind === SHARD) return false;
  return [...subscriber.topics[PATTERN].keys()].some((pattern) => globMatches(pattern, channel));
}

/** Alone, because it leaves the way that keeps the order of the session's commands. */
function publishToSelf(plane: DataPlane, call: Call, kind: TopicKind, link: PubSubLink): boolean {
  const { session } = call;
  const subscriber = session.subscriber as Subscriber;
  if (session.inFlight > 0) {
    session.hold(HOLD_DRAIN);
    return false;
  }
  const channel = argument(call, 1);
  const { group } = link.target;
  const place = session.reserve();
  subscriber.publishing = true;
  session.hold(HOLD_WAIT);
  link.request(call.bytes, call.start, call.end, (error, bytes, start, end) => {
    subscriber.publishing = false;
    const failed = error !== null || bytes === null;
    session.complete(
      place,
      failed
        ? errorReply(error ?? "ERR no reply")
        : countedReply(plane, kind, channel, group, bytes, start, end),
    );
    session.release(HOLD_WAIT);
  });
  return true;
}

export const PUBLISH_COMMANDS: readonly (readonly [string, Handler])[] = [
  ["publish", publish(CHANNEL)],
  ["spublish", publish(SHARD)],
];
