/**
 * What one session has subscribed to, and the way of a message to it.
 *
 *   message ─▶ no reply owed ─▶ output queue at once
 *           └▶ replies owed  ─▶ takes its place behind them: one may be on its way in pieces, and one may be
 *                               the confirmation of the very channel
 *
 * A message may therefore come a little later than on a bare server, never earlier than its confirmation, and
 * messages keep their order.
 */
import type { Bytes } from "../../base/bytes.ts";
import type { Session } from "../downstream/session.ts";
import type { Topic } from "./topic.ts";
import { CHANNEL, PATTERN, SHARD, type TopicKind } from "./topic-kind.ts";

const PUSH = 62;
const ARRAY = 42;

export class Subscriber {
  readonly session: Session;
  /** By kind, by name. */
  readonly topics: readonly [Map<string, Topic>, Map<string, Topic>, Map<string, Topic>] = [
    new Map(),
    new Map(),
    new Map(),
  ];
  /**
   * It waits for the reply to its own PUBLISH: as on a server, the message comes before the reply.
   */
  publishing = false;

  constructor(session: Session) {
    this.session = session;
  }

  /** Subscriptions of all kinds: with one or more, a RESP2 session may do nothing else. */
  get total(): number {
    const [channels, patterns, shards] = this.topics;
    return channels.size + patterns.size + shards.size;
  }

  /** The number in a confirmation: channels and patterns are counted together, shard channels apart. */
  countWith(kind: TopicKind): number {
    if (kind === SHARD) return this.topics[SHARD].size;
    return this.topics[CHANNEL].size + this.topics[PATTERN].size;
  }

  /** Hands it the frame `bytes[start, end)`, whose first byte is made to fit the session's protocol. */
  deliver(bytes: Bytes, start: number, end: number): void {
    const { session } = this;
    bytes[start] = session.lane.protocol === 3 ? PUSH : ARRAY;
    // While a server waits on the session's behalf nothing is on its way in pieces.
    session.pushBytes(bytes, start, end, this.publishing || session.blocked !== null);
  }
}
