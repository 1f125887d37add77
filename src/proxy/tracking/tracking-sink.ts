/**
 * The worker's connection to one server on which invalidations arrive.
 *
 *   connecting ─▶ greeting (AUTH, HELLO 3, CLIENT ID, with broadcast: CLIENT TRACKING ON BCAST) ─▶ ready ─▶
 *   pushes
 *        └──────────────── refused, lost, hung ────────────────┴──▶ waiting ─(back-off)─▶ connecting
 *
 * The shared connections track for it: CLIENT TRACKING ON REDIRECT <this id> OPTIN. When it is lost nobody
 * knows what has changed meanwhile, which `onLost` says. A try that fails takes nothing away from anybody, so
 * it is not that: clients would forget everything with each try for as long as one server is down.
 */
import type { Bytes } from "../../base/bytes.ts";
import type { Timer } from "../../env/env.ts";
import type { Connection, ConnectionHandler } from "../../env/net.ts";
import { decodeReply, ReplyError } from "../../resp/reply-decoder.ts";
import { ReplyScanner } from "../../resp/reply-scanner.ts";
import { bulk } from "../../resp/reply-writer.ts";
import type { DataPlane } from "../data-plane.ts";
import { RequestInput } from "../downstream/request-input.ts";
import { Backoff } from "../upstream/backoff.ts";
import type { UpstreamTarget } from "../upstream/handshake.ts";

const PUSH = 62;
/**
 * How often a silent sink is asked whether it is still there: firewalls drop idle connections without a
 * word.
 */
const BEAT_MS = 1000;

export interface SinkEvents {
  /**
   * The sink's id at its server is known: connections may redirect to it. `late`: it had been lost, or a try
   * had failed, so that sessions have gone on without it.
   */
  onReady(late: boolean): void;
  /** Keys that have changed; null: all may have. */
  onInvalidate(keys: readonly string[] | null): void;
  /** It had been ready: what it has not said nobody will. */
  onLost(): void;
  /** It was not there before either, and is not waited for any more (`down`). */
  onFailed(): void;
}

interface Greeting {
  readonly said: string;
  readonly answered: (() => void) | null;
}

export class TrackingSink implements ConnectionHandler {
  readonly target: UpstreamTarget;
  readonly broadcast: boolean;
  /** The connection's id at the server; "" while there is none. */
  clientId = "";
  /** The last try has failed: waiting for it may take long. */
  down = false;
  readonly #plane: DataPlane;
  readonly #events: SinkEvents;
  readonly #backoff: Backoff;
  readonly #scanner = new ReplyScanner();
  readonly #input = new RequestInput();
  #connection: Connection | null = null;
  #greetings: Greeting[] = [];
  #closed = false;
  #late = false;
  #beat: Timer | null = null;
  #sinceMs = 0;

  constructor(plane: DataPlane, target: UpstreamTarget, broadcast: boolean, events: SinkEvents) {
    this.#plane = plane;
    this.target = target;
    this.broadcast = broadcast;
    this.#events = events;
    this.#backoff = new Backoff(plane.env, plane.config);
    this.#connect();
  }

  /** Calls `run` when everything has come that the server had to say until now, or it will never come. */
  barrier(run: () => void): void {
    if (this.clientId === "") run();
    else this.#say(["PING"], run);
  }

  close(): void {
    this.#closed = true;
    for (const { answered } of this.#greetings.splice(0)) answered?.();
    this.#beat?.cancel();
    this.#backoff.cancel();
    this.#connection?.close();
    this.#input.drop(this.#plane.env.net.blocks);
  }

  onOpen(): void {}

  onDrain(): void {}

  onEnd(): void {
    this.#lost("the server closed the connection");
  }

  onClose(reason: string): void {
    this.#lost(reason);
  }

  onData(bytes: Bytes, start: number, end: number): void {
    const input = this.#input;
    const { blocks } = this.#plane.env.net;
    input.append(blocks, bytes, start, end, null);
    while (input.block !== null && input.length > 0) {
      const next = this.#scanner.scan(input.block.bytes, input.start, input.end);
      if (next < 0) return;
      const isPush = input.block.bytes[input.start] === PUSH;
      const reply = decodeReply(input.block.bytes, input.start, next);
      input.start = next;
      if (input.length === 0) input.drop(blocks);
      if (isPush) this.#push(reply);
      else this.#greeted(reply);
    }
  }

  #connect(): void {
    const { host, port } = this.target;
    const { server_username: user, server_password: password } = this.#plane.config;
    this.#greetings = [];
    this.#connection = this.#plane.env.net.connect(host, port, this);
    if (password !== "") this.#say(["AUTH", ...(user === "" ? [password] : [user, password])]);
    this.#say(["HELLO", "3"]);
    if (this.broadcast) this.#say(["CLIENT", "TRACKING", "ON", "BCAST"]);
    this.#say(["CLIENT", "ID"]);
    this.#sinceMs = this.#plane.env.clock.nowMs();
    this.#beat = this.#plane.env.timers.every(BEAT_MS, () => this.#check());
  }

  /** Asks for a sign of life, or misses the last one. */
  #check(): void {
    const nowMs = this.#plane.env.clock.nowMs();
    if (this.#greetings.length === 0) {
      this.#sinceMs = nowMs;
      this.#say(["PING"]);
    } else if (nowMs - this.#sinceMs > this.#plane.config.server_timeout_ms) this.#lost("no answer");
  }

  #say(words: readonly string[], answered: (() => void) | null = null): void {
    this.#greetings.push({ said: words.slice(0, 2).join(" "), answered });
    const { output } = this.#connection as Connection;
    output.appendLatin1(`*${words.length}\r\n${words.map(bulk).join("")}`);
    this.#connection?.flushSoon();
  }

  #greeted(reply: unknown): void {
    const greeting = this.#greetings.shift();
    if (greeting === undefined) return;
    const { said, answered } = greeting;
    answered?.();
    if (reply instanceof ReplyError) {
      this.#lost(`the server refused ${said}: ${reply.text}`);
      return;
    }
    if (said !== "CLIENT ID") return;
    this.clientId = String(reply);
    this.down = false;
    this.#backoff.reset();
    this.#events.onReady(this.#late);
  }

  #push(reply: unknown): void {
    if (!Array.isArray(reply) || reply[0] !== "invalidate") return;
    this.#events.onInvalidate(reply[1] === null ? null : (reply[1] as string[]));
  }

  #lost(reason: string): void {
    if (this.#closed || this.#connection === null) return;
    this.#connection.close();
    this.#connection = null;
    this.#beat?.cancel();
    this.#input.drop(this.#plane.env.net.blocks);
    const wasReady = this.clientId !== "";
    this.clientId = "";
    this.down = true;
    this.#late = true;
    this.#plane.env.log.warn("tracking lost", { server: this.target.address, reason });
    for (const { answered } of this.#greetings.splice(0)) answered?.();
    if (wasReady) this.#events.onLost();
    else this.#events.onFailed();
    this.#backoff.schedule(() => this.#connect());
  }
}
