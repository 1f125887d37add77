/**
 * The subscriptions of all sessions of a worker.
 *
 *   session ─▶ Subscriber ─▶ Topic ─▶ PubSubLink (one per group) ─▶ primary
 *          ◀── deliver ◀──── find ◀── message ──┘
 *
 * However many sessions subscribe to a channel, the worker does so once, at the primary of the channel's
 * slot, which is where every proxy sends its PUBLISH: a message reaches each worker once, and no other
 * server is bothered. Patterns, and the channels of keyspace notifications (with `subscribe_at =
 * "all-groups"` every channel: a script publishes at the server that runs it), have no one slot: they are
 * subscribed at every group, and since a message is published at one server only it still comes once.
 *
 * When a map moves a channel to another group it stays subscribed at the old one for a while: proxies that
 * have not heard yet publish there. A server that has been replaced as primary is left at once, because as a
 * replica it repeats what its primary gets.
 */
import { writeLatin1 } from "../../base/bytes.ts";
import type { Timer } from "../../env/env.ts";
import { slotOf } from "../../routing/slot-of.ts";
import type { DataPlane } from "../data-plane.ts";
import type { UpstreamTarget } from "../upstream/handshake.ts";
import { DeliveryBudget } from "./delivery-budget.ts";
import { globMatches } from "../../base/glob-match.ts";
import { PubSubLink } from "./pubsub-link.ts";
import type { Subscriber } from "./subscriber.ts";
import { Topic } from "./topic.ts";
import { CHANNEL, isKeyspaceChannel, PATTERN, TOPIC_KINDS, type TopicKind } from "./topic-kind.ts";

/** How long a channel stays subscribed where it was, after its slot has moved. */
const MOVED_LINGER_MS = 5000;
/** Channels, patterns and shard channels of one worker. */
const TOPICS_MAX = 1_000_000;

/** How many receivers of a channel this worker is, as a server counts it and as it is. */
export interface Receivers {
  /** Counted by the server: one for the channel, one for each pattern that fits. */
  counted: number;
  /** Sessions, one for each of their subscriptions that fits. */
  sessions: number;
}

export class PubSubHub {
  readonly plane: DataPlane;
  readonly budget: DeliveryBudget;
  readonly #topics: readonly [Map<string, Topic>, Map<string, Topic>, Map<string, Topic>] = [
    new Map(),
    new Map(),
    new Map(),
  ];
  /** By group. */
  readonly #links = new Map<string, PubSubLink>();
  #sweep: Timer | null = null;

  constructor(plane: DataPlane) {
    this.plane = plane;
    this.budget = new DeliveryBudget(plane.env, () => {
      for (const link of this.#links.values()) link.resume();
    });
  }

  find(kind: TopicKind, name: string): Topic | undefined {
    return this.#topics[kind].get(name);
  }

  /** Nobody of this worker has subscribed to anything. */
  get empty(): boolean {
    return this.#topics.every((topics) => topics.size === 0);
  }

  /** The link to a group's primary, if it can take requests now. */
  readyLink(group: string): PubSubLink | null {
    const link = this.#links.get(group);
    return link?.state === "ready" ? link : null;
  }

  // ── joining and leaving ─────────────────────────────────────────────────────────────────────────────

  /** Why `name` cannot be subscribed to now; null when it can. */
  refusal(kind: TopicKind, name: string): string | null {
    const [channels, patterns, shards] = this.#topics;
    if (channels.size + patterns.size + shards.size >= TOPICS_MAX)
      return `ERR Cannot subscribe to one more name: this worker has ${TOPICS_MAX} already`;
    const links = this.#homes(kind, name);
    return links.every((link) => link.state === "waiting") ? links[0].refusal : null;
  }

  join(subscriber: Subscriber, kind: TopicKind, name: string): Topic {
    let topic = this.find(kind, name);
    if (topic === undefined) {
      topic = new Topic(kind, name, (who, which) => this.leave(who, which, nothing));
      this.#topics[kind].set(name, topic);
      for (const link of this.#homes(kind, name)) this.#place(topic, link);
    }
    topic.add(subscriber);
    subscriber.topics[kind].set(name, topic);
    subscriber.session.updatePlain();
    return topic;
  }

  /** `done` is called once: when the server knows it too, if it has to. */
  leave(subscriber: Subscriber, topic: Topic, done: () => void): void {
    subscriber.topics[topic.kind].delete(topic.name);
    topic.remove(subscriber);
    subscriber.session.updatePlain();
    if (topic.size > 0) {
      done();
      return;
    }
    this.#topics[topic.kind].delete(topic.name);
    topic.end();
    let left = topic.places.size;
    const links = [...topic.places.keys()];
    topic.places.clear();
    if (left === 0) done();
    for (const link of links) link.drop(topic, () => --left === 0 && done());
  }

  /** The session is gone, or RESET. */
  leaveAll(subscriber: Subscriber): void {
    // A Map may lose the entry that is visited.
    for (const kind of TOPIC_KINDS)
      for (const topic of subscriber.topics[kind].values()) this.leave(subscriber, topic, nothing);
  }

  // ── where topics are ────────────────────────────────────────────────────────────────────────────────

  #place(topic: Topic, link: PubSubLink): void {
    topic.places.set(link, false);
    link.want(topic);
  }

  /** The links at which a topic belongs by the map in force. */
  #homes(kind: TopicKind, name: string): PubSubLink[] {
    const { groups, homes } = this.plane.slots.lane(0, 2);
    const everywhere = isKeyspaceChannel(name) || this.plane.config.subscribe_at === "all-groups";
    if (kind === PATTERN || (kind === CHANNEL && everywhere))
      return groups.map((upstream) => this.#linkTo(upstream.target));
    return [this.#linkTo(homes[this.#slotOf(name)].target)];
  }

  #slotOf(name: string): number {
    const bytes = new Uint8Array(name.length);
    writeLatin1(bytes, 0, name);
    return slotOf(bytes, 0, bytes.length, this.plane.slots.mask);
  }

  #linkTo(target: UpstreamTarget): PubSubLink {
    let link = this.#links.get(target.group);
    if (link === undefined) {
      link = new PubSubLink(this, target);
      this.#links.set(target.group, link);
    }
    return link;
  }

  /** A map has come into force. */
  applyMap(): void {
    const targets = new Map(
      this.plane.slots.lane(0, 2).groups.map(({ target }) => [target.group, target] as const),
    );
    for (const [group, link] of this.#links) {
      const target = targets.get(group);
      if (target?.address !== link.target.address) this.#replace(group, link, target);
    }
    let moved = 0;
    for (const topics of this.#topics) for (const topic of topics.values()) moved += this.#rehome(topic);
    if (moved === 0) return;
    this.plane.env.log.info("channels moved to other groups", { channels: moved });
    this.#sweepLater();
  }

  /** The server of `link` is no longer the group's primary, or the group is gone. */
  #replace(group: string, link: PubSubLink, target: UpstreamTarget | undefined): void {
    const { topics } = link;
    this.#links.delete(group);
    if (target !== undefined && topics.size > 0) {
      this.#linkTo(target).startGap();
      const servers = { group, from: link.target.address, to: target.address };
      this.plane.env.log.warn("subscriptions move to the new primary", { ...servers, topics: topics.size });
    }
    for (const topic of topics) topic.places.delete(link);
    link.close();
  }

  /** 1 when the topic has to be subscribed at a link that it was not at. */
  #rehome(topic: Topic): number {
    let moved = 0;
    for (const link of this.#homes(topic.kind, topic.name)) {
      if (topic.places.has(link)) continue;
      this.#place(topic, link);
      moved = 1;
    }
    return moved;
  }

  #sweepLater(): void {
    this.#sweep?.cancel();
    this.#sweep = this.plane.env.timers.after(MOVED_LINGER_MS, () => this.#leaveOldHomes());
  }

  #leaveOldHomes(): void {
    let unfinished = false;
    for (const topics of this.#topics)
      for (const topic of topics.values()) unfinished = !this.#leaveOldHomesOf(topic) || unfinished;
    this.#sweep = null;
    if (unfinished) this.#sweepLater();
  }

  /** Unsubscribes where a topic no longer belongs, once it is subscribed where it does. False: not yet. */
  #leaveOldHomesOf(topic: Topic): boolean {
    const homes = this.#homes(topic.kind, topic.name);
    const strangers = [...topic.places.keys()].filter((link) => !homes.includes(link));
    if (strangers.length === 0) return true;
    if (!homes.every((link) => topic.places.get(link) === true)) return false;
    for (const link of strangers) this.#leavePlace(topic, link);
    return true;
  }

  #leavePlace(topic: Topic, link: PubSubLink): void {
    topic.places.delete(link);
    link.drop(topic, nothing);
  }

  // ── counting ────────────────────────────────────────────────────────────────────────────────────────

  /** Whether PUBLISH (`kind` CHANNEL) or SPUBLISH (SHARD) on `channel` reaches a session of this worker. */
  reaches(kind: TopicKind, channel: string): boolean {
    if (this.#topics[kind].has(channel)) return true;
    return kind === CHANNEL && this.#fitting(channel).length > 0;
  }

  /** What this worker adds to the count of receivers of a message that is published at `group`. */
  receivers(kind: TopicKind, channel: string, group: string): Receivers {
    const topics = kind === CHANNEL ? this.#fitting(channel) : [];
    const own = this.#topics[kind].get(channel);
    if (own !== undefined) topics.push(own);
    return this.#count(topics, group);
  }

  /** As `receivers`, for PUBSUB NUMSUB and SHARDNUMSUB: without patterns, and at the channel's own group. */
  subscribers(kind: TopicKind, channel: string): Receivers {
    const own = this.#topics[kind].get(channel);
    const { target } = this.plane.slots.lane(0, 2).homes[this.#slotOf(channel)];
    return this.#count(own === undefined ? [] : [own], target.group);
  }

  #count(topics: readonly Topic[], group: string): Receivers {
    const link = this.#links.get(group);
    const result = { counted: 0, sessions: 0 };
    for (const topic of topics) {
      result.sessions += topic.size;
      if (link !== undefined && topic.places.get(link) === true) result.counted++;
    }
    return result;
  }

  #fitting(channel: string): Topic[] {
    return [...this.#topics[PATTERN].values()].filter((topic) => globMatches(topic.name, channel));
  }

  /** The group at which a channel's messages are published. */
  groupOf(channel: string): string {
    return this.plane.slots.lane(0, 2).homes[this.#slotOf(channel)].target.group;
  }

  // ── life ────────────────────────────────────────────────────────────────────────────────────────────

  /** Called every `elapsedMs`. */
  check(elapsedMs: number): void {
    for (const link of this.#links.values()) link.check(elapsedMs);
  }

  close(): void {
    this.#sweep?.cancel();
    for (const link of this.#links.values()) link.close();
  }
}

function nothing(): void {}
