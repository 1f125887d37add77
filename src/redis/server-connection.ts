/**
 * One connection to one server, kept up: connects by itself, signs in, pipelines, gives each command its
 * time.
 *
 *                      connect()                  onOpen              greeting answered
 *   waiting(back-off) ───────────▶ connecting ───────────▶ greeting ─────────────────▶ ready
 *        ▲                             │                       │                          │
 *        └─────── fail(reason): every waiting command gets it, next try after back-off ───┘
 *   close() from anywhere ──▶ closed
 *
 * Two explicit queues: `#unsent` (not yet on the wire, because the connection is not ready) and `#awaiting`
 * (sent; replies come in this order). A command whose time is over takes the connection with it: replies are
 * ordered, so whatever stands behind it would wait as well, and a server that accepts but does not answer is
 * exactly what has to be noticed. Rejected: leaving it open and dropping the late reply (a frozen server
 * would look connected for ever), and queueing while the server is away (a command that runs minutes after it
 * was wanted is worse than an error).
 */
import { assert } from "../base/assert.ts";
import type { Bytes } from "../base/bytes.ts";
import { ShoalError, errorTextOf } from "../base/shoal-error.ts";
import type { Env, Timer } from "../env/env.ts";
import type { Connection } from "../env/net.ts";
import { parseAddress } from "../topology/cluster-map.ts";
import { type Reply, ReplyDecoder, ReplyError } from "./reply-decoder.ts";

export type RedisEnv = Pick<Env, "clock" | "timers" | "random" | "net" | "log">;

export interface ServerConnectionOptions {
  /** "host:port". */
  readonly address: string;
  /** Null: no AUTH. Without a user, the server's `requirepass`. */
  readonly credentials: { readonly user: string | null; readonly password: string } | null;
  readonly connectTimeoutMs: number;
  /** For commands that name none. */
  readonly commandTimeoutMs: number;
  /** The longest pause between two tries to connect; without it, BACKOFF_MS_MAX. */
  readonly backoffMsMax?: number;
}

/** First and longest pause between two tries to connect; doubled each time, the last half of it by chance. */
const BACKOFF_MS_MIN = 100;
const BACKOFF_MS_MAX = 2000;

/** Commands under way on one connection: the controller never needs nearly as many. */
export const COMMANDS_UNDER_WAY_MAX = 10_000;

type State =
  | { readonly name: "waiting"; readonly reason: string; readonly retry: Timer | null }
  | { readonly name: "connecting"; readonly timeout: Timer }
  | { readonly name: "greeting"; readonly timeout: Timer }
  | { readonly name: "ready" }
  | { readonly name: "closed" };

interface Command {
  readonly words: readonly string[];
  /** Null for those that were sent together: they have one deadline, which ends with the last of them. */
  readonly deadline: Timer | null;
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: ShoalError) => void;
}

export class ServerConnection {
  readonly address: string;
  readonly #env: RedisEnv;
  readonly #options: ServerConnectionOptions;
  #state: State = { name: "waiting", reason: "not connected yet", retry: null };
  #connection: Connection | null = null;
  #unsent: Command[] = [];
  #awaiting: Command[] = [];
  #failures = 0;
  #lastReplyMs = -Infinity;

  constructor(env: RedisEnv, options: ServerConnectionOptions) {
    parseAddress(options.address);
    this.address = options.address;
    this.#env = env;
    this.#options = options;
  }

  get ready(): boolean {
    return this.#state.name === "ready";
  }

  /** When the last reply came, other than a refusal to let us in: it lives. By the monotonic clock. */
  get lastReplyMs(): number {
    return this.#lastReplyMs;
  }

  /**
   * Sends a command; an error reply rejects.
   * @throws ShoalError SERVER_REPLY, TIMEOUT or UNREACHABLE. After TIMEOUT it is not known whether the
   * command has run;
   *   after UNREACHABLE neither, unless the message says "not sent".
   */
  async command(words: readonly string[], timeoutMs = this.#options.commandTimeoutMs): Promise<Reply> {
    const reply = await this.#enqueue(words, timeoutMs);
    if (reply instanceof ReplyError) {
      throw new ShoalError("SERVER_REPLY", `Cannot ${this.#actionOf(words)}: ${reply.text}`);
    }
    return reply;
  }

  /**
   * Sends several commands as one piece; their replies, errors among them as values, come back together. Much
   * cheaper than a promise and a timer for each.
   * @throws ShoalError TIMEOUT or UNREACHABLE; it is not known then which of them have run
   */
  pipeline(
    commands: ReadonlyArray<readonly string[]>,
    timeoutMs = this.#options.commandTimeoutMs,
  ): Promise<Reply[]> {
    if (commands.length === 0) return Promise.resolve([]);
    const [first] = commands;
    if (this.#state.name === "waiting" && this.#state.retry === null) this.#connect();
    const refusal = this.#refusal();
    if (refusal !== null) return Promise.reject(this.#notSent(first, refusal));
    return new Promise((resolve, reject) => {
      const replies: Reply[] = [];
      const deadline = this.#env.timers.after(timeoutMs, () => this.#onDeadline(first, timeoutMs));
      const take = (reply: Reply): void => {
        if (replies.push(reply) < commands.length) return;
        deadline.cancel();
        resolve(replies);
      };
      const fail = (error: ShoalError): void => {
        deadline.cancel();
        reject(error);
      };
      const batch = commands.map((words): Command => ({
        words,
        deadline: null,
        resolve: take,
        reject: fail,
      }));
      if (this.#state.name === "ready") this.#sendAll(batch);
      else this.#unsent.push(...batch);
    });
  }

  /** The server is known to be there again: the next try need not wait. Nothing happens in other states. */
  retryNow(): void {
    if (this.#state.name === "waiting" && this.#state.retry !== null) this.#connect();
  }

  /** Closes for good; what is under way is rejected. */
  close(): void {
    if (this.#state.name === "closed") return;
    this.#dropConnection();
    this.#setState({ name: "closed" });
    this.#rejectAll("connection closed by the controller");
  }

  #enqueue(words: readonly string[], timeoutMs: number): Promise<Reply> {
    if (this.#state.name === "waiting" && this.#state.retry === null) this.#connect();
    const refusal = this.#refusal();
    if (refusal !== null) {
      return Promise.reject(this.#notSent(words, refusal));
    }
    return new Promise((resolve, reject) => {
      const deadline = this.#env.timers.after(timeoutMs, () => this.#onDeadline(words, timeoutMs));
      const command: Command = { words, deadline, resolve, reject };
      if (this.#state.name === "ready") this.#send(command);
      else this.#unsent.push(command);
    });
  }

  /** Why no command is taken now, or null. */
  #refusal(): string | null {
    if (this.#state.name === "closed") return "connection closed by the controller";
    if (this.#state.name === "waiting") return this.#state.reason;
    const underWay = this.#unsent.length + this.#awaiting.length;
    return underWay >= COMMANDS_UNDER_WAY_MAX ? `${underWay} commands are under way` : null;
  }

  #notSent(words: readonly string[], refusal: string): ShoalError {
    return new ShoalError("UNREACHABLE", `Cannot ${this.#actionOf(words)}: not sent: ${refusal}`);
  }

  #send(command: Command): void {
    this.#sendAll([command]);
  }

  #sendAll(commands: readonly Command[]): void {
    const connection = this.#connection as Connection;
    let text = "";
    for (const command of commands) {
      this.#awaiting.push(command);
      text += encodeCommand(command.words);
    }
    connection.output.appendLatin1(text);
    connection.flushSoon();
  }

  #connect(): void {
    const { host, port } = parseAddress(this.address);
    const timeoutMs = this.#options.connectTimeoutMs;
    const timeout = this.#env.timers.after(timeoutMs, () =>
      this.#fail(`no connection within ${timeoutMs} ms`),
    );
    this.#setState({ name: "connecting", timeout });
    const decoder = new ReplyDecoder((reply) => this.#onReply(reply));
    this.#connection = this.#env.net.connect(host, port, {
      onOpen: () => this.#onOpen(),
      onData: (bytes, start, end) => this.#onData(decoder, bytes, start, end),
      onEnd: () => this.#fail("the server closed the connection"),
      onDrain: () => {},
      onClose: (reason) => this.#fail(reason),
    });
  }

  #onOpen(): void {
    if (this.#state.name !== "connecting") return;
    const { credentials } = this.#options;
    if (credentials === null) {
      this.#becomeReady();
      return;
    }
    const { timeout } = this.#state;
    this.#state = { name: "greeting", timeout };
    const user = credentials.user === null ? [] : [credentials.user];
    const connection = this.#connection as Connection;
    connection.output.appendLatin1(encodeCommand(["AUTH", ...user, credentials.password]));
    connection.flushSoon();
  }

  #onData(decoder: ReplyDecoder, bytes: Bytes, start: number, end: number): void {
    try {
      decoder.push(bytes, start, end);
    } catch (error) {
      this.#fail(errorTextOf(error));
    }
  }

  #onReply(reply: Reply): void {
    // Who does not know us is of no more use than who is silent.
    const refused = this.#state.name === "greeting" && reply instanceof ReplyError;
    if (!refused) this.#lastReplyMs = this.#env.clock.nowMs();
    if (this.#state.name === "greeting") {
      // The server's words only ("WRONGPASS …"): the password must not reach a log.
      if (reply instanceof ReplyError) this.#fail(`the server refused our credentials: ${reply.text}`);
      else this.#becomeReady();
      return;
    }
    const command = this.#awaiting.shift();
    if (command === undefined) {
      this.#fail("a reply that nobody asked for");
      return;
    }
    command.deadline?.cancel();
    command.resolve(reply);
  }

  #becomeReady(): void {
    this.#failures = 0;
    this.#setState({ name: "ready" });
    const waiting = this.#unsent;
    this.#unsent = [];
    for (const command of waiting) this.#send(command);
  }

  #onDeadline(words: readonly string[], timeoutMs: number): void {
    const action = this.#actionOf(words);
    this.#fail(
      `no answer within ${timeoutMs} ms`,
      new ShoalError("TIMEOUT", `Cannot ${action}: no answer within ${timeoutMs} ms`),
    );
  }

  /** The connection is of no use any more. `first` is what the command that found out is told. */
  #fail(reason: string, first?: ShoalError): void {
    if (this.#state.name === "closed" || this.#state.name === "waiting") return;
    this.#dropConnection();
    const ceiling = Math.min(
      this.#options.backoffMsMax ?? BACKOFF_MS_MAX,
      BACKOFF_MS_MIN * 2 ** this.#failures,
    );
    this.#failures = Math.min(this.#failures + 1, 16);
    const delayMs = ceiling / 2 + (ceiling / 2) * this.#env.random.fraction();
    const retry = this.#env.timers.after(delayMs, () => this.#connect());
    this.#setState({ name: "waiting", reason, retry });
    this.#rejectAll(reason, first);
  }

  #rejectAll(reason: string, first?: ShoalError): void {
    const commands = [...this.#awaiting, ...this.#unsent];
    this.#awaiting = [];
    this.#unsent = [];
    for (const command of commands) {
      command.deadline?.cancel();
      const action = this.#actionOf(command.words);
      command.reject(first ?? new ShoalError("UNREACHABLE", `Cannot ${action}: ${reason}`));
    }
  }

  #dropConnection(): void {
    this.#connection?.close();
    this.#connection = null;
  }

  #setState(next: State): void {
    assert(this.#state.name !== "closed", `connection to ${this.address} used after close`);
    if (this.#state.name === "connecting" || this.#state.name === "greeting") this.#state.timeout.cancel();
    if (this.#state.name === "waiting") this.#state.retry?.cancel();
    this.#state = next;
  }

  /** "send INFO to 127.0.0.1:7000". The name only: arguments may be secrets. */
  #actionOf(words: readonly string[]): string {
    const name = /^(ACL|CONFIG|CLIENT)$/i.test(words[0]) ? words.slice(0, 2).join(" ") : words[0];
    return `send ${name} to ${this.address}`;
  }
}

/** A command as RESP, one character per byte. */
export function encodeCommand(words: readonly string[]): string {
  let text = `*${words.length}\r\n`;
  for (const word of words) text += `$${word.length}\r\n${word}\r\n`;
  return text;
}
