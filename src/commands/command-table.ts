/**
 * Finds a command by the bytes of its name, in whatever case, without making a string or any other object.
 *
 *   bytes ─▶ word: first, second, middle, last byte ─▶ hash(word, length) ─▶ slot
 *   slot: [entry, name's word, case bits] ─▶ length and word equal? ─▶ the bytes between equal? ─▶ Command
 *     └─ next slot while another name stands there
 *
 * The word is all of a name of up to four bytes (GET, SET, HSET, PING …), so these need no loop at all, and
 * the longer ones loop only when they are nearly sure to be right.
 *
 * Invariants: at most one slot in four is taken, so a search for a name that is not there ends; a hit has
 * been compared byte by byte, so the hash need not be good for more than speed.
 * Rejected: a `Map` of strings. Making the string costs several times the search (measured: see README.md).
 */
import type { Command } from "./command.ts";

/** Enough that nearly every built-in name stands at its first place. */
const SLOTS_PER_COMMAND = 4;
const SLOTS_MIN = 8;
/** A slot is four numbers wide (the fourth is unused) so that its place is a shift. */
const SLOT_SHIFT = 2;
const SLOT_WORD = 1;
const SLOT_CASE = 2;
/** slots[at]: (index + 1) << LENGTH_BITS | length. */
const EMPTY = 0;
const LENGTH_BITS = 8;
const LENGTH_MAX = (1 << LENGTH_BITS) - 1;
/** Names up to this length are in their word as a whole. */
const WORD_BYTES = 4;

/** A set of commands by name; for subcommands by what stands after the "|". */
export class CommandTable {
  /** In the order they were added. */
  readonly commands: Command[] = [];
  private slots = new Int32Array(0);
  /** slots.length - 1; a field of its own because reading it is quicker than a typed array's length. */
  private mask = 0;
  /** Names, lower case, `1 << stride` bytes for each. */
  private text = new Uint8Array(0);
  /**
   * Beside each byte of `text`: 0x20 where it is a letter, so that `byte | caseBit` is the byte in lower
   * case.
   */
  private caseBits = new Uint8Array(0);
  private stride = 0;

  constructor(commands: readonly Command[] = []) {
    for (const command of commands) this.commands.push(command);
    this.rebuild();
  }

  /**
   * Adds a command; one of the same name must not be there yet. Builds the table anew: not for the hot path.
   * A name of more than 255 bytes is never found.
   */
  add(command: Command): void {
    this.commands.push(command);
    this.rebuild();
  }

  /** The command whose name is bytes[start, end), or null. */
  lookup(bytes: Uint8Array, start: number, end: number): Command | null {
    const length = end - start;
    if (length <= 0 || length > LENGTH_MAX) return null;
    const word = wordOf(bytes, start, length);
    const slots = this.slots;
    const mask = this.mask;
    let at = slotOf(word, length) & mask;
    for (;;) {
      const entry = slots[at];
      if (entry === EMPTY) return null;
      if ((entry & LENGTH_MAX) === length && (word | slots[at + SLOT_CASE]) === slots[at + SLOT_WORD]) {
        const index = (entry >> LENGTH_BITS) - 1;
        if (length <= WORD_BYTES || this.isName(index, bytes, start, length)) return this.commands[index];
      }
      at = (at + (1 << SLOT_SHIFT)) & mask;
    }
  }

  /** The bytes that are not in the word; one of them (the middle) is looked at once more. */
  private isName(index: number, bytes: Uint8Array, start: number, length: number): boolean {
    const text = this.text;
    const caseBits = this.caseBits;
    const at = index << this.stride;
    for (let i = 2; i < length - 1; i++) {
      if ((bytes[start + i] | caseBits[at + i]) !== text[at + i]) return false;
    }
    return true;
  }

  private rebuild(): void {
    const names = this.commands.map((command) => nameBytes(command.name));
    const longest = names.reduce((max, name) => Math.max(max, name.length), 1);
    this.stride = Math.ceil(Math.log2(longest));
    this.text = new Uint8Array(names.length << this.stride);
    this.caseBits = new Uint8Array(names.length << this.stride);
    let slotCount = SLOTS_MIN;
    while (slotCount < names.length * SLOTS_PER_COMMAND) slotCount *= 2;
    this.slots = new Int32Array(slotCount << SLOT_SHIFT);
    this.mask = this.slots.length - 1;
    names.forEach((name, index) => this.place(name, index));
  }

  private place(name: Uint8Array, index: number): void {
    const { length } = name;
    if (length === 0 || length > LENGTH_MAX) return;
    const caseBits = name.map((byte) => (byte >= 0x61 && byte <= 0x7a ? 0x20 : 0));
    this.text.set(name, index << this.stride);
    this.caseBits.set(caseBits, index << this.stride);
    const word = wordOf(name, 0, length);
    let at = slotOf(word, length) & this.mask;
    while (this.slots[at] !== EMPTY) at = (at + (1 << SLOT_SHIFT)) & this.mask;
    this.slots[at] = ((index + 1) << LENGTH_BITS) | length;
    this.slots[at + SLOT_WORD] = word;
    this.slots[at + SLOT_CASE] = wordOf(caseBits, 0, length);
  }
}

function wordOf(bytes: Uint8Array, start: number, length: number): number {
  const second = bytes[length > 1 ? start + 1 : start];
  const middle = bytes[start + (length >> 1)];
  return bytes[start] | (second << 8) | (middle << 16) | (bytes[start + length - 1] << 24);
}

/**
 * Where the search begins. Sets the case bit of every byte, letter or not: equal names stay equal, and that
 * is all that is asked of a hash.
 */
function slotOf(word: number, length: number): number {
  return (Math.imul((word | 0x20202020) ^ (length << 3), 0x9e3779b1) >>> 15) << SLOT_SHIFT;
}

function nameBytes(name: string): Uint8Array {
  return new TextEncoder().encode(name.slice(name.indexOf("|") + 1).toLowerCase());
}
