/**
 * SHA-256 (FIPS 180-4), for passwords: they are kept and compared as hashes, in Redis's own form, so that
 * `ACL LIST` of a server can be copied into proxy.toml. Written here because the data plane has no runtime's
 * crypto; a login hashes some twenty bytes, once.
 */

/** The SHA-256 of a text, a character per byte, as 64 lower-case hexadecimal digits. */
export function sha256Hex(text: string): string {
  const { length } = text;
  const padded = new Uint8Array((((length + 8) >> 6) + 1) << 6);
  for (let i = 0; i < length; i++) padded[i] = text.charCodeAt(i);
  padded[length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setUint32(padded.length - 8, Math.floor(length / 0x20000000));
  view.setUint32(padded.length - 4, length << 3);
  const state = Int32Array.from(INITIAL);
  const schedule = new Int32Array(64);
  for (let block = 0; block < padded.length; block += 64) addBlock(state, schedule, view, block);
  return [...state].map((word) => (word >>> 0).toString(16).padStart(8, "0")).join("");
}

/** Whether two hashes are equal, in the same time wherever they first differ. */
export function equalHashes(a: string, b: string): boolean {
  let difference = a.length ^ b.length;
  for (let i = 0; i < a.length; i++) difference |= a.charCodeAt(i) ^ b.charCodeAt(i);
  return difference === 0;
}

function addBlock(state: Int32Array, schedule: Int32Array, view: DataView, block: number): void {
  for (let i = 0; i < 16; i++) schedule[i] = view.getInt32(block + i * 4);
  for (let i = 16; i < 64; i++) {
    const early = schedule[i - 15];
    const late = schedule[i - 2];
    const s0 = rotate(early, 7) ^ rotate(early, 18) ^ (early >>> 3);
    const s1 = rotate(late, 17) ^ rotate(late, 19) ^ (late >>> 10);
    schedule[i] = schedule[i - 16] + s0 + schedule[i - 7] + s1;
  }
  let [a, b, c, d, e, f, g, h] = state;
  for (let i = 0; i < 64; i++) {
    const mixed = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
    const first = (h + mixed + ((e & f) ^ (~e & g)) + CONSTANTS[i] + schedule[i]) | 0;
    const turned = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
    const second = (turned + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g;
    g = f;
    f = e;
    e = (d + first) | 0;
    d = c;
    c = b;
    b = a;
    a = (first + second) | 0;
  }
  const added = [a, b, c, d, e, f, g, h];
  for (let i = 0; i < 8; i++) state[i] += added[i];
}

function rotate(word: number, bits: number): number {
  return (word >>> bits) | (word << (32 - bits));
}

/**
 * The first 64 primes: the standard makes its constants of their cube roots, and of the first eight's square
 * roots.
 */
const PRIMES = firstPrimes(64);
const CONSTANTS = PRIMES.map((prime) => fraction32(prime, 3));
const INITIAL = PRIMES.slice(0, 8).map((prime) => fraction32(prime, 2));

/** The first 32 bits of the fraction of a prime's square or cube root; exact, by integers. */
function fraction32(prime: number, degree: 2 | 3): number {
  // floor(root(prime) * 2^32): the largest x with x^degree <= prime * 2^(32 * degree).
  const goal = BigInt(prime) << BigInt(32 * degree);
  let root = 0n;
  for (let bit = 1n << 40n; bit > 0n; bit >>= 1n) {
    const next = root | bit;
    if (next ** BigInt(degree) <= goal) root = next;
  }
  return Number(BigInt.asIntN(32, root));
}

function firstPrimes(count: number): number[] {
  const primes: number[] = [];
  for (let n = 2; primes.length < count; n++) if (primes.every((prime) => n % prime !== 0)) primes.push(n);
  return primes;
}
