/**
 * A client for tests: bytes out, whole replies in, RESP2 and RESP3. Shares no code with src/resp, so that a
 * mistake there is not made twice.
 *
 *   const client = await RespClient.connect(port);
 *   client.write(encodeRequest(["GET", "k"]));
 *   const raw = await client.reply();        bytes as they came
 *   decodeReplyTree(raw)                     {type: "$", text: "v", items: []}
 */
import { connect, type Socket } from "node:net";

/** How long a reply may take. */
const REPLY_TIMEOUT_MS = 10_000;

/** A request in array form. Strings are Latin-1: a byte for each character. */
export function encodeRequest(words: readonly string[]): Buffer {
  const bodies = words.map((word) => `$${word.length}\r\n${word}\r\n`);
  return Buffer.from(`*${words.length}\r\n${bodies.join("")}`, "latin1");
}

/** A decoded reply. `type` is the type byte; of a map the items are key, value, key, value. */
export interface ReplyTree {
  readonly type: string;
  /** Latin-1; "" for aggregates. A null has the text "null". */
  readonly text: string;
  readonly items: readonly ReplyTree[];
}

interface Parsed {
  readonly tree: ReplyTree;
  readonly next: number;
}

/** Thrown inside the parser when bytes are missing. */
const MISSING = new Error("bytes are missing");

function parse(bytes: Buffer, at: number): Parsed {
  const lineEnd = bytes.indexOf("\r\n", at, "latin1");
  if (lineEnd < 0) throw MISSING;
  const type = String.fromCharCode(bytes[at]);
  const line = bytes.toString("latin1", at + 1, lineEnd);
  const next = lineEnd + 2;
  if ("+-:_#,(".includes(type)) {
    return { tree: { type, text: type === "_" ? "null" : line, items: [] }, next };
  }
  if (!"$=!*~>%|".includes(type)) throw new Error(`no reply type: ${JSON.stringify(type + line)}`);
  const size = Number(line);
  if (size < 0) return { tree: { type, text: "null", items: [] }, next };
  if ("$=!".includes(type)) {
    if (next + size + 2 > bytes.length) throw MISSING;
    return {
      tree: { type, text: bytes.toString("latin1", next, next + size), items: [] },
      next: next + size + 2,
    };
  }
  const items: ReplyTree[] = [];
  let position = next;
  for (let left = "%|".includes(type) ? size * 2 : size; left > 0; left--) {
    const item = parse(bytes, position);
    items.push(item.tree);
    position = item.next;
  }
  return { tree: { type, text: "", items }, next: position };
}

/** Decodes one whole reply. */
export function decodeReplyTree(raw: Buffer): ReplyTree {
  return parse(raw, 0).tree;
}

interface Waiter {
  readonly resolve: (raw: Buffer) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

export class RespClient {
  /** The other side has closed or the connection broke. */
  closed = false;
  readonly #socket: Socket;
  #bytes: Buffer = Buffer.alloc(0);
  readonly #replies: Buffer[] = [];
  readonly #waiters: Waiter[] = [];
  #onClosed: (() => void) | null = null;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => this.#onData(chunk));
    socket.on("error", () => undefined);
    socket.on("close", () => this.#onClose());
    socket.on("end", () => this.#onClose());
  }

  static connect(port: number): Promise<RespClient> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: "127.0.0.1", port });
      socket.once("error", reject);
      socket.once("connect", () => resolve(new RespClient(socket)));
    });
  }

  write(bytes: string | Uint8Array): void {
    this.#socket.write(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes);
  }

  /** The next reply, as bytes. */
  reply(): Promise<Buffer> {
    const ready = this.#replies.shift();
    if (ready !== undefined) return Promise.resolve(ready);
    if (this.closed) return Promise.reject(new Error("the connection is closed and no reply is left"));
    return new Promise((resolve, reject) => {
      const failed = new Error(`no reply within ${REPLY_TIMEOUT_MS} ms; unfinished bytes: ${this.#rest()}`);
      const timer = setTimeout(() => reject(failed), REPLY_TIMEOUT_MS);
      this.#waiters.push({ resolve, reject, timer });
    });
  }

  async replies(count: number): Promise<Buffer[]> {
    const replies: Buffer[] = [];
    while (replies.length < count) replies.push(await this.reply());
    return replies;
  }

  /** Sends one request and returns its reply's bytes. */
  command(...words: string[]): Promise<Buffer> {
    this.write(encodeRequest(words));
    return this.reply();
  }

  /** As `command`, the reply as text; for short ones. */
  async text(...words: string[]): Promise<string> {
    return (await this.command(...words)).toString("latin1");
  }

  /** Resolves when the other side has closed. Replies that came before stay to be read. */
  untilClosed(): Promise<void> {
    if (this.closed) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("the connection stays open")), REPLY_TIMEOUT_MS);
      this.#onClosed = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** Stops reading for good, as a client does that hangs. */
  pause(): void {
    this.#socket.pause();
  }

  /** Says that no more will be sent; replies still arrive. */
  end(): void {
    this.#socket.end();
  }

  /** All replies until the other side closes. */
  async toEnd(): Promise<Buffer[]> {
    await this.untilClosed();
    return this.#replies.splice(0);
  }

  close(): void {
    this.#socket.destroy();
    this.#onClose();
  }

  #rest(): string {
    return JSON.stringify(this.#bytes.toString("latin1", 0, 200));
  }

  #onData(chunk: Buffer): void {
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
    let at = 0;
    try {
      while (at < this.#bytes.length) {
        const { next } = parse(this.#bytes, at);
        this.#take(Buffer.from(this.#bytes.subarray(at, next)));
        at = next;
      }
    } catch (error) {
      if (error !== MISSING) this.#broken(error as Error);
    }
    this.#bytes = this.#bytes.subarray(at);
  }

  #take(raw: Buffer): void {
    const waiter = this.#waiters.shift();
    if (waiter === undefined) {
      this.#replies.push(raw);
      return;
    }
    clearTimeout(waiter.timer);
    waiter.resolve(raw);
  }

  #broken(error: Error): void {
    for (const waiter of this.#waiters.splice(0)) {
      clearTimeout(waiter.timer);
      waiter.reject(error);
    }
    this.#socket.destroy();
  }

  #onClose(): void {
    this.closed = true;
    this.#broken(new Error("the connection was closed"));
    this.#onClosed?.();
  }
}
