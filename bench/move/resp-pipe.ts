/**
 * A plain connection: requests out, in order back the first byte of each reply and its text as far as it is
 * short.
 */
import { connect, type Socket } from "node:net";
import { REPLY_INCOMPLETE, ReplyScanner } from "../../src/resp/reply-scanner.ts";
import { SLACK_BYTES } from "../../src/env/net.ts";
import type { Words } from "./dataset.ts";

const BUFFER_BYTES = 1 << 20;
const TEXT_BYTES_MAX = 200;

export class RespPipe {
  readonly #socket: Socket;
  readonly #scanner = new ReplyScanner();
  readonly #waiting: Array<(reply: string) => void> = [];
  #buffer = Buffer.alloc(BUFFER_BYTES + SLACK_BYTES);
  #end = 0;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => this.#take(chunk));
    socket.on("error", () => {});
    socket.on("close", () => {
      for (const answer of this.#waiting.splice(0)) answer("-CLOSED the connection is closed");
    });
  }

  static open(host: string, port: number): Promise<RespPipe> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host, port });
      socket.once("error", reject);
      socket.once("connect", () => resolve(new RespPipe(socket)));
    });
  }

  /** The beginning of the reply: "+OK", "$3\r\nabc", "-MOVED 1 a:1". */
  send(words: Words): Promise<string> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#socket.write(encode(words));
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(chunk: Buffer): void {
    if (this.#end + chunk.length > this.#buffer.length - SLACK_BYTES) {
      const larger = Buffer.alloc((this.#end + chunk.length) * 2 + SLACK_BYTES);
      this.#buffer.copy(larger, 0, 0, this.#end);
      this.#buffer = larger;
    }
    chunk.copy(this.#buffer, this.#end);
    this.#end += chunk.length;
    let at = 0;
    while (at < this.#end) {
      const next = this.#scanner.scan(this.#buffer, at, this.#end);
      if (next === REPLY_INCOMPLETE) break;
      if (next < 0) throw new Error("Cannot read a reply: it is not RESP");
      this.#waiting.shift()?.(this.#buffer.toString("latin1", at, Math.min(next, at + TEXT_BYTES_MAX)));
      at = next;
    }
    this.#buffer.copyWithin(0, at, this.#end);
    this.#end -= at;
  }
}

export function encode(words: Words): string {
  let text = `*${words.length}\r\n`;
  for (const word of words) text += `$${word.length}\r\n${word}\r\n`;
  return text;
}
