/**
 * The keys: number i has always the same name, type and size, so that nothing has to be remembered.
 *
 *   of 20 keys  12 strings · 3 hashes · 2 lists · 1 set · 2 sorted sets
 *   sizes       half below 200 bytes, a tenth above 600, one in a thousand above 4,000
 */
export type Words = readonly string[];

const TYPES = "ssssssssssssshhhllzzSs".slice(2);
/** Elements of what is not a string. */
const ELEMENTS = 5;

export function keyAt(i: number): string {
  return `bench:${i}`;
}

/** The command that makes key `i`. */
export function createCommand(i: number): Words {
  const key = keyAt(i);
  const size = sizeAt(i);
  const part = "x".repeat(Math.max(1, Math.floor(size / ELEMENTS) - 2));
  const parts = Array.from({ length: ELEMENTS }, (_, n) => `${n}${part}`);
  switch (typeAt(i)) {
    case "h":
      return ["HSET", key, ...parts.flatMap((text, n) => [`f${n}`, text])];
    case "l":
      return ["RPUSH", key, ...parts];
    case "S":
      return ["SADD", key, ...parts];
    case "z":
      return ["ZADD", key, ...parts.flatMap((text, n) => [String(n), text])];
    default:
      return ["SET", key, "x".repeat(size)];
  }
}

/** A command that reads a little of key `i`; its answer is not null if the key is there. */
export function readCommand(i: number): Words {
  const key = keyAt(i);
  switch (typeAt(i)) {
    case "h":
      return ["HGET", key, "f0"];
    case "l":
      return ["LINDEX", key, "0"];
    case "S":
      return ["SRANDMEMBER", key];
    case "z":
      return ["ZRANGE", key, "0", "0"];
    default:
      return ["GET", key];
  }
}

/** A command that writes a little to key `i` and leaves it as large as it was. */
export function writeCommand(i: number): Words {
  const key = keyAt(i);
  switch (typeAt(i)) {
    case "h":
      return ["HSET", key, "f0", "0"];
    case "l":
      return ["LSET", key, "0", "0"];
    case "S":
      return ["SADD", key, "0"];
    case "z":
      return ["ZADD", key, "0", "0"];
    default:
      return createCommand(i);
  }
}

function typeAt(i: number): string {
  return TYPES[i % TYPES.length];
}

/** Log-normal around 200 bytes, by a number that only `i` decides. */
function sizeAt(i: number): number {
  const first = (Math.imul(i + 1, 0x9e3779b1) >>> 0) / 2 ** 32;
  const second = (Math.imul(i + 7, 0x85ebca6b) >>> 0) / 2 ** 32;
  const normal = Math.sqrt(-2 * Math.log(first + 1e-9)) * Math.cos(2 * Math.PI * second);
  return Math.min(20_000, Math.max(10, Math.round(200 * Math.exp(normal * 0.9))));
}
