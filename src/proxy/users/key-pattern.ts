/**
 * One pattern of keys or channels. Nearly all end in their only `*`: those are compared byte by byte in the
 * request, without making a string of the key; the others go to the glob matcher.
 */
import { readLatin1 } from "../../base/bytes.ts";
import { globMatches } from "../../base/glob-match.ts";

/** What a pattern allows to do with a key, and what a request wants to do. */
export const READS = 1;
export const WRITES = 2;

const SPECIAL = /[*?[\\]/;

export class KeyPattern {
  readonly pattern: string;
  /** READS, WRITES or both. Channels have both. */
  rights: number;
  /** What stands before the only `*`, at the end; null for any other pattern. */
  readonly #prefix: string | null;

  constructor(pattern: string, rights: number) {
    this.pattern = pattern;
    this.rights = rights;
    const before = pattern.slice(0, -1);
    this.#prefix = pattern.endsWith("*") && !SPECIAL.test(before) ? before : null;
  }

  /** Whether `bytes[start, end)` fits. */
  fits(bytes: Uint8Array, start: number, end: number): boolean {
    const prefix = this.#prefix;
    if (prefix === null) return globMatches(this.pattern, readLatin1(bytes, start, end));
    // The empty key fits no pattern with a star: Redis does not look at one.
    if (end - start < prefix.length || end === start) return false;
    for (let i = 0; i < prefix.length; i++) if (bytes[start + i] !== prefix.charCodeAt(i)) return false;
    return true;
  }

  /** Whether `bytes[start, end)` is the pattern itself, letter by letter. */
  spells(bytes: Uint8Array, start: number, end: number): boolean {
    return readLatin1(bytes, start, end) === this.pattern;
  }

  /** As it stands in a rule about keys. */
  get rule(): string {
    if (this.rights === (READS | WRITES)) return `~${this.pattern}`;
    return `%${this.rights === READS ? "R" : "W"}~${this.pattern}`;
  }
}
