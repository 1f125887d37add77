/**
 * Time without service: the longest stretch in which no operation succeeded, per label (the group that a key
 * lives in). What a client of that group felt, whatever the reason.
 */
export interface ServiceGap {
  readonly label: string;
  /** Milliseconds. */
  readonly longestMs: number;
  /** When it began, in milliseconds since the run began. */
  readonly fromMs: number;
  /** Operations that succeeded. */
  readonly successes: number;
}

interface Entry {
  lastMs: number;
  longestMs: number;
  longestFromMs: number;
  successes: number;
}

export class ServiceGaps {
  readonly #entries = new Map<string, Entry>();
  readonly #startMs: number;

  constructor(labels: Iterable<string>, nowMs: number) {
    this.#startMs = nowMs;
    for (const label of labels) {
      this.#entries.set(label, { lastMs: nowMs, longestMs: 0, longestFromMs: nowMs, successes: 0 });
    }
  }

  /** An operation has succeeded. */
  success(label: string, nowMs: number): void {
    const entry = this.#entries.get(label) as Entry;
    entry.successes++;
    this.#close(entry, nowMs);
  }

  /** The gaps so far; the one that is open counts up to now. */
  all(nowMs: number): ServiceGap[] {
    return [...this.#entries].map(([label, entry]) => {
      const openMs = nowMs - entry.lastMs;
      const isOpen = openMs > entry.longestMs;
      return {
        label,
        longestMs: Math.round(isOpen ? openMs : entry.longestMs),
        fromMs: Math.round((isOpen ? entry.lastMs : entry.longestFromMs) - this.#startMs),
        successes: entry.successes,
      };
    });
  }

  #close(entry: Entry, nowMs: number): void {
    const gapMs = nowMs - entry.lastMs;
    if (gapMs > entry.longestMs) {
      entry.longestMs = gapMs;
      entry.longestFromMs = entry.lastMs;
    }
    entry.lastMs = nowMs;
  }
}
