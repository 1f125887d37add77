/**
 * RESP2 replies as values, for the control plane.
 *
 *   push(bytes) ─▶ #unread ─▶ header line ──┬─ simple, number, error ─▶ #finish ─▶ onReply, if in no array
 *                                           ├─ bulk: wait for its bytes ─▶ #finish
 *                                           └─ array: open it, fill it one #finish at a time
 *
 * Texts are Latin-1, one character per byte: keys of any bytes survive the way there and back (the requests
 * are written the same way), and everything that a server says about itself is ASCII. Invariant: an
 * incomplete reply is never parsed twice from its beginning; a bulk is looked at again only when all its
 * bytes are there.
 */
import { ShoalError } from "../base/shoal-error.ts";
import { readLatin1 } from "../base/bytes.ts";

/**
 * An error reply: "ERR unknown command". A value, not a throw: inside EXEC's array it is one of the results.
 */
export class ReplyError {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** Bulk and simple strings are Latin-1 texts; a null bulk or array is null. */
export type Reply = string | number | null | ReplyError | Reply[];

/** The largest bulk and the largest array that a control command may answer with. */
export const BULK_BYTES_MAX = 512 << 20;
export const ARRAY_ELEMENTS_MAX = 16 << 20;
/** Arrays within arrays: ROLE, COMMAND and ACL need 4. */
const DEPTH_MAX = 32;
const HEADER_BYTES_MAX = 64 << 10;

const CR = 13;
const EMPTY = new Uint8Array(0);

interface OpenArray {
  readonly values: Reply[];
  readonly wanted: number;
}

export class ReplyDecoder {
  /** `[#at, #end)` of it is unread; behind that is room. */
  #unread: Uint8Array = EMPTY;
  #at = 0;
  #end = 0;
  /** Length of the bulk whose bytes are awaited; -1: a header is. */
  #bulkBytes = -1;
  #open: OpenArray[] = [];
  readonly #onReply: (reply: Reply) => void;

  constructor(onReply: (reply: Reply) => void) {
    this.#onReply = onReply;
  }

  /** Takes `bytes[start, end)`, copies what it keeps. @throws ShoalError PROTOCOL: close the connection */
  push(bytes: Uint8Array, start: number, end: number): void {
    this.#makeRoom(end - start);
    this.#unread.set(bytes.subarray(start, end), this.#end);
    this.#end += end - start;
    while (this.#step());
    // A connection that waits owns no memory.
    if (this.#at === this.#end) {
      this.#unread = EMPTY;
      this.#at = 0;
      this.#end = 0;
    }
  }

  /** Doubling keeps the copying of a large bulk, which comes in many pieces, linear. */
  #makeRoom(bytes: number): void {
    if (this.#end + bytes <= this.#unread.length) return;
    const rest = this.#end - this.#at;
    const grown = new Uint8Array(Math.max(rest + bytes, Math.min(2 * rest, 2 * BULK_BYTES_MAX)));
    grown.set(this.#unread.subarray(this.#at, this.#end), 0);
    this.#unread = grown;
    this.#at = 0;
    this.#end = rest;
  }

  /** Reads one element; false when more bytes are needed. */
  #step(): boolean {
    return this.#bulkBytes >= 0 ? this.#readBulk() : this.#readHeader();
  }

  #readBulk(): boolean {
    const end = this.#at + this.#bulkBytes;
    if (end + 2 > this.#end) return false;
    const text = readLatin1(this.#unread, this.#at, end);
    this.#at = end + 2;
    this.#bulkBytes = -1;
    this.#finish(text);
    return true;
  }

  #readHeader(): boolean {
    if (this.#at === this.#end) return false;
    const end = this.#unread.indexOf(CR, this.#at);
    if (end < 0 || end + 1 >= this.#end) {
      if (this.#end - this.#at > HEADER_BYTES_MAX) throw broken("a line without an end");
      return false;
    }
    const type = String.fromCharCode(this.#unread[this.#at]);
    const text = readLatin1(this.#unread, this.#at + 1, end);
    this.#at = end + 2;
    if (type === "+") this.#finish(text);
    else if (type === "-") this.#finish(new ReplyError(text));
    else if (type === ":") this.#finish(readNumber(text, Number.MAX_SAFE_INTEGER));
    else if (type === "$") this.#openBulk(readNumber(text, BULK_BYTES_MAX));
    else if (type === "*") this.#openArray(readNumber(text, ARRAY_ELEMENTS_MAX));
    else throw broken(`unknown type ${JSON.stringify(type)}`);
    return true;
  }

  #openBulk(length: number): void {
    if (length < 0) this.#finish(null);
    else this.#bulkBytes = length;
  }

  #openArray(length: number): void {
    if (length < 0) this.#finish(null);
    else if (length === 0) this.#finish([]);
    else if (this.#open.length >= DEPTH_MAX) throw broken(`arrays nested deeper than ${DEPTH_MAX}`);
    else this.#open.push({ values: [], wanted: length });
  }

  /** A whole value: the reply, or an element of the innermost open array, which may be whole with it. */
  #finish(value: Reply): void {
    let whole = value;
    for (let array = this.#open.at(-1); array !== undefined; array = this.#open.at(-1)) {
      array.values.push(whole);
      if (array.values.length < array.wanted) return;
      this.#open.pop();
      whole = array.values;
    }
    this.#onReply(whole);
  }
}

function readNumber(text: string, max: number): number {
  if (!/^-?\d{1,20}$/.test(text)) throw broken(`${JSON.stringify(text.slice(0, 32))} is not a number`);
  const value = Number(text);
  if (value > max) throw broken(`length ${text} is over the limit ${max}`);
  return value;
}

function broken(what: string): ShoalError {
  return new ShoalError("PROTOCOL", `Cannot read a server's reply: ${what}`);
}
