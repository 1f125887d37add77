/** A user as the workers tell each other: whole, with a stamp that says which of two is the newer one. */
export interface UserRecord {
  readonly name: string;
  /** Each is one argument of ACL SETUSER; passwords are hashes. Null: there is none of that name any more. */
  readonly rules: readonly string[] | null;
  /** Counts the changes of this name. */
  readonly stamp: number;
  /** The worker that made the change; of equal stamps the higher one wins. */
  readonly worker: number;
}

/** Whether `next` is the newer of two records of one name. */
export function supersedesRecord(next: UserRecord, current: UserRecord | undefined): boolean {
  if (current === undefined) return true;
  return next.stamp > current.stamp || (next.stamp === current.stamp && next.worker > current.worker);
}
