/**
 * A channel, pattern or shard channel that at least one session of this worker has subscribed to.
 *
 *   first subscriber ─▶ SUBSCRIBE at its home groups ─▶ confirmed ─▶ the subscribers that wait are told
 *   last one gone ─▶ UNSUBSCRIBE
 *
 * It is ready when each of its links that has a connection has confirmed, and one at least has. A link that
 * is down does not hold it up: nobody can publish at that server either, and it is subscribed there as soon
 * as the server is back.
 */
import type { PubSubLink } from "./pubsub-link.ts";
import type { Subscriber } from "./subscriber.ts";
import type { TopicKind } from "./topic-kind.ts";

/** Told when the topic is ready (null), or that it cannot be: the error, without "-" and line end. */
export type Told = (error: string | null) => void;

interface Waiting {
  readonly subscriber: Subscriber;
  readonly told: Told;
}

export class Topic {
  readonly kind: TopicKind;
  /** A character per byte. */
  readonly name: string;
  readonly #subscribers = new Set<Subscriber>();
  #list: readonly Subscriber[] | null = null;
  /** Where it is subscribed, or is to be; true: that server has confirmed it. */
  readonly places = new Map<PubSubLink, boolean>();
  #waiting: Waiting[] = [];
  readonly #leave: (subscriber: Subscriber, topic: Topic) => void;

  /** `leave` takes back the subscription of one who could not be served. */
  constructor(kind: TopicKind, name: string, leave: (subscriber: Subscriber, topic: Topic) => void) {
    this.kind = kind;
    this.name = name;
    this.#leave = leave;
  }

  /** Sessions that have subscribed. */
  get size(): number {
    return this.#subscribers.size;
  }

  /** All of them; the list stays as it is when some come or go. */
  get subscribers(): readonly Subscriber[] {
    this.#list ??= [...this.#subscribers];
    return this.#list;
  }

  add(subscriber: Subscriber): void {
    this.#subscribers.add(subscriber);
    this.#list = null;
  }

  remove(subscriber: Subscriber): void {
    this.#subscribers.delete(subscriber);
    this.#list = null;
  }

  /** Whether all is subscribed that can be at the moment. */
  get ready(): boolean {
    let confirmed = false;
    for (const [link, done] of this.places) {
      if (!done && link.trying) return false;
      confirmed ||= done;
    }
    return confirmed;
  }

  /** Calls `told` once; at once if it is ready. */
  whenReady(subscriber: Subscriber, told: Told): void {
    this.#waiting.push({ subscriber, told });
    this.settle("");
  }

  confirmed(link: PubSubLink): void {
    if (!this.places.has(link)) return;
    this.places.set(link, true);
    this.settle("");
  }

  /** Not subscribed at that link any more, or not yet; `error` says why. */
  lost(link: PubSubLink, error: string): void {
    if (!this.places.has(link)) return;
    this.places.set(link, false);
    this.settle(error);
  }

  /** The server behind `link` will not have it: an old server that has no such thing, or no right to it. */
  refused(link: PubSubLink, error: string): void {
    this.places.delete(link);
    this.settle(error);
  }

  /** Looks whether those that wait can be told. `error`: what to say if no place is left to hope for. */
  settle(error: string): void {
    if (this.#waiting.length === 0) return;
    const ready = this.ready;
    if (!ready && [...this.places.keys()].some((link) => link.trying)) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { subscriber, told } of waiting) {
      if (!ready) this.#leave(subscriber, this);
      told(ready ? null : error);
    }
  }

  /** The last subscriber is gone: those that still wait have unsubscribed meanwhile, and get both answers. */
  end(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { told } of waiting) told(null);
  }
}
