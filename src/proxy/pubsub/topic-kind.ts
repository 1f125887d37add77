/** The three kinds of things that can be subscribed to, and their words in the protocol. */
export const CHANNEL = 0;
export const PATTERN = 1;
/** A shard channel: a name space of its own, with SSUBSCRIBE and SPUBLISH. */
export const SHARD = 2;

export type TopicKind = 0 | 1 | 2;

export const TOPIC_KINDS: readonly TopicKind[] = [CHANNEL, PATTERN, SHARD];

/** By kind: the words of the commands, which are those of the confirmations too. */
export const SUBSCRIBE_WORDS = ["subscribe", "psubscribe", "ssubscribe"] as const;
export const UNSUBSCRIBE_WORDS = ["unsubscribe", "punsubscribe", "sunsubscribe"] as const;

/**
 * Whether every group publishes on this channel: each server tells about its own keys. Such a channel is
 * subscribed at all groups, and what they say is merged.
 */
export function isKeyspaceChannel(name: string): boolean {
  return name.startsWith("__keyspace@") || name.startsWith("__keyevent@");
}
