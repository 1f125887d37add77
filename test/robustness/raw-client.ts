/**
 * A client that is nothing but a socket and a reply parser of its own, so that tests can send what no library
 * would, and so that the proxy's own parser is not its own judge.
 *
 *   send(bytes) ─▶ socket ─▶ bytes ─▶ parser ─▶ next() in order
 */
import { type Socket, connect } from "node:net";

/** An error reply. */
export class ReplyFault {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

export type Reply = string | number | null | ReplyFault | Reply[];

/** A request in array form; strings are Latin-1, a byte for each character. */
export function encode(...words: readonly (string | Uint8Array)[]): Buffer {
  return encodeList(words);
}

/** As `encode`, for more words than a call takes arguments. */
export function encodeList(words: readonly (string | Uint8Array)[]): Buffer {
  const parts: string[] = [`*${words.length}\r\n`];
  for (const word of words) {
    const text = typeof word === "string" ? word : Buffer.from(word).toString("latin1");
    parts.push(`$${text.length}\r\n${text}\r\n`);
  }
  return Buffer.from(parts.join(""), "latin1");
}

interface Waiter {
  resolve(reply: Reply): void;
  reject(error: Error): void;
}

/** A reply that takes longer is missing: the test fails by name instead of by the runner's clock. */
const REPLY_WAIT_MS = 20_000;

const MISSING = Symbol("bytes are missing");

export class RawClient {
  readonly socket: Socket;
  /** The other side has closed, or the connection broke. */
  closed = false;
  /** Bytes that have arrived. */
  received = 0;
  #bytes: Buffer = Buffer.alloc(0);
  #chunks: Buffer[] = [];
  #waitingBytes = 0;
  #neededBytes = 0;
  #at = 0;
  readonly #replies: Reply[] = [];
  readonly #waiters: Waiter[] = [];

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => this.#onData(chunk));
    socket.on("error", () => undefined);
    socket.on("close", () => this.#onClose());
    socket.on("end", () => this.#onClose());
  }

  static connect(port: number): Promise<RawClient> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: "127.0.0.1", port });
      socket.once("error", reject);
      socket.once("connect", () => resolve(new RawClient(socket)));
    });
  }

  write(bytes: string | Uint8Array): void {
    this.socket.write(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes);
  }

  /** Writes and resolves when the socket has taken it: for more bytes than should lie in memory. */
  writeAll(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.socket.write(bytes, (error) => (error ? reject(error) : resolve()));
    });
  }

  /**
   * Sends one request; its reply comes back. Replies come in order, so nothing else must be read meanwhile.
   */
  call(...words: readonly (string | Uint8Array)[]): Promise<Reply> {
    this.write(encode(...words));
    return this.next();
  }

  callList(words: readonly string[]): Promise<Reply> {
    this.write(encodeList(words));
    return this.next();
  }

  /** As `call`, but the reply must be an error; its text comes back. */
  async fault(...words: readonly (string | Uint8Array)[]): Promise<string> {
    const reply = await this.call(...words);
    if (reply instanceof ReplyFault) return reply.text;
    throw new Error(
      `${String(words[0])} answered ${JSON.stringify(reply)?.slice(0, 200)} instead of an error`,
    );
  }

  /** The next reply. Rejects when the connection ends before it. */
  next(): Promise<Reply> {
    if (this.#replies.length > 0) return Promise.resolve(this.#replies.shift() as Reply);
    if (this.closed) return Promise.reject(new Error("the connection has ended"));
    return new Promise((resolve, reject) => {
      const late = (): void => {
        this.socket.destroy();
        reject(new Error(`no reply within ${REPLY_WAIT_MS} ms, ${this.received} bytes so far`));
      };
      const timer = setTimeout(late, REPLY_WAIT_MS);
      this.#waiters.push({
        resolve: (reply) => (clearTimeout(timer), resolve(reply)),
        reject: (error) => (clearTimeout(timer), reject(error)),
      });
    });
  }

  async take(count: number): Promise<Reply[]> {
    const replies: Reply[] = [];
    for (let i = 0; i < count; i++) replies.push(await this.next());
    return replies;
  }

  close(): void {
    this.socket.destroy();
  }

  #onData(chunk: Buffer): void {
    this.received += chunk.length;
    this.#chunks.push(chunk);
    this.#waitingBytes += chunk.length;
    if (this.#bytes.length - this.#at + this.#waitingBytes < this.#neededBytes) return;
    this.#bytes = Buffer.concat([this.#bytes.subarray(this.#at), ...this.#chunks]);
    this.#chunks = [];
    this.#waitingBytes = 0;
    this.#at = 0;
    for (;;) {
      const start = this.#at;
      this.#neededBytes = 0;
      const reply = this.#parse();
      if (reply === MISSING) {
        this.#at = start;
        return;
      }
      const waiter = this.#waiters.shift();
      if (waiter === undefined) this.#replies.push(reply as Reply);
      else waiter.resolve(reply as Reply);
    }
  }

  #onClose(): void {
    this.closed = true;
    for (const waiter of this.#waiters.splice(0)) waiter.reject(new Error("the connection has ended"));
  }

  #parse(): Reply | typeof MISSING {
    const end = this.#bytes.indexOf("\r\n", this.#at);
    if (end < 0) return MISSING;
    const type = String.fromCharCode(this.#bytes[this.#at]);
    const line = this.#bytes.toString("latin1", this.#at + 1, end);
    this.#at = end + 2;
    if (type === "+") return line;
    if (type === "-") return new ReplyFault(line);
    if (type === ":") return Number(line);
    if (type === "_") return null;
    if (type === "$") return this.#body(Number(line));
    if (type === "*" || type === "~" || type === ">") return this.#list(Number(line));
    if (type === "%") return this.#list(Number(line) * 2);
    if (type === "," || type === "(" || type === "#") return line;
    throw new Error(`no reply: ${type}${line.slice(0, 80)}`);
  }

  #body(length: number): string | null | typeof MISSING {
    if (length < 0) return null;
    const from = this.#at;
    if (this.#bytes.length < from + length + 2) {
      this.#neededBytes = length;
      return MISSING;
    }
    this.#at = from + length + 2;
    return this.#bytes.toString("latin1", from, from + length);
  }

  #list(length: number): Reply[] | null | typeof MISSING {
    if (length < 0) return null;
    const list: Reply[] = [];
    for (let i = 0; i < length; i++) {
      const reply = this.#parse();
      if (reply === MISSING) return MISSING;
      list.push(reply);
    }
    return list;
  }
}
