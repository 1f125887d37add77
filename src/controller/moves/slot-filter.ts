/**
 * Which of a server's keys a move is about, and where each goes. Keys are Latin-1 texts, a character per
 * byte.
 */
import { writeLatin1 } from "../../base/bytes.ts";
import { slotOf } from "../../routing/slot-of.ts";
import type { MoveSpan } from "../../topology/move-record.ts";

/** Keys up to this length share one buffer. */
const SCRATCH_BYTES = 4096;

export class SlotFilter {
  readonly #mask: number;
  /** By slot; undefined: stays. */
  readonly #targets: Array<string | undefined>;
  readonly #scratch = new Uint8Array(SCRATCH_BYTES);

  /** `slots`: how many the cluster has. */
  constructor(slots: number, spans: readonly MoveSpan[]) {
    this.#mask = slots - 1;
    this.#targets = Array.from({ length: slots });
    for (const { from, to, target } of spans) this.#targets.fill(target, from, to + 1);
  }

  slotOf(key: string): number {
    const bytes = key.length <= SCRATCH_BYTES ? this.#scratch : new Uint8Array(key.length);
    return slotOf(bytes, 0, writeLatin1(bytes, 0, key), this.#mask);
  }

  /** The group that `key` goes to; undefined: it is none of this move's. */
  targetOf(key: string): string | undefined {
    return this.#targets[this.slotOf(key)];
  }
}

/** A key as it may be shown: printable ASCII, the rest as \xNN, cut at 100 characters. */
export function showKey(key: string): string {
  const shown = key.replace(/[^ -~]/g, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`);
  return shown.length <= 100 ? shown : `${shown.slice(0, 97)}...`;
}
