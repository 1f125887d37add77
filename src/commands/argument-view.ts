/**
 * What this folder sees of a request: a view over the scanner's buffer, never copies and never strings.
 *
 * The interface is declared here, on the reading side, so that `commands` needs nothing of `resp`; the
 * scanner's own record fits it by its shape.
 */

/** One scanned request: argument i stands at bytes[argStart[i], argEnd[i]). Argument 0 is the name. */
export interface ArgumentView {
  readonly bytes: Uint8Array;
  /** How many arguments there are, the command's name included. */
  readonly argc: number;
  readonly argStart: Int32Array;
  readonly argEnd: Int32Array;
}

/**
 * ASCII lower-casing as a table. `byte | 0x20` would be shorter but would also make "restore\rasking" and
 * "restore-asking" the same word.
 */
export const FOLDED: Uint8Array = makeFolded();

function makeFolded(): Uint8Array {
  const folded = new Uint8Array(256);
  for (let byte = 0; byte < 256; byte++) folded[byte] = byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte;
  return folded;
}

/** The bytes of a keyword, lower case, as `argumentIs` wants them. ASCII only. */
export function keywordBytes(word: string): Uint8Array {
  const bytes = new Uint8Array(word.length);
  for (let i = 0; i < word.length; i++) bytes[i] = FOLDED[word.charCodeAt(i) & 0xff];
  return bytes;
}

/** Whether argument `index` is `word` (from `keywordBytes`), in whatever case. `index` must be below argc. */
export function argumentIs(request: ArgumentView, index: number, word: Uint8Array): boolean {
  const start = request.argStart[index];
  const length = word.length;
  if (request.argEnd[index] - start !== length) return false;
  const bytes = request.bytes;
  for (let i = 0; i < length; i++) {
    if (FOLDED[bytes[start + i]] !== word[i]) return false;
  }
  return true;
}

/** Returned by `argumentAsCount` for an argument that no server takes as a count. */
export const NOT_A_COUNT = -1;

/** More digits than this are more keys than a request can have arguments (RESP bounds them at 2^31 - 1). */
const COUNT_DIGITS_MAX = 10;

/**
 * Argument `index` as a number of things, by the rule of Redis's string2ll: decimal digits only, no sign, no
 * leading zero, nothing around them. `NOT_A_COUNT` for all else, negative numbers included.
 */
export function argumentAsCount(request: ArgumentView, index: number): number {
  const bytes = request.bytes;
  const start = request.argStart[index];
  const end = request.argEnd[index];
  const length = end - start;
  if (length === 0 || length > COUNT_DIGITS_MAX) return NOT_A_COUNT;
  if (length > 1 && bytes[start] === 0x30) return NOT_A_COUNT;
  let value = 0;
  for (let i = start; i < end; i++) {
    const digit = bytes[i] - 0x30;
    if (digit < 0 || digit > 9) return NOT_A_COUNT;
    value = value * 10 + digit;
  }
  return value;
}
