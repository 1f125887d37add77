/**
 * Inline requests (`PING\r\n` typed by hand, health checks): one line, words split as Redis's sdssplitargs
 * does, turned into the usual array form in a scratch buffer, so that everything behind it knows one form
 * only.
 *
 *   SET k "a b\x21" ─▶ *3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\na b!\r\n
 */
import { type Bytes, writeLatin1 } from "../base/bytes.ts";
import { INCOMPLETE, PROTOCOL_ERROR } from "./request-scanner.ts";

/** Bytes of one line, without its end. Redis: PROTO_INLINE_MAX_SIZE. */
export const INLINE_BYTES_MAX = 64 << 10;
/** A line of one-letter words grows from 2 to 7 bytes a word; and the head. */
const SCRATCH_BYTES = INLINE_BYTES_MAX * 4 + 64;

const LF = 10;
const CR = 13;
const DOUBLE_QUOTE = 34;
const SINGLE_QUOTE = 39;
const BACKSLASH = 92;

const ESCAPES: Readonly<Record<string, number>> = { n: 10, r: 13, t: 9, b: 8, a: 7 };

function isSpace(byte: number): boolean {
  return byte === 32 || (byte >= 9 && byte <= 13) || byte === 0;
}

function hexDigit(byte: number): number {
  if (byte >= 48 && byte <= 57) return byte - 48;
  const lower = byte | 32;
  return lower >= 97 && lower <= 102 ? lower - 87 : -1;
}

export class InlineRequest {
  /**
   * The request in array form: `bytes[0, length)`; `length` is 0 for an empty line. Valid until the next
   * `read`.
   */
  readonly bytes: Bytes;
  length = 0;
  error = "";
  readonly #words: number[] = [];
  readonly #text: Bytes;
  #at = 0;
  #textEnd = 0;

  constructor(allocate: (size: number) => Bytes) {
    this.bytes = allocate(SCRATCH_BYTES);
    this.#text = allocate(INLINE_BYTES_MAX + 1);
  }

  /** Reads one line at `start`. The position after it, INCOMPLETE or PROTOCOL_ERROR. */
  read(source: Uint8Array, start: number, end: number): number {
    const found = source.indexOf(LF, start);
    const newline = found < 0 || found >= end ? -1 : found;
    if (newline < 0 && end - start <= INLINE_BYTES_MAX) return INCOMPLETE;
    if (newline < 0 || newline - start > INLINE_BYTES_MAX) {
      this.error = "too big inline request";
      return PROTOCOL_ERROR;
    }
    const lineEnd = newline > start && source[newline - 1] === CR ? newline - 1 : newline;
    if (!this.#split(source, start, lineEnd)) {
      this.error = "unbalanced quotes in request";
      return PROTOCOL_ERROR;
    }
    this.#encode();
    return newline + 1;
  }

  /** Words, unquoted, behind each other in #text; where each ends in #words. */
  #split(source: Uint8Array, start: number, end: number): boolean {
    this.#words.length = 0;
    this.#textEnd = 0;
    this.#at = start;
    for (;;) {
      while (this.#at < end && isSpace(source[this.#at])) this.#at++;
      if (this.#at >= end) return true;
      if (!this.#word(source, end)) return false;
      this.#words.push(this.#textEnd);
    }
  }

  #word(source: Uint8Array, end: number): boolean {
    while (this.#at < end) {
      const byte = source[this.#at];
      if (isSpace(byte)) return true;
      if (byte === DOUBLE_QUOTE || byte === SINGLE_QUOTE) return this.#quoted(source, end, byte);
      this.#text[this.#textEnd++] = byte;
      this.#at++;
    }
    return true;
  }

  /** A closing quote must be followed by a space or the end of the line. */
  #quoted(source: Uint8Array, end: number, quote: number): boolean {
    for (this.#at++; this.#at < end; this.#at++) {
      const byte = source[this.#at];
      if (byte === quote) {
        this.#at++;
        return this.#at >= end || isSpace(source[this.#at]);
      }
      if (byte === BACKSLASH && this.#at + 1 < end) this.#escaped(source, end, quote);
      else this.#text[this.#textEnd++] = byte;
    }
    return false;
  }

  #escaped(source: Uint8Array, end: number, quote: number): void {
    const next = source[this.#at + 1];
    if (quote === SINGLE_QUOTE) {
      if (next === SINGLE_QUOTE) this.#at++;
      this.#text[this.#textEnd++] = next === SINGLE_QUOTE ? next : BACKSLASH;
      return;
    }
    const high = this.#at + 3 < end ? hexDigit(source[this.#at + 2]) : -1;
    const low = high < 0 ? -1 : hexDigit(source[this.#at + 3]);
    if (next === 120 && low >= 0) {
      this.#text[this.#textEnd++] = high * 16 + low;
      this.#at += 3;
      return;
    }
    this.#text[this.#textEnd++] = ESCAPES[String.fromCharCode(next)] ?? next;
    this.#at++;
  }

  #encode(): void {
    const words = this.#words;
    this.length = 0;
    if (words.length === 0) return;
    let at = writeLatin1(this.bytes, 0, `*${words.length}\r\n`);
    let from = 0;
    for (const to of words) {
      at = writeLatin1(this.bytes, at, `$${to - from}\r\n`);
      this.#text.copy(this.bytes, at, from, to);
      at = writeLatin1(this.bytes, at + to - from, "\r\n");
      from = to;
    }
    this.length = at;
  }
}
