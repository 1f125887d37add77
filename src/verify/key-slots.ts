/**
 * The keys of a run: so many places, each with a kind, a hash tag and a label, and in each place one key
 * after the other. A key that is full, or whose state is not known any more, makes room for a fresh one under
 * the same tag, so that every key of a place lives in one slot.
 *
 *   place 7 (list, tag {ab12.7}, label g2):  verify:{ab12.7}:list:0 ─full─▶ …:1 ─doubt─▶ …:2 ─▶ …
 *                                                     │ deleted            │ kept for the look at the end
 */
import type { Kind } from "./kinds/kind.ts";
import { KINDS } from "./kinds/kinds.ts";
import { TrackedKey } from "./tracked-key.ts";

/** What every key's name begins with. */
export const KEY_PREFIX = "verify:";

/** Retired keys, and deleted ones, that are remembered until the end; older ones are forgotten. */
export const REMEMBERED_KEYS_MAX = 20_000;

/** A hash tag, and what its keys count for in the report (the group they live in, say). */
export interface Tag {
  readonly tag: string;
  readonly label: string;
}

export class KeySlot {
  readonly label: string;
  key: TrackedKey;
  /** The writer leaves the key alone until then. */
  restsUntilMs = 0;
  readonly #kind: Kind;
  readonly #tag: string;
  #generation = 0;

  constructor(kind: Kind, tag: Tag) {
    this.#kind = kind;
    this.#tag = tag.tag;
    this.label = tag.label;
    this.key = this.#fresh();
  }

  /** Makes room for a fresh key; the old one comes back. */
  replace(): TrackedKey {
    const old = this.key;
    this.#generation++;
    this.key = this.#fresh();
    this.restsUntilMs = 0;
    return old;
  }

  #fresh(): TrackedKey {
    return new TrackedKey(this.#kind, `${KEY_PREFIX}{${this.#tag}}:${this.#kind.name}:${this.#generation}`);
  }
}

/** Tags without a label of their own: everything counts as one. */
export function plainTags(run: string, count: number): Tag[] {
  return Array.from({ length: count }, (_, i) => ({ tag: `${run}.${i}`, label: "all" }));
}

/** A place for each tag; the kinds take turns. */
export function makeSlots(tags: readonly Tag[], kinds: readonly Kind[] = KINDS): KeySlot[] {
  return tags.map((tag, i) => new KeySlot(kinds[i % kinds.length], tag));
}

/**
 * Deals the places out to `workers`: each worker has places of one label only, so that a group that is away
 * stops only those who work on it.
 */
export function dealSlots(slots: readonly KeySlot[], workers: number): KeySlot[][] {
  const labels = [...new Set(slots.map((slot) => slot.label))];
  const dealt: KeySlot[][] = Array.from({ length: Math.max(workers, labels.length) }, () => []);
  labels.forEach((label, index) => {
    const mine = dealt.filter((_, worker) => worker % labels.length === index);
    slots.filter((slot) => slot.label === label).forEach((slot, i) => mine[i % mine.length].push(slot));
  });
  return dealt.filter((own) => own.length > 0);
}
