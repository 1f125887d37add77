/** SUBSCRIBE and its like at the Sentinel face, and the messages that follow. */
import { globMatches } from "../../base/glob-match.ts";
import { type Protocol, bulk, errorReply, integer, nullReply } from "../../resp/reply-writer.ts";
import type { SentinelClient, SentinelDesk } from "./sentinel-desk.ts";
import type { SentinelMessage } from "./sentinel-events.ts";

/** Channels and patterns that one client may have subscribed to, and bytes of each. */
export const SUBSCRIPTIONS_MAX = 1000;

type Verb = "subscribe" | "psubscribe";

type Run = (desk: SentinelDesk, client: SentinelClient, words: readonly string[]) => string;

export function subscribe(verb: Verb): Run {
  return (_desk, client, words) => {
    const topics = topicsOf(client, verb);
    let reply = "";
    for (const topic of words.slice(1)) {
      const full = client.channels.size + client.patterns.size >= SUBSCRIPTIONS_MAX;
      if (full && !topics.has(topic)) {
        return `${reply}${errorReply(`ERR Cannot subscribe to more than ${SUBSCRIPTIONS_MAX} channels`)}`;
      }
      topics.add(topic);
      reply += confirmation(client, verb, bulk(topic));
    }
    return reply;
  };
}

/** Without words: from everything of the kind. One confirmation comes back even when there was nothing. */
export function unsubscribe(verb: `un${"subscribe"}` | "punsubscribe"): Run {
  return (_desk, client, words) => {
    const topics = topicsOf(client, verb === "punsubscribe" ? "psubscribe" : "subscribe");
    const wanted = words.length > 1 ? words.slice(1) : [...topics];
    if (wanted.length === 0) return confirmation(client, verb, nullReply(client.protocol));
    let reply = "";
    for (const topic of wanted) {
      topics.delete(topic);
      reply += confirmation(client, verb, bulk(topic));
    }
    return reply;
  };
}

/** What the client is told of it: once for its channel, and once for each pattern that fits. */
export function messageFrames(client: SentinelClient, { channel, text }: SentinelMessage): string {
  const { protocol } = client;
  let frames = "";
  if (client.channels.has(channel)) frames += push(protocol, [bulk("message"), bulk(channel), bulk(text)]);
  for (const pattern of client.patterns) {
    if (!globMatches(pattern, channel)) continue;
    frames += push(protocol, [bulk("pmessage"), bulk(pattern), bulk(channel), bulk(text)]);
  }
  return frames;
}

function topicsOf(client: SentinelClient, verb: Verb): Set<string> {
  return verb === "psubscribe" ? client.patterns : client.channels;
}

function confirmation(client: SentinelClient, verb: string, topic: string): string {
  const count = client.channels.size + client.patterns.size;
  return push(client.protocol, [bulk(verb), topic, integer(count)]);
}

/** Unasked for in RESP3, an array like any other in RESP2. */
function push(protocol: Protocol, elements: readonly string[]): string {
  return `${protocol === 3 ? ">" : "*"}${elements.length}\r\n${elements.join("")}`;
}
