/**
 * A RESP client that knows pushes from replies, and one with a cache as client libraries have it.
 *
 *   bytes ─▶ parser ─▶ push ─▶ onPush        everything else ─▶ the oldest call
 */
import { connect, type Socket } from "node:net";

/** An error reply. */
export class Fault {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

export type Value = string | number | null | Fault | Value[];

/** How long a reply may take. */
const REPLY_TIMEOUT_MS = 10_000;
const MISSING = Symbol("bytes are missing");

interface Call {
  /** Sees the reply in the order of arrival: a promise would be told after pushes that came behind it. */
  readonly seen: (value: Value) => void;
  readonly resolve: (value: Value) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

function encode(words: readonly string[]): string {
  return `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join("")}`;
}

export class TrackingClient {
  closed = false;
  /** Pushes that have come and that nobody has taken. */
  readonly pushes: Value[] = [];
  /** Sees each push, and in the order of arrival each reply before its call does. */
  onPush: (push: Value[]) => void = (push) => this.pushes.push(push);
  onClosed: () => void = () => undefined;
  readonly #socket: Socket;
  readonly #calls: Call[] = [];
  #bytes: Buffer = Buffer.alloc(0);
  #at = 0;

  protected constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => this.#onData(chunk));
    socket.on("error", () => undefined);
    socket.on("close", () => this.#onClose());
  }

  protected static open(port: number): Promise<Socket> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: "127.0.0.1", port });
      socket.once("error", reject);
      socket.once("connect", () => resolve(socket));
    });
  }

  static async connect(port: number, protocol: 2 | 3 = 3): Promise<TrackingClient> {
    const client = new TrackingClient(await TrackingClient.open(port));
    if (protocol === 3) await client.call("HELLO", "3");
    return client;
  }

  call(...words: string[]): Promise<Value> {
    return this.callSeen(() => undefined, ...words);
  }

  callSeen(seen: (value: Value) => void, ...words: string[]): Promise<Value> {
    if (this.closed) return Promise.reject(new Error("the connection is closed"));
    return new Promise((resolve, reject) => {
      const late = (): void =>
        reject(new Error(`no reply to ${words.join(" ")} within ${REPLY_TIMEOUT_MS} ms`));
      this.#calls.push({ seen, resolve, reject, timer: setTimeout(late, REPLY_TIMEOUT_MS) });
      this.#socket.write(encode(words));
    });
  }

  /** Several calls in one write; `seen` is told the last one's reply. */
  batch(
    calls: readonly (readonly string[])[],
    seen: (value: Value) => void = () => undefined,
  ): Promise<Value[]> {
    this.#socket.cork();
    const last = calls.length - 1;
    const replies = calls.map((words, i) => this.callSeen(i === last ? seen : () => undefined, ...words));
    this.#socket.uncork();
    return Promise.all(replies);
  }

  /** What has been pushed since the last time; pushes that are on their way behind a reply are awaited. */
  async taken(): Promise<Value[]> {
    await this.call("PING");
    return this.pushes.splice(0);
  }

  close(): void {
    this.#socket.destroy();
    this.#onClose();
  }

  #onData(chunk: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes.subarray(this.#at), chunk]);
    this.#at = 0;
    for (;;) {
      const start = this.#at;
      const isPush = this.#bytes[start] === 62;
      const value = this.#parse();
      if (value === MISSING) {
        this.#at = start;
        return;
      }
      this.#take(value, isPush);
    }
  }

  #take(value: Value, isPush: boolean): void {
    if (isPush) {
      this.onPush(value as Value[]);
      return;
    }
    const call = this.#calls.shift();
    // A subscriber of RESP2 gets its messages as arrays.
    if (call === undefined) this.onPush(value as Value[]);
    else {
      clearTimeout(call.timer);
      call.seen(value);
      call.resolve(value);
    }
  }

  #onClose(): void {
    if (this.closed) return;
    this.closed = true;
    for (const call of this.#calls.splice(0)) {
      clearTimeout(call.timer);
      call.reject(new Error("the connection was closed"));
    }
    this.onClosed();
  }

  #parse(): Value | typeof MISSING {
    const end = this.#bytes.indexOf("\r\n", this.#at);
    if (end < 0) return MISSING;
    const type = String.fromCharCode(this.#bytes[this.#at]);
    const line = this.#bytes.toString("utf8", this.#at + 1, end);
    this.#at = end + 2;
    if (type === "+") return line;
    if (type === "-") return new Fault(line);
    if (type === ":") return Number(line);
    if (type === "_") return null;
    if (type === "$" || type === "=") return this.#body(Number(line));
    if ("*~>".includes(type)) return this.#list(Number(line));
    if (type === "%") return this.#list(Number(line) * 2);
    throw new Error(`no reply: ${type}${line}`);
  }

  #body(length: number): string | null | typeof MISSING {
    if (length < 0) return null;
    const from = this.#at;
    if (this.#bytes.length < from + length + 2) return MISSING;
    this.#at = from + length + 2;
    return this.#bytes.toString("utf8", from, from + length);
  }

  #list(length: number): Value[] | null | typeof MISSING {
    if (length < 0) return null;
    const list: Value[] = [];
    while (list.length < length) {
      const value = this.#parse();
      if (value === MISSING) return MISSING;
      list.push(value);
    }
    return list;
  }
}

/** A client with a cache: GET answers from it; an invalidation drops a key, a lost connection everything. */
export class CachingClient {
  readonly cache = new Map<string, string | null>();
  /** Answers that came from the cache. */
  hits = 0;
  readonly #client: TrackingClient;

  private constructor(client: TrackingClient) {
    this.#client = client;
    client.onPush = (push) => this.#onPush(push);
    client.onClosed = () => this.cache.clear();
  }

  static async connect(port: number, ...mode: string[]): Promise<CachingClient> {
    const client = new CachingClient(await TrackingClient.connect(port));
    const reply = await client.#client.call("CLIENT", "TRACKING", "ON", ...mode);
    if (reply !== "OK") throw new Error(`CLIENT TRACKING ON answered ${JSON.stringify(reply)}`);
    return client;
  }

  get closed(): boolean {
    return this.#client.closed;
  }

  /** Writes; with `keeps` what was written is cached, which needs BCAST: else nobody would tell of it. */
  async set(key: string, value: string, keeps: boolean): Promise<void> {
    this.cache.delete(key);
    const written = (reply: Value): void => {
      if (keeps && reply === "OK") this.cache.set(key, value);
      else this.cache.delete(key);
    };
    const reply = await this.#client.callSeen(written, "SET", key, value);
    if (reply instanceof Fault) throw new Error(reply.text);
  }

  async get(key: string): Promise<string | null> {
    const cached = this.cache.get(key);
    if (cached !== undefined) {
      this.hits++;
      return cached;
    }
    const value = await this.#client.callSeen((reply) => this.#keep([key], [reply]), "GET", key);
    if (value instanceof Fault) throw new Error(value.text);
    return value as string | null;
  }

  /** Reads through a MULTI. */
  async getInTransaction(keys: readonly string[]): Promise<void> {
    const reads = keys.map((key) => ["GET", key]);
    const replies = await this.#client.batch([["MULTI"], ...reads, ["EXEC"]], (reply) =>
      this.#keep(keys, reply),
    );
    const values = replies.at(-1);
    if (!Array.isArray(values)) throw new Error(`the transaction answered ${JSON.stringify(replies)}`);
  }

  async getAll(keys: readonly string[]): Promise<void> {
    const values = await this.#client.callSeen((reply) => this.#keep(keys, reply), "MGET", ...keys);
    if (!Array.isArray(values)) throw new Error(`MGET answered ${JSON.stringify(values)}`);
  }

  close(): void {
    this.#client.close();
  }

  #keep(keys: readonly string[], reply: Value): void {
    if (!Array.isArray(reply)) return;
    keys.forEach((key, i) => {
      const value = reply[i];
      if (value === null || typeof value === "string") this.cache.set(key, value);
    });
  }

  #onPush(push: Value[]): void {
    if (push[0] !== "invalidate") return;
    if (push[1] === null) this.cache.clear();
    else for (const key of push[1] as string[]) this.cache.delete(key);
  }
}
