/**
 * Key to slot: `crc32(key or {tag}) mod slots`, the rule that Codis uses, so that its data stays where it is.
 *
 *   key:1      → the whole key is hashed
 *   a{tag}b    → "tag": what stands between the first `{` and the first `}` after it
 *   {}x        → the empty tag counts: slot 0
 *   a{b        → no `}` after it: the whole key
 *
 * CRC32 is the IEEE one (reflected polynomial 0xEDB88320, as zlib and Go's crc32.ChecksumIEEE). The slot
 * count is a power of two, so the remainder is a mask. One pass per key: the loop hashes and looks for `{`
 * at once, and starts over in the rare case that it finds a tag. Rejected: four table look-ups per step
 * (slicing-by-4): keys are short, and the first steps cost more than they save below 32 bytes.
 */

const OPEN_BRACE = 123;
const CLOSE_BRACE = 125;

const CRC_TABLE = new Int32Array(256);
for (let byte = 0; byte < 256; byte++) {
  let remainder = byte;
  for (let bit = 0; bit < 8; bit++)
    remainder = remainder & 1 ? (remainder >>> 1) ^ 0xedb88320 : remainder >>> 1;
  CRC_TABLE[byte] = remainder;
}

/** CRC32 (IEEE) of `bytes[start, end)` as an unsigned number. */
export function crc32(bytes: Uint8Array, start: number, end: number): number {
  let crc = -1;
  for (let at = start; at < end; at++) crc = CRC_TABLE[(crc ^ bytes[at]) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** The slot of the key `bytes[start, end)`; `slotMask` is the slot count minus one. */
export function slotOf(bytes: Uint8Array, start: number, end: number, slotMask: number): number {
  let crc = -1;
  for (let at = start; at < end; at++) {
    const byte = bytes[at];
    if (byte === OPEN_BRACE) return slotOfTagged(bytes, start, end, at, slotMask);
    crc = CRC_TABLE[(crc ^ byte) & 255] ^ (crc >>> 8);
  }
  return ~crc & slotMask;
}

function slotOfTagged(bytes: Uint8Array, start: number, end: number, open: number, slotMask: number): number {
  for (let at = open + 1; at < end; at++) {
    if (bytes[at] === CLOSE_BRACE) return crc32(bytes, open + 1, at) & slotMask;
  }
  return crc32(bytes, start, end) & slotMask;
}
