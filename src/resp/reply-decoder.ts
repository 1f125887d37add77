/**
 * A whole reply as plain values. For what the proxy and the controller read themselves, never for what is
 * passed on.
 *
 *   simple, bulk, verbatim ─▶ string (Latin-1: a character per byte)     integer ─▶ number     null ─▶ null
 *   array, set, push ─▶ array     map ─▶ Map     double ─▶ number     boolean ─▶ boolean     error ─▶
 *   ReplyError
 */
import { readLatin1 } from "../base/bytes.ts";

/** An error that a server answered with. `text` has no "-" in front. */
export class ReplyError {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** Decodes the whole reply `bytes[start, end)`; where it ends must have been found by a ReplyScanner. */
export function decodeReply(bytes: Uint8Array, start: number, end: number): unknown {
  return new Decoder(bytes, start, end).next();
}

class Decoder {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  #at: number;

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  next(): unknown {
    const type = String.fromCharCode(this.#bytes[this.#at]);
    const line = this.#line();
    switch (type) {
      case "+":
        return line;
      case "-":
        return new ReplyError(line);
      case ":":
      case ",":
        return Number(line.replace("inf", "Infinity"));
      case "(":
        return BigInt(line);
      case "#":
        return line === "t";
      case "_":
        return null;
      case "$":
        return this.#body(Number(line));
      case "=":
        return this.#body(Number(line))?.slice(4);
      case "!":
        return new ReplyError(this.#body(Number(line)) ?? "");
      case "%":
        return this.#pairs(Number(line));
      case "|":
        this.#pairs(Number(line));
        return this.next();
      default:
        return this.#list(Number(line));
    }
  }

  #line(): string {
    const from = this.#at + 1;
    let at = from;
    while (at < this.#end && this.#bytes[at] !== 10) at++;
    this.#at = at + 1;
    return readLatin1(this.#bytes, from, at - 1);
  }

  #body(length: number): string | null {
    if (length < 0) return null;
    const text = readLatin1(this.#bytes, this.#at, this.#at + length);
    this.#at += length + 2;
    return text;
  }

  #list(length: number): unknown[] | null {
    if (length < 0) return null;
    const list: unknown[] = [];
    for (let i = 0; i < length; i++) list.push(this.next());
    return list;
  }

  #pairs(length: number): Map<unknown, unknown> {
    const pairs = new Map<unknown, unknown>();
    for (let i = 0; i < length; i++) pairs.set(this.next(), this.next());
    return pairs;
  }
}
