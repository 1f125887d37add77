/** The key finder's output: a list of argument indexes that is used again for every request. */

/**
 * The request is one that every server refuses without touching a key: send it anywhere, pass the error on.
 */
export const FIND_MALFORMED = -1;
/** The table does not say where the keys are, and no finder here knows: only COMMAND GETKEYS can tell. */
export const FIND_NOT_KNOWN = -2;

/** Room that is there from the beginning and after `trim`: more than nearly all requests have keys. */
const POSITIONS_KEPT = 1024;

/** Argument indexes, in `at[0 … count)`. Read the fields, write by `add`. */
export class KeyPositions {
  at: Int32Array = new Int32Array(POSITIONS_KEPT);
  count = 0;

  add(index: number): void {
    if (this.count === this.at.length) this.grow();
    this.at[this.count++] = index;
  }

  /** Gives back what a request with very many keys has taken; call it when there is time. */
  trim(): void {
    if (this.at.length > POSITIONS_KEPT) this.at = new Int32Array(POSITIONS_KEPT);
    this.count = 0;
  }

  private grow(): void {
    const grown = new Int32Array(this.at.length * 4);
    grown.set(this.at);
    this.at = grown;
  }
}
