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
  /** By database. No name is made of database and key: this is asked for each request to a moving slot. */
  #young: (Set<string> | undefined)[] = [];
  #old: (Set<string> | undefined)[] = [];
  #count = 0;
  #bytes = 0;

  /** Each generation holds at most `max` keys of `bytesMax` bytes together. */
  constructor(max: number, bytesMax: number) {
    this.#max = max;
    this.#bytesMax = bytesMax;
  }

  has(database: number, key: string): boolean {
    return this.#young[database]?.has(key) === true || this.#old[database]?.has(key) === true;
  }

  add(database: number, key: string): void {
    if (this.#count >= this.#max || this.#bytes + key.length > this.#bytesMax) {
      this.#old = this.#young;
      this.#young = [];
      this.#count = 0;
      this.#bytes = 0;
    }
    const keys = (this.#young[database] ??= new Set());
    if (keys.has(key)) return;
    keys.add(key);
    this.#count++;
    this.#bytes += key.length;
  }
}
