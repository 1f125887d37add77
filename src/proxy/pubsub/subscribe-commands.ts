/**
 * SUBSCRIBE, UNSUBSCRIBE and their like for patterns and shard channels. Replies are those of Redis 7.0
 * (pubsub.c), one for each name.
 *
 *   SUBSCRIBE a b ─▶ two places among the session's replies ─▶ each is answered when the server has confirmed
 *
 * so that a message published after a confirmation was read is not missed. The number in a confirmation is
 * fixed when the command is run; it is right as long as the subscriptions before it do not fail.
 */
import { bulk, errorReply, integer, nullReply } from "../../resp/reply-writer.ts";
import type { DataPlane } from "../data-plane.ts";
import { answer, argument, type Call } from "../dispatch/call.ts";
import type { Session } from "../downstream/session.ts";
import { KIND_PLAIN, type Request } from "../request.ts";
import { Subscriber } from "./subscriber.ts";
import { CHANNEL, PATTERN, SHARD, SUBSCRIBE_WORDS, type TopicKind, UNSUBSCRIBE_WORDS } from "./topic-kind.ts";

type Handler = (plane: DataPlane, call: Call) => boolean;

function confirmation(session: Session, word: string, name: string | null, count: number): string {
  const { protocol } = session.lane;
  const text = name === null ? nullReply(protocol) : bulk(name);
  return `${protocol === 3 ? ">" : "*"}3\r\n${bulk(word)}${text}${integer(count)}`;
}

/** Confirmations are no replies to Redis: CLIENT REPLY OFF does not keep them back. */
function unmuted<T>(session: Session, run: () => T): T {
  const { replyKind } = session;
  session.replyKind = KIND_PLAIN;
  const result = run();
  session.replyKind = replyKind;
  return result;
}

function reserve(session: Session): Request {
  return unmuted(session, () => session.reserve());
}

function say(session: Session, text: string): void {
  unmuted(session, () => session.answer(text));
}

function subscribe(kind: TopicKind): Handler {
  return (plane, call) => {
    const { session, request } = call;
    session.subscriber ??= new Subscriber(session);
    for (let i = 1; i < request.argc; i++) subscribeTo(plane, session.subscriber, kind, argument(call, i));
    return true;
  };
}

function subscribeTo(plane: DataPlane, subscriber: Subscriber, kind: TopicKind, name: string): void {
  const { session } = subscriber;
  const word = SUBSCRIBE_WORDS[kind];
  const has = subscriber.topics[kind].get(name);
  const refusal = has === undefined ? plane.pubsub.refusal(kind, name) : null;
  if (refusal !== null) {
    say(session, errorReply(refusal));
    return;
  }
  const topic = has ?? plane.pubsub.join(subscriber, kind, name);
  const text = confirmation(session, word, name, subscriber.countWith(kind));
  if (topic.ready) {
    say(session, text);
    return;
  }
  const place = reserve(session);
  topic.whenReady(subscriber, (error) => session.complete(place, error === null ? text : errorReply(error)));
}

function unsubscribe(kind: TopicKind): Handler {
  return (plane, call) => {
    const { session, request } = call;
    const names = Array.from({ length: request.argc - 1 }, (_, i) => argument(call, i + 1));
    if (names.length === 0 && session.subscriber !== null)
      names.push(...session.subscriber.topics[kind].keys());
    for (const name of names) unsubscribeFrom(plane, session, kind, name);
    if (names.length > 0) return true;
    const count = session.subscriber?.countWith(kind) ?? 0;
    say(session, confirmation(session, UNSUBSCRIBE_WORDS[kind], null, count));
    return true;
  };
}

function unsubscribeFrom(plane: DataPlane, session: Session, kind: TopicKind, name: string): void {
  const { subscriber } = session;
  const topic = subscriber?.topics[kind].get(name);
  const text = (): string =>
    confirmation(session, UNSUBSCRIBE_WORDS[kind], name, subscriber?.countWith(kind) ?? 0);
  // Inside EXEC the answer is wanted at once.
  const waits = session.capture === null && topic?.size === 1;
  if (subscriber === null || topic === undefined || !waits) {
    if (subscriber !== null && topic !== undefined) plane.pubsub.leave(subscriber, topic, nothing);
    say(session, text());
    return;
  }
  // PUBSUB NUMSUB and a publisher's count must not find a channel that is left: the server has to know.
  const place = reserve(session);
  let confirmed = "";
  let done = false;
  plane.pubsub.leave(subscriber, topic, () => {
    done = true;
    if (confirmed !== "") session.complete(place, confirmed);
  });
  confirmed = text();
  if (done) session.complete(place, confirmed);
}

/** Ends all subscriptions of a session: RESET, or its end. */
export function endSubscriptions(plane: DataPlane, session: Session): void {
  if (session.subscriber !== null) plane.pubsub.leaveAll(session.subscriber);
  session.subscriber = null;
  session.updatePlain();
}

// ── what a session with subscriptions may do ────────────────────────────────────────────────────────────

/** The only commands for a RESP2 session with subscriptions, where a reply could be taken for a message. */
const LISTENER_COMMANDS = new Set([...SUBSCRIBE_WORDS, ...UNSUBSCRIBE_WORDS, "ping", "quit", "reset"]);

/** Why a session with subscriptions may not run `name`; null when it may. */
export function listenerRefusal(session: Session, name: string): string | null {
  if (!session.onlyListens || LISTENER_COMMANDS.has(name)) return null;
  return (
    `ERR Can't execute '${name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET ` +
    "are allowed in this context"
  );
}

/** PING of such a session. */
export function listenerPong(call: Call): boolean {
  const text = call.request.argc === 2 ? argument(call, 1) : "";
  return answer(call, `*2\r\n${bulk("pong")}${bulk(text)}`);
}

function nothing(): void {}

export const SUBSCRIBE_COMMANDS: readonly (readonly [string, Handler])[] = [
  ["subscribe", subscribe(CHANNEL)],
  ["psubscribe", subscribe(PATTERN)],
  ["ssubscribe", subscribe(SHARD)],
  ["unsubscribe", unsubscribe(CHANNEL)],
  ["punsubscribe", unsubscribe(PATTERN)],
  ["sunsubscribe", unsubscribe(SHARD)],
];
