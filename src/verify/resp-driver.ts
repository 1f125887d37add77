/**
 * A plain client: one connection, one request at a time, never sends anything twice.
 *
 *   run ─▶ connected? ── no ─▶ connect to the next address ── fails ─▶ refused (nothing was sent)
 *                └─ yes ─▶ send ─▶ reply | error reply (outcomeOfError) | lost or too late ─▶ doubt,
 *                reconnect
 *
 * Rejected: redis/ServerConnection, which pipelines for many callers and backs off for seconds after a
 * failure: here each pause would count as time without service.
 */
import { ShoalError, errorTextOf } from "../base/shoal-error.ts";
import type { Env } from "../env/env.ts";
import type { Connection } from "../env/net.ts";
import { type Reply, ReplyDecoder, ReplyError } from "../redis/reply-decoder.ts";
import { encodeCommand } from "../redis/server-connection.ts";
import { parseAddress } from "../topology/cluster-map.ts";
import { ClusterSession } from "./cluster-session.ts";
import { type Driver, type Outcome, type Session, type Words, outcomeOfError } from "./driver.ts";

export type DriverEnv = Pick<Env, "timers" | "net">;

export interface RespDriverOptions {
  /** "host:port" of each entrance; sessions are dealt out over them, and go to the next when one is gone. */
  readonly addresses: readonly string[];
  /** Null: no AUTH. */
  readonly credentials: { readonly user: string | null; readonly password: string } | null;
  /** The addresses are sentinels, which say where the primary of this name is. */
  readonly sentinel?: string | null;
  /** The addresses are nodes of a Redis Cluster: MOVED and ASK are followed. */
  readonly cluster?: boolean;
  readonly connectTimeoutMs: number;
  /** A request without an answer for so long counts as in doubt, and its connection is given up. */
  readonly replyTimeoutMs: number;
}

/** What a connection says when it can't be had, or is gone. */
class ConnectionLost {
  readonly reason: string;

  constructor(reason: string) {
    this.reason = reason;
  }
}

export class RespDriver implements Driver {
  readonly name: string;
  readonly #env: DriverEnv;
  readonly #options: RespDriverOptions;
  #opened = 0;
  /** Of a Redis Cluster: hash tag → node, as far as learnt; all sessions learn together. */
  readonly #routes = new Map<string, string>();

  /** @throws ShoalError INVALID_ARGUMENT for an address that is none */
  constructor(env: DriverEnv, options: RespDriverOptions) {
    if (options.addresses.length === 0) {
      throw new ShoalError("INVALID_ARGUMENT", "Cannot verify anything: no address is given");
    }
    options.addresses.forEach(parseAddress);
    const kind = options.cluster
      ? " (cluster)"
      : options.sentinel
        ? ` (sentinels of ${options.sentinel})`
        : "";
    this.name = options.addresses.join(",") + kind;
    this.#env = env;
    this.#options = options;
  }

  open(): Session {
    const turn = this.#opened++;
    if (!this.#options.cluster) return new RespSession(this.#env, this.#options, turn);
    return new ClusterSession(this.#options.addresses, this.#routes, (addresses) => {
      return new RespSession(this.#env, { ...this.#options, addresses }, turn);
    });
  }
}

class RespSession implements Session {
  readonly #env: DriverEnv;
  readonly #options: RespDriverOptions;
  #turn: number;
  #connection: Connection | null = null;
  #closed = false;
  /** Takes the next reply, or the end of the connection. */
  #waiter: ((outcome: Reply | ConnectionLost) => void) | null = null;

  constructor(env: DriverEnv, options: RespDriverOptions, turn: number) {
    this.#env = env;
    this.#options = options;
    this.#turn = turn;
  }

  async run(commands: readonly Words[]): Promise<Outcome> {
    const failure = this.#connection === null ? await this.#connect() : null;
    if (failure !== null) return { kind: "refused", text: failure };
    if (commands.length === 1) return outcomeOf(await this.#exchange(commands[0]));
    // MULTI alone first: were it refused, what follows would run one by one.
    const begun = outcomeOf(await this.#exchange(["MULTI"]));
    if (begun.kind !== "reply") return { kind: "refused", text: begun.text };
    let refusal: string | null = null;
    for (const command of commands) {
      const queued = await this.#exchange(command);
      if (queued instanceof ConnectionLost) return { kind: "refused", text: queued.reason };
      if (queued instanceof ReplyError) refusal ??= queued.text;
    }
    const executed = outcomeOf(await this.#exchange(["EXEC"]));
    // EXECABORT says less than what it aborts for.
    if (executed.kind === "refused" && refusal !== null) return { kind: "refused", text: refusal };
    if (executed.kind === "reply" && executed.reply === null) return { kind: "refused", text: "EXEC: nil" };
    return executed;
  }

  close(): void {
    this.#closed = true;
    this.#lose("closed");
  }

  /** Null when there is a connection, else why there is none. */
  async #connect(): Promise<string | null> {
    if (this.#closed) return "the session is closed";
    const { addresses, connectTimeoutMs, credentials, sentinel = null } = this.#options;
    const entrance = addresses[this.#turn % addresses.length];
    const address = sentinel === null ? entrance : await this.#askSentinel(entrance, sentinel);
    if (address === null) {
      this.#turn++;
      return `Cannot learn the primary of ${sentinel} from ${entrance}`;
    }
    const { host, port } = parseAddress(address);
    const opened = await this.#await(connectTimeoutMs, (settle) => {
      const decoder = new ReplyDecoder((reply) => this.#waiter?.(reply));
      const connection: Connection = this.#env.net.connect(host, port, {
        onOpen: () => settle("open"),
        onData: (bytes, start, end) => {
          try {
            decoder.push(bytes, start, end);
          } catch (error) {
            if (this.#connection === connection) this.#lose(errorTextOf(error));
          }
        },
        onEnd: () => this.#ended(connection, "the other side closed the connection"),
        onDrain: () => {},
        onClose: (reason) => this.#ended(connection, reason),
      });
      this.#connection = connection;
    });
    const signedIn = opened instanceof ConnectionLost || credentials === null ? opened : await this.#signIn();
    if (!(signedIn instanceof ConnectionLost) && !(signedIn instanceof ReplyError)) return null;
    this.#turn++;
    const reason = signedIn instanceof ReplyError ? signedIn.text : signedIn.reason;
    this.#lose(reason);
    return `Cannot connect to ${address}: ${reason}`;
  }

  /** A connection for one question: the sentinel may have another answer next time. */
  async #askSentinel(address: string, name: string): Promise<string | null> {
    const options = { ...this.#options, addresses: [address], credentials: null, sentinel: null };
    const session = new RespSession(this.#env, options, 0);
    const outcome = await session.run([["SENTINEL", "get-master-addr-by-name", name]]);
    session.close();
    if (outcome.kind !== "reply" || !Array.isArray(outcome.reply)) return null;
    return outcome.reply.join(":");
  }

  #signIn(): Promise<Reply | ConnectionLost> {
    const { user, password } = this.#options.credentials as { user: string | null; password: string };
    return this.#exchange(["AUTH", ...(user === null ? [] : [user]), password]);
  }

  /** Sends one command, waits for its reply. */
  #exchange(words: Words): Promise<Reply | ConnectionLost> {
    const connection = this.#connection;
    if (connection === null) return Promise.resolve(new ConnectionLost("the connection is gone"));
    return this.#await(this.#options.replyTimeoutMs, () => {
      connection.output.appendLatin1(encodeCommand(words));
      connection.flushSoon();
    });
  }

  /** Waits for the next reply, or what `begin` settles with; in the end gives the connection up. */
  #await(
    timeoutMs: number,
    begin: (settle: (reply: Reply) => void) => void,
  ): Promise<Reply | ConnectionLost> {
    return new Promise((resolve) => {
      const timer = this.#env.timers.after(timeoutMs, () => this.#lose(`no answer within ${timeoutMs} ms`));
      const settle = (outcome: Reply | ConnectionLost): void => {
        timer.cancel();
        this.#waiter = null;
        resolve(outcome);
      };
      this.#waiter = settle;
      begin(settle);
    });
  }

  #ended(connection: Connection, reason: string): void {
    if (this.#connection !== connection) return;
    // Another entrance may still work.
    this.#turn++;
    this.#lose(reason);
  }

  #lose(reason: string): void {
    const connection = this.#connection;
    this.#connection = null;
    connection?.close();
    this.#waiter?.(new ConnectionLost(reason));
  }
}

function outcomeOf(outcome: Reply | ConnectionLost): Outcome {
  if (outcome instanceof ConnectionLost) return { kind: "doubt", text: outcome.reason };
  return outcome instanceof ReplyError ? outcomeOfError(outcome.text) : { kind: "reply", reply: outcome };
}
