/**
 * Finds where a server's reply ends, RESP2 or RESP3, whatever it holds.
 *
 *   +OK  -ERR  :1  _  #t  ,1.5  (123     one line
 *   $5 =15 !21                           a length, then a body
 *   *2 ~2 >2                             that many more elements
 *   %2 |2                                twice that many; `|` (attributes) stands in front of the element it
 *   is about
 *
 * Nesting needs no stack: `remaining` counts the elements that are still to come, whatever level they are on.
 *
 *   scan ──▶ position after the reply, or REPLY_INCOMPLETE; then `position` and `remaining` say how far it
 *            got: everything before `position` is whole elements, and `resume` goes on there; with
 *            `bodyEnd` > 0 it stopped inside a body.
 *   A byte that is no reply type gives REPLY_BROKEN: the connection is of no use any more.
 *
 * Bounds: as in the request scanner, checked once per element; SLACK_BYTES may be read behind `end`.
 */

export const REPLY_INCOMPLETE = -1;
export const REPLY_BROKEN = -2;

const CR = 13;
const LF = 10;
const ZERO = 48;
/** Longest header line of an aggregate or a body: a sign and 19 digits. */
const HEADER_BYTES_MAX = 24;

/** What a type byte opens. */
const LINE = 1;
const BODY = 2;
const AGGREGATE = 3;
const PAIRS = 4;
const ATTRIBUTES = 5;
const KIND = new Uint8Array(256);
for (const char of "+-:_#,(") KIND[char.charCodeAt(0)] = LINE;
for (const char of "$=!") KIND[char.charCodeAt(0)] = BODY;
for (const char of "*~>") KIND[char.charCodeAt(0)] = AGGREGATE;
KIND["%".charCodeAt(0)] = PAIRS;
KIND["|".charCodeAt(0)] = ATTRIBUTES;

export class ReplyScanner {
  /** Elements still to come, the present one included. */
  remaining = 1;
  /** Where the element begins that is not all there. */
  position = 0;
  /**
   * Where the body that is arriving ends (CRLF included), counted from the same zero as `position`; 0 when
   * none is.
   */
  bodyEnd = 0;

  /** Scans the reply that begins at `start`. */
  scan(bytes: Uint8Array, start: number, end: number): number {
    this.remaining = 1;
    return this.resume(bytes, start, end);
  }

  /** Goes on at the element that begins at `from`. */
  resume(bytes: Uint8Array, from: number, end: number): number {
    let at = from;
    let remaining = this.remaining;
    this.bodyEnd = 0;
    while (remaining > 0) {
      const element = at;
      if (at >= end) return this.#stop(element, remaining);
      const kind = KIND[bytes[at]];
      if (kind === LINE) {
        at = lineEnd(bytes, at + 1, end);
        if (at < 0) return this.#stop(element, remaining);
        remaining--;
        continue;
      }
      if (kind === 0) return REPLY_BROKEN;
      let value = bytes[++at] - ZERO;
      const negative = value === -3;
      if (negative) value = 0;
      else if (!(value >= 0 && value <= 9)) return at >= end ? this.#stop(element, remaining) : REPLY_BROKEN;
      while (bytes[++at] !== CR) {
        const digit = bytes[at] - ZERO;
        if (at >= end) return this.#stop(element, remaining);
        if (!(digit >= 0 && digit <= 9) || at - element > HEADER_BYTES_MAX) return REPLY_BROKEN;
        value = value * 10 + digit;
      }
      at += 2;
      if (at > end) return this.#stop(element, remaining);
      if (negative) {
        remaining--;
      } else if (kind === BODY) {
        at += value + 2;
        if (at > end) {
          this.bodyEnd = at;
          return this.#stop(element, remaining);
        }
        remaining--;
      } else if (kind === AGGREGATE) {
        remaining += value - 1;
      } else {
        remaining += kind === PAIRS ? 2 * value - 1 : 2 * value;
      }
    }
    return at;
  }

  #stop(element: number, remaining: number): number {
    this.position = element;
    this.remaining = remaining;
    return REPLY_INCOMPLETE;
  }
}

/** The position after the line end, or -1. Lines are short: a loop beats `indexOf`. */
function lineEnd(bytes: Uint8Array, from: number, end: number): number {
  for (let at = from; at < end; at++) {
    if (bytes[at] === LF) return at + 1;
  }
  return -1;
}
