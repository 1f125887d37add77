/**
 * What ACL SETUSER has changed since the proxy's start, kept by the master: a worker that starts later (in
 * the place of one that crashed) must not bring back users as proxy.toml has them.
 */
import { supersedesRecord, type UserRecord } from "./user-record.ts";

export class UserChanges {
  readonly #records = new Map<string, UserRecord>();

  /** Looks at what one worker asks the others; keeps the users of a change. */
  see(question: unknown): void {
    const asked = question as { readonly kind?: unknown; readonly records?: readonly UserRecord[] };
    if (asked.kind !== "users" || asked.records === undefined) return;
    for (const record of asked.records) {
      if (supersedesRecord(record, this.#records.get(record.name))) this.#records.set(record.name, record);
    }
  }

  get all(): readonly UserRecord[] {
    return [...this.#records.values()];
  }
}
