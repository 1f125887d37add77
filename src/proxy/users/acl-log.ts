/**
 * What was denied, newest first: ACL LOG. Denials of the same thing to the same user within a minute are one
 * entry with a count, so that a client which tries again and again does not push out all else (acl.c,
 * addACLLogEntry).
 */

export type DenialReason = "command" | "key" | "channel" | "auth";

export interface Denial {
  readonly reason: DenialReason;
  readonly context: "toplevel" | "multi";
  /** What it was about: the command's name, the key, the channel. */
  readonly object: string;
  readonly username: string;
}

export interface AclLogEntry extends Denial {
  count: number;
  /** When it happened last; of the wall clock, because workers compare it. */
  wallMs: number;
  /** The client as CLIENT LIST shows it. */
  client: string;
}

/** Redis's own bounds: acllog-max-len, and how many entries a new one is compared with. */
const ENTRIES_MAX = 128;
const COMPARED_MAX = 10;
const GROUPED_MS = 60_000;
/** Longest piece of a client's words that is kept. */
const OBJECT_MAX = 1024;

export class AclLog {
  #entries: AclLogEntry[] = [];

  add(denial: Denial, client: string, wallMs: number): void {
    const object = denial.object.slice(0, OBJECT_MAX);
    const same = this.#entries.slice(0, COMPARED_MAX).findIndex((entry) => {
      return isSame(entry, denial, object) && wallMs - entry.wallMs <= GROUPED_MS;
    });
    const count = same < 0 ? 0 : this.#entries.splice(same, 1)[0].count;
    this.#entries.unshift({ ...denial, object, count: count + 1, wallMs, client });
    if (this.#entries.length > ENTRIES_MAX) this.#entries.length = ENTRIES_MAX;
  }

  get entries(): readonly AclLogEntry[] {
    return this.#entries;
  }

  clear(): void {
    this.#entries = [];
  }
}

function isSame(entry: AclLogEntry, denial: Denial, object: string): boolean {
  const { reason, context, username } = denial;
  if (entry.reason !== reason || entry.context !== context) return false;
  return entry.object === object && entry.username === username;
}
