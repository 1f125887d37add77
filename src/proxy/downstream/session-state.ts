/**
 * What a session is and is in the middle of: who the client is, database and protocol, and the states that
 * only some sessions are ever in.
 *
 *   plain ⟺ authenticated, all rights, replies wanted, no transaction, tracking, subscription (RESP2),
 *   MONITOR or pause
 *
 * The hot path asks `plain` and nothing else; each state that makes requests more than plain ones tells
 * `updatePlain`.
 */
import type { Connection } from "../../env/net.ts";
import type { Protocol } from "../../resp/reply-writer.ts";
import type { DataPlane } from "../data-plane.ts";
import type { Blocked } from "../dispatch/blocking-call.ts";
import type { Transaction } from "../dispatch/transaction.ts";
import type { Watch } from "../dispatch/watch.ts";
import { endSubscriptions } from "../pubsub/subscribe-commands.ts";
import type { Subscriber } from "../pubsub/subscriber.ts";
import type { ReadPosition } from "../replicas/read-position.ts";
import { CHANNEL } from "../pubsub/topic-kind.ts";
import { KIND_MUTED, KIND_PLAIN } from "../request.ts";
import type { Lane } from "../slots/lane.ts";
import type { SessionTracking } from "../tracking/session-tracking.ts";
import type { User } from "../users/user.ts";
import { ClientInfo } from "./client-info.ts";
import { HOLD_DRAIN, ReplyQueue } from "./reply-queue.ts";
import type { Session } from "./session.ts";

export abstract class SessionState extends ReplyQueue {
  readonly id: number;
  readonly info: ClientInfo;
  /** Where requests go: the upstreams for this session's database and protocol. */
  lane: Lane;
  /** Nothing special about the session: authenticated, wants replies. The hot path's one question. */
  plain: boolean;
  /** Whose rights count; see users/. */
  user: User;
  authenticated: boolean;
  /** MULTI is open; see dispatch/transaction.ts. */
  transaction: Transaction | null = null;
  watch: Watch | null = null;
  /** CLIENT TRACKING is on; see tracking/. */
  tracking: SessionTracking | null = null;
  /** What it has subscribed to; null until the first time. See pubsub/. */
  subscriber: Subscriber | null = null;
  /** A server waits on behalf of this session; see dispatch/blocking-call.ts. */
  blocked: Blocked | null = null;
  /** Replicas may answer its reads; null: the primary always does. See replicas/. */
  reads: ReadPosition | null = null;
  /** Its next request waits for a group that is lost; see holding/. */
  held = false;
  /** The client gets what the servers execute; see dispatch/monitor.ts. */
  monitoring = false;
  /** On another lane than its own, until no reply is owed. */
  #strayed = false;
  #replies: "on" | "off" | "skip-next" | "skip" = "on";

  constructor(plane: DataPlane, id: number, connection: Connection) {
    super(plane, connection);
    this.id = id;
    this.info = new ClientInfo(plane.tick);
    this.lane = plane.slots.lane(0, 2, plane.acks.stripeOf(id));
    this.user = plane.users.default;
    this.authenticated = this.user.open;
    this.reads = plane.replicas.positionFor();
    const asUsual = this.user.plain && !plane.pause.active && !plane.writeStop.active;
    this.plain = this.authenticated && asUsual && this.reads === null;
  }

  setAuthenticated(authenticated: boolean): void {
    this.authenticated = authenticated;
    this.updatePlain();
  }

  /** Who the client is, and whether it has shown that it is. */
  setUser(user: User, authenticated: boolean): void {
    this.user = user;
    this.info.user = user.name;
    this.setAuthenticated(authenticated);
  }

  setTransaction(transaction: Transaction | null): void {
    this.transaction = transaction;
    this.updatePlain();
  }

  setTracking(tracking: SessionTracking | null): void {
    this.tracking = tracking;
    this.updatePlain();
  }

  setMonitoring(monitoring: boolean): void {
    this.monitoring = monitoring;
    this.updatePlain();
  }

  /** To be called when something changes that makes requests more, or less, than plain ones. */
  updatePlain(): void {
    const ordinary =
      this.transaction === null && this.tracking === null && this.reads === null && !this.onlyListens;
    const asUsual =
      this.user.plain && !this.monitoring && !this.plane.pause.active && !this.plane.writeStop.active;
    this.plain = this.authenticated && this.#replies === "on" && ordinary && asUsual;
  }

  /** Database and protocol. Only while no reply is owed. */
  setLane(database: number, protocol: Protocol): void {
    const before = this.lane;
    const { slots, acks } = this.plane;
    const stripe = acks.stripeOf(this.id, this.tracking !== null);
    this.lane = slots.lane(database, protocol, stripe, this.tracking?.mode.lane);
    if (this.lane !== before) this.tracking?.laneChanged(before);
    this.updatePlain();
  }

  /** What the lanes are for has changed: begins anew on the first, when no reply is owed. */
  followStripes(): void {
    if (this.inFlight === 0) this.setLane(this.lane.database, this.lane.protocol);
    else {
      this.#strayed = true;
      this.hold(HOLD_DRAIN);
    }
  }

  /** To be called before requests are taken again. */
  protected endStraying(): void {
    if (!this.#strayed || this.inFlight > 0) return;
    this.#strayed = false;
    this.setLane(this.lane.database, this.lane.protocol);
  }

  /** Whether it has subscriptions. */
  get listens(): boolean {
    return this.subscriber !== null && this.subscriber.total > 0;
  }

  /** Whether it may do nothing else: a RESP2 client could not tell a message from a reply. */
  get onlyListens(): boolean {
    return this.lane.protocol === 2 && this.listens;
  }

  /** CLIENT REPLY. "skip" is about the next command. */
  setReplies(replies: "on" | "off" | "skip"): void {
    this.#replies = replies === "skip" ? "skip-next" : replies;
    this.replyKind = replies === "off" ? KIND_MUTED : KIND_PLAIN;
    this.updatePlain();
  }

  /** After each command that is not the plain case: CLIENT REPLY SKIP counts commands. */
  afterCommand(): void {
    if (this.#replies === "skip-next") {
      this.#replies = "skip";
      this.replyKind = KIND_MUTED;
    } else if (this.#replies === "skip") this.setReplies("on");
  }

  /** As after connecting, but for the id. */
  resetState(): void {
    this.setReplies("on");
    this.info.reset();
  }

  /** Whether this session is subscribed to a channel. */
  listensTo(channel: string): boolean {
    return this.subscriber !== null && this.subscriber.topics[CHANNEL].has(channel);
  }

  /** What the session has at servers, or collected for them, beyond requests. */
  protected endSpecial(): void {
    this.transaction?.drop();
    this.transaction = null;
    this.watch?.end();
    this.watch = null;
    this.blocked?.clientGone();
    if (this.subscriber !== null) endSubscriptions(this.plane, this as unknown as Session);
    if (this.tracking !== null) this.plane.tracking.remove(this.tracking);
    this.plane.replicas.forget(this as unknown as Session);
  }
}
