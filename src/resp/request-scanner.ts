/**
 * Finds where a client's request ends and where its arguments stand. No copy, no string, no object.
 *
 *   *3\r\n $3\r\nSET\r\n $1\r\nk\r\n $5\r\nhello\r\n
 *             └ argStart[0],argEnd[0]  …[1]      …[2]         scan() ─▶ the position after the last \n
 *
 *   scan ──▶ position        a whole request
 *        ──▶ INCOMPLETE      bytes are missing; `resume` goes on where this stopped
 *        ──▶ PROTOCOL_ERROR  `error` says what, in Redis's words
 *
 * Rules and texts are those of Redis 7.0 (networking.c, processMultibulkBuffer): up to 1024*1024 … arguments
 * are limited here by {@link REQUEST_ARGUMENTS_MAX}, a bulk by {@link BULK_BYTES_MAX}; like Redis, the two
 * bytes after a bulk are skipped unseen. Bounds are checked once per element, after reading: the buffer has
 * SLACK_BYTES readable bytes behind `end`, so a header (16 bytes at most) never reads outside, and what it
 * read behind `end` is thrown away. Rejected: a check per byte (measured 30 % slower), and a parser that
 * makes an array of strings.
 */

import type { Bytes } from "../base/bytes.ts";

export const INCOMPLETE = -1;
export const PROTOCOL_ERROR = -2;
/** The request is an inline one: see inline-request.ts. */
export const INLINE = -3;

/** Arguments that one request may have. Redis: INT_MAX. */
export const REQUEST_ARGUMENTS_MAX = 4 << 20;
/** Bytes of one argument; `proto-max-bulk-len`'s default. */
export const BULK_BYTES_MAX = 512 << 20;

const NO_BYTES = new Uint8Array(0) as unknown as Bytes;

const CR = 13;
const STAR = 42;
const DOLLAR = 36;
const ZERO = 48;
/** Digits of the longest number that is not too large; one more is an error in any case. */
const DIGITS_MAX = 10;
const FIRST_CAPACITY = 64;
/**
 * Element boundaries of `bytes` are worth keeping above this many arguments; below, the arrays are reused.
 */
const KEPT_CAPACITY_MAX = 4096;
/** Redis asks for this many bytes of a bulk's header and body at least: "$0\r\n\r\n". */
const ELEMENT_BYTES_MIN = 6;

export class RequestScanner {
  /** The buffer that the positions are about, once the request is looked at more closely; set by who does. */
  bytes: Bytes = NO_BYTES;
  argc = 0;
  argStart = new Int32Array(FIRST_CAPACITY);
  argEnd = new Int32Array(FIRST_CAPACITY);
  /** What is wrong, after PROTOCOL_ERROR. */
  error = "";
  /**
   * After INCOMPLETE: the fewest bytes, counted from the request's start, with which trying again can get
   * further.
   */
  bytesNeeded = 0;
  /**
   * After INCOMPLETE: the length of the argument that is arriving, or -1 when its header is not there yet.
   */
  pendingBulkBytes = -1;
  /** Arguments that are known, of `argc`. */
  argsSeen = 0;
  /** Where the next element begins. */
  position = 0;

  /** Scans the request that begins at `start`. */
  scan(bytes: Uint8Array, start: number, end: number): number {
    this.argsSeen = 0;
    this.argc = 0;
    if (start >= end) return this.#incomplete(start, 1);
    if (bytes[start] !== STAR) return INLINE;
    let at = start + 1;
    let digit = bytes[at] - ZERO;
    let count = digit;
    const negative = digit === -3;
    if (negative) {
      digit = bytes[++at] - ZERO;
      count = digit;
    }
    if (!(digit >= 0 && digit <= 9)) return this.#headerError(at, start, end, "invalid multibulk length");
    const first = at;
    while (bytes[++at] !== CR) {
      digit = bytes[at] - ZERO;
      if (!(digit >= 0 && digit <= 9) || at - first > DIGITS_MAX || count === 0) {
        return this.#headerError(at, start, end, "invalid multibulk length");
      }
      count = count * 10 + digit;
    }
    at += 2;
    if (at > end) return this.#incomplete(start, at - start);
    if (negative && count === 0) return this.#fail("invalid multibulk length");
    if (negative || count === 0) return at;
    if (count > REQUEST_ARGUMENTS_MAX) return this.#fail("invalid multibulk length");
    this.argc = count;
    if (count > this.argStart.length) this.#grow(count);
    return this.#scanArguments(bytes, at, start, end);
  }

  /**
   * Goes on after INCOMPLETE; the request now stands at `bytes[start, …)`, where `rebase` has been told
   * about it.
   */
  resume(bytes: Uint8Array, start: number, end: number): number {
    if (this.argc === 0) return this.scan(bytes, start, end);
    const next = this.#scanArguments(bytes, this.position, start, end);
    // A whole request that is not taken now is looked at again, and ends at the same place then.
    if (next >= 0) this.position = next;
    return next;
  }

  /** The request's bytes have been copied: what stood at `from` stands at `to` now. */
  rebase(from: number, to: number): void {
    const shift = to - from;
    for (let i = 0; i < this.argsSeen; i++) {
      this.argStart[i] += shift;
      this.argEnd[i] += shift;
    }
    this.position += shift;
  }

  /** Forgets arrays that a huge request made large. */
  shrink(): void {
    if (this.argStart.length <= KEPT_CAPACITY_MAX) return;
    this.argStart = new Int32Array(FIRST_CAPACITY);
    this.argEnd = new Int32Array(FIRST_CAPACITY);
  }

  #scanArguments(bytes: Uint8Array, from: number, start: number, end: number): number {
    const { argStart, argEnd, argc } = this;
    let at = from;
    for (let i = this.argsSeen; i < argc; i++) {
      const element = at;
      let digit = bytes[at + 1] - ZERO;
      if (bytes[at] !== DOLLAR || !(digit >= 0 && digit <= 9))
        return this.#bulkError(bytes, element, i, start, end);
      let length = digit;
      const first = ++at;
      while (bytes[++at] !== CR) {
        digit = bytes[at] - ZERO;
        if (!(digit >= 0 && digit <= 9) || at - first > DIGITS_MAX || length === 0) {
          return this.#bulkError(bytes, element, i, start, end);
        }
        length = length * 10 + digit;
      }
      at += 2;
      if (length > BULK_BYTES_MAX) return this.#bulkError(bytes, element, i, start, end);
      argStart[i] = at;
      at += length;
      argEnd[i] = at;
      at += 2;
      if (at > end) return this.#stop(element, i, length, start, end);
    }
    this.argsSeen = argc;
    return at;
  }

  /** An argument is not all there. When its header is, `pendingBulkBytes` tells how long it will be. */
  #stop(element: number, index: number, length: number, start: number, end: number): number {
    this.argsSeen = index;
    const bodyStart = this.argStart[index];
    const rest = (this.argc - index - 1) * ELEMENT_BYTES_MIN;
    if (bodyStart > end) return this.#incomplete(element, bodyStart - start + rest);
    const result = this.#incomplete(element, bodyStart + length + 2 - start + rest);
    this.pendingBulkBytes = length;
    return result;
  }

  #incomplete(position: number, bytesNeeded: number): number {
    this.position = position;
    this.bytesNeeded = bytesNeeded;
    this.pendingBulkBytes = -1;
    return INCOMPLETE;
  }

  /** A header cannot be read: because it is wrong, or because it has not arrived. */
  #headerError(at: number, start: number, end: number, text: string): number {
    if (at >= end) return this.#incomplete(start, end - start + 1);
    return this.#fail(text);
  }

  #bulkError(bytes: Uint8Array, element: number, index: number, start: number, end: number): number {
    this.argsSeen = index;
    if (element >= end)
      return this.#incomplete(element, element - start + (this.argc - index) * ELEMENT_BYTES_MIN);
    if (bytes[element] !== DOLLAR) {
      return this.#fail(`expected '$', got '${String.fromCharCode(bytes[element])}'`);
    }
    let at = element + 1;
    while (at < end && at - element <= DIGITS_MAX && bytes[at] >= ZERO && bytes[at] <= ZERO + 9) at++;
    const overlong = at - element > DIGITS_MAX || (bytes[element + 1] === ZERO && at - element > 2);
    if (at >= end && !overlong) return this.#incomplete(element, end - start + 1);
    return this.#fail("invalid bulk length");
  }

  #fail(text: string): number {
    this.error = text;
    return PROTOCOL_ERROR;
  }

  #grow(count: number): void {
    this.argStart = new Int32Array(count);
    this.argEnd = new Int32Array(count);
  }
}
