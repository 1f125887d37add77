/**
 * SHA1 (FIPS 180-4), for the names of scripts: Redis calls a script by the SHA1 of its text. Not for
 * security. Written here because the data plane has no runtime's crypto, and a script is hashed once when it
 * is first seen.
 */

/** The SHA1 of `bytes[start, end)` as 40 lower-case hexadecimal digits. */
export function sha1Hex(bytes: Uint8Array, start: number, end: number): string {
  const length = end - start;
  const padded = new Uint8Array((((length + 8) >> 6) + 1) << 6);
  padded.set(bytes.subarray(start, end));
  padded[length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setUint32(padded.length - 8, Math.floor(length / 0x20000000));
  view.setUint32(padded.length - 4, length << 3);
  const state = new Int32Array([0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0]);
  const schedule = new Int32Array(80);
  for (let block = 0; block < padded.length; block += 64) addBlock(state, schedule, view, block);
  return [...state].map((word) => (word >>> 0).toString(16).padStart(8, "0")).join("");
}

function addBlock(state: Int32Array, schedule: Int32Array, view: DataView, block: number): void {
  for (let i = 0; i < 16; i++) schedule[i] = view.getInt32(block + i * 4);
  for (let i = 16; i < 80; i++) {
    schedule[i] = rotate(schedule[i - 3] ^ schedule[i - 8] ^ schedule[i - 14] ^ schedule[i - 16], 1);
  }
  let [a, b, c, d, e] = state;
  for (let i = 0; i < 80; i++) {
    const next = (rotate(a, 5) + mix(i, b, c, d) + e + schedule[i] + CONSTANTS[Math.floor(i / 20)]) | 0;
    e = d;
    d = c;
    c = rotate(b, 30);
    b = a;
    a = next;
  }
  state[0] += a;
  state[1] += b;
  state[2] += c;
  state[3] += d;
  state[4] += e;
}

const CONSTANTS = [0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6];

function mix(round: number, b: number, c: number, d: number): number {
  if (round < 20) return (b & c) | (~b & d);
  if (round >= 40 && round < 60) return (b & c) | (b & d) | (c & d);
  return b ^ c ^ d;
}

function rotate(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}
