/**
 * The keys of one moving slot that are known to be at the target: they need no second MIGRATE.
 *
 * Two generations: when the young one is full it becomes the old one, and what was old is forgotten. A key
 * that is forgotten costs one more MIGRATE, which answers NOKEY. Rejected: a filter of hashes (a collision
 * would run a command on a key that has not come yet).
 */
export class PulledKeys {
  readonly #max: number;
  readonly #bytesMax: number;
  #young = new Set<string>();
  #old = new Set<string>();
  #bytes = 0;

  /** Each generation holds at most `max` keys of `bytesMax` bytes together. */
  constructor(max: number, bytesMax: number) {
    this.#max = max;
    this.#bytesMax = bytesMax;
  }

  has(database: number, key: string): boolean {
    const name = nameOf(database, key);
    return this.#young.has(name) || this.#old.has(name);
  }

  add(database: number, key: string): void {
    if (this.#young.size >= this.#max || this.#bytes + key.length > this.#bytesMax) {
      this.#old = this.#young;
      this.#young = new Set();
      this.#bytes = 0;
    }
    this.#young.add(nameOf(database, key));
    this.#bytes += key.length;
  }
}

function nameOf(database: number, key: string): string {
  return `${database} ${key}`;
}
