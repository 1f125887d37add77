/**
 * The worker's connection to one primary for all of its subscriptions there.
 *
 *   idle ─first topic─▶ connecting ─HELLO 3 answered─▶ ready: all topics are subscribed (again)
 *                           ▲   │ refused, hung           │ closed, hung, broken bytes
 *                           │   ▼                         │
 *                 back-off ─┴ waiting ◀───────────────────┘      without topics, after the back-off: idle
 *   any ─close─▶ closed
 *
 * RESP3, because there a message cannot be taken for a reply. `expected` holds what the server still has to
 * answer, in order: a confirmation, an error or a reply belongs to its head, everything else is a message.
 * Messages are handed on in the order of arrival; when the turn's budget is used up the link stops at that
 * message and does not read on, so that the server feels a worker which cannot keep up.
 *
 * Rejected: the shared upstream connection (a message would stand between the replies of the hot path), and a
 * queue of messages of our own (the socket is one already).
 */
import type { Bytes } from "../../base/bytes.ts";
import { readLatin1 } from "../../base/bytes.ts";
import type { Connection, ConnectionHandler } from "../../env/net.ts";
import { REPLY_BROKEN, ReplyScanner } from "../../resp/reply-scanner.ts";
import { bulk } from "../../resp/reply-writer.ts";
import { RequestInput } from "../downstream/request-input.ts";
import { Backoff } from "../upstream/backoff.ts";
import type { UpstreamTarget } from "../upstream/handshake.ts";
import { ProgressWatch } from "../upstream/progress-watch.ts";
import type { PubSubHub } from "./pubsub-hub.ts";
import { FRAME_CONFIRMED, FRAME_MESSAGE, PushFrame } from "./push-frame.ts";
import type { Subscriber } from "./subscriber.ts";
import type { Topic } from "./topic.ts";
import { PATTERN, SUBSCRIBE_WORDS, UNSUBSCRIBE_WORDS } from "./topic-kind.ts";

const PUSH = 62;
const ERROR = 45;
/** After so long without a byte from the server it is asked for one. */
const HEARTBEAT_MS = 1000;
/** Answered entries that are kept at the front of the queue before it is cut. */
const EXPECTED_KEPT_MAX = 1024;

export type LinkState = "idle" | "connecting" | "ready" | "waiting" | "closed";

/**
 * Takes an answer: a reply `bytes[start, end)`, or a confirmation. `error` is set instead when it is one, or
 * when none will come.
 */
type Answered = (error: string | null, bytes: Bytes | null, start: number, end: number) => void;

/** A message that has not reached all of its subscribers. */
interface Delivery {
  readonly subscribers: readonly Subscriber[];
  at: number;
}

export class PubSubLink implements ConnectionHandler {
  readonly target: UpstreamTarget;
  state: LinkState = "idle";
  /** The topics that are wanted here. */
  readonly topics = new Set<Topic>();
  readonly #hub: PubSubHub;
  readonly #backoff: Backoff;
  readonly #watch = new ProgressWatch();
  readonly #scanner = new ReplyScanner();
  readonly #frame = new PushFrame();
  readonly #input = new RequestInput();
  #expected: Answered[] = [];
  #expectedFrom = 0;
  #connection: Connection | null = null;
  #delivery: Delivery | null = null;
  #paused = false;
  #silentMs = 0;
  #lastError = "";
  /** Since when messages may have been missed; null while all is subscribed. */
  #gapSince: number | null = null;

  constructor(hub: PubSubHub, target: UpstreamTarget) {
    this.#hub = hub;
    this.target = target;
    this.#backoff = new Backoff(hub.plane.env, hub.plane.config);
  }

  /** Whether a subscription here can still come about without a pause. */
  get trying(): boolean {
    return this.state === "connecting" || this.state === "ready";
  }

  /** The error for a subscription that cannot be made now. */
  get refusal(): string {
    const { address, group } = this.target;
    return `ERR Cannot reach server ${address} of group ${group}: ${this.#lastError}`;
  }

  // ── what is wanted ──────────────────────────────────────────────────────────────────────────────────

  want(topic: Topic): void {
    this.topics.add(topic);
    if (this.state === "idle") this.#connect();
    else if (this.state === "ready") this.#subscribe(topic);
  }

  /** Unsubscribes; `done` is called once, when the server has confirmed it or cannot any more. */
  drop(topic: Topic, done: () => void): void {
    if (!this.topics.delete(topic) || this.state !== "ready") {
      done();
      return;
    }
    this.#send([UNSUBSCRIBE_WORDS[topic.kind], topic.name], done);
  }

  /** Sends a request as it is, behind all that was subscribed before. Only while ready. */
  request(bytes: Bytes, start: number, end: number, answered: Answered): void {
    const connection = this.#connection as Connection;
    this.#expected.push(answered);
    connection.output.append(bytes, start, end);
    connection.flushSoon();
  }

  /** Messages may be missed from now on: the topics come from a server that is no longer the primary. */
  startGap(): void {
    this.#gapSince ??= this.#hub.plane.env.clock.nowMs();
  }

  close(): void {
    this.state = "closed";
    this.#backoff.cancel();
    this.#drop("the connection was closed");
  }

  #subscribe(topic: Topic): void {
    this.#send([SUBSCRIBE_WORDS[topic.kind], topic.name], (error) => {
      if (!this.topics.has(topic)) return;
      if (error === null) topic.confirmed(this);
      else if (this.state === "ready") {
        this.topics.delete(topic);
        topic.refused(this, error);
      }
    });
  }

  #send(words: readonly string[], answered: Answered): void {
    const connection = this.#connection as Connection;
    this.#expected.push(answered);
    connection.output.appendLatin1(`*${words.length}\r\n${words.map(bulk).join("")}`);
    connection.flushSoon();
  }

  // ── the connection ──────────────────────────────────────────────────────────────────────────────────

  #connect(): void {
    this.state = "connecting";
    const { plane } = this.#hub;
    const { server_username: user, server_password: password } = plane.config;
    this.#watch.restart();
    this.#silentMs = 0;
    this.#connection = plane.env.net.connect(this.target.host, this.target.port, this);
    const login = password === "" ? [] : ["AUTH", user === "" ? "default" : user, password];
    this.#send(["HELLO", "3", ...login], (error) => {
      if (error !== null) this.#broken(`the server refused HELLO: ${error}`);
      else this.#greeted();
    });
  }

  /** The server is there: everything is subscribed, and a PING says when all of it has been confirmed. */
  #greeted(): void {
    this.state = "ready";
    this.#backoff.reset();
    for (const topic of this.topics) this.#subscribe(topic);
    if (this.#gapSince !== null) this.#send(["PING"], (error) => error === null && this.#restored());
  }

  #restored(): void {
    const { clock, log } = this.#hub.plane.env;
    const gapMs = Math.round(clock.nowMs() - (this.#gapSince ?? clock.nowMs()));
    this.#gapSince = null;
    if (this.topics.size > 0) log.warn("subscriptions restored", { ...this.#summary(), gapMs });
  }

  #summary(): Record<string, string | number> {
    const patterns = [...this.topics].filter((topic) => topic.kind === PATTERN).length;
    const { address, group } = this.target;
    return { server: address, group, channels: this.topics.size - patterns, patterns };
  }

  /** Called every `elapsedMs`: finds a server that is silent for too long. */
  check(elapsedMs: number): void {
    if (this.#connection === null || this.#paused) return;
    const { server_connect_timeout_ms, server_timeout_ms } = this.#hub.plane.config;
    const stalledMs = this.#watch.check(elapsedMs, this.#pending, this.#connection.output.length);
    const bound = this.state === "ready" ? server_timeout_ms : server_connect_timeout_ms;
    if (stalledMs >= bound) {
      this.#hub.plane.counters.serverTimeouts++;
      this.#broken(`no answer within ${bound} ms`);
      return;
    }
    this.#silentMs += elapsedMs;
    if (this.state !== "ready" || this.#silentMs < HEARTBEAT_MS || this.#pending > 0) return;
    this.#send(["PING"], nothing);
  }

  get #pending(): number {
    return this.#expected.length - this.#expectedFrom;
  }

  onOpen(): void {}

  onDrain(): void {}

  onEnd(): void {
    this.#broken("the server closed the connection");
  }

  onClose(reason: string): void {
    this.#broken(reason);
  }

  /** The connection is of no use any more: everybody is told, and it is tried again if anybody is left. */
  #broken(reason: string): void {
    if (this.#connection === null) return;
    const { clock, log } = this.#hub.plane.env;
    const served = this.state === "ready";
    this.#lastError = reason;
    this.state = "waiting";
    if (served && this.topics.size > 0) log.warn("subscriptions lost", { ...this.#summary(), reason });
    // What was sent while nothing arrived may be missing too.
    this.#gapSince ??= clock.nowMs() - this.#silentMs;
    this.#drop(reason);
    this.#backoff.schedule(() => this.#retry());
  }

  #retry(): void {
    if (this.topics.size > 0) {
      this.#connect();
      return;
    }
    // Nobody wants anything here: nothing to connect for, and nothing that could be missed.
    this.state = "idle";
    this.#gapSince = null;
  }

  #drop(reason: string): void {
    const connection = this.#connection;
    this.#connection = null;
    connection?.close();
    this.#input.drop(this.#hub.plane.env.net.blocks);
    this.#delivery = null;
    this.#paused = false;
    const expected = this.#expected.slice(this.#expectedFrom);
    this.#expected = [];
    this.#expectedFrom = 0;
    const { address, group } = this.target;
    const error = `ERR Cannot reach server ${address} of group ${group}: ${reason}`;
    for (const answered of expected) answered(error, null, 0, 0);
    for (const topic of this.topics) topic.lost(this, error);
  }

  // ── what the server says ────────────────────────────────────────────────────────────────────────────

  onData(bytes: Bytes, start: number, end: number): void {
    this.#watch.progress++;
    this.#silentMs = 0;
    const { blocks } = this.#hub.plane.env.net;
    if (this.#input.block !== null || this.#paused) {
      this.#input.append(blocks, bytes, start, end, null);
      if (!this.#paused) this.#takeInput();
      return;
    }
    const at = this.#take(bytes, start, end);
    if (at < end && this.#connection !== null) this.#input.append(blocks, bytes, at, end, null);
  }

  #takeInput(): void {
    const input = this.#input;
    if (input.block === null || input.length < input.needed) return;
    const { bytes } = input.block;
    const at = this.#take(bytes, input.start, input.end);
    if (this.#connection === null) return;
    if (at < input.end) input.start = at;
    else input.drop(this.#hub.plane.env.net.blocks);
  }

  /** The budget is there again. */
  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#takeInput();
    if (!this.#paused) this.#connection?.setReading(true);
  }

  /** Takes whole frames of `bytes[from, end)`; where it stopped comes back. */
  #take(bytes: Bytes, from: number, end: number): number {
    let at = from;
    this.#input.needed = 0;
    while (at < end) {
      const next = this.#scanner.scan(bytes, at, end);
      if (next < 0) {
        if (next === REPLY_BROKEN) this.#broken("bytes that are no reply");
        else if (this.#scanner.bodyEnd > 0) this.#input.needed = this.#scanner.bodyEnd - at;
        return at;
      }
      if (!this.#takeFrame(bytes, at, next)) {
        this.#paused = true;
        this.#connection?.setReading(false);
        return at;
      }
      if (this.#connection === null) return end;
      at = next;
    }
    return at;
  }

  /** False: the budget is used up before the frame is dealt with. */
  #takeFrame(bytes: Bytes, start: number, end: number): boolean {
    if (bytes[start] !== PUSH && this.#delivery === null) {
      this.#answer(bytes, start, end);
      return true;
    }
    if (this.#delivery === null) {
      const frame = this.#frame;
      frame.read(bytes, start);
      if (frame.meaning === FRAME_CONFIRMED) this.#answer(bytes, start, end);
      if (frame.meaning !== FRAME_MESSAGE) return true;
      const topic = this.#hub.find(frame.kind, frame.name);
      if (topic === undefined) return true;
      this.#delivery = { subscribers: topic.subscribers, at: 0 };
    }
    return this.#deliver(this.#delivery, bytes, start, end);
  }

  #deliver(delivery: Delivery, bytes: Bytes, start: number, end: number): boolean {
    const { budget } = this.#hub;
    const { subscribers } = delivery;
    const { kind, name } = this.#frame;
    while (delivery.at < subscribers.length) {
      if (budget.usedUp) {
        // A frame is read again when it is its turn: its first byte must be what it was.
        bytes[start] = PUSH;
        return false;
      }
      const subscriber = subscribers[delivery.at++];
      budget.take(end - start);
      if (subscriber.topics[kind].has(name)) subscriber.deliver(bytes, start, end);
    }
    this.#delivery = null;
    return true;
  }

  #answer(bytes: Bytes, start: number, end: number): void {
    if (this.#pending === 0) {
      this.#broken("a reply that nobody waits for");
      return;
    }
    const answered = this.#expected[this.#expectedFrom++];
    if (this.#expectedFrom === EXPECTED_KEPT_MAX || this.#pending === 0) {
      this.#expected = this.#expected.slice(this.#expectedFrom);
      this.#expectedFrom = 0;
    }
    const error = bytes[start] === ERROR ? readLatin1(bytes, start + 1, end - 2) : null;
    answered(error, bytes, start, end);
  }
}

function nothing(): void {}
