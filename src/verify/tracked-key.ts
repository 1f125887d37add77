/**
 * One key: what its writer was told, and what any reply says about it. Pure: no time, no chance, no I/O.
 *
 *              begin                    acknowledge
 *   settled(n) ─────▶ under way(n+1) ──────────────▶ settled(n+1)
 *      ▲  ▲               │    │ refuse
 *      │  └───────────────│────┘
 *      │                  ▼ doubt
 *      │             doubtful(n+1)     for ever: n and n+1 are both right from now on
 *
 * A key has one writer, which does one thing at a time: so `done` and `issued` are all there is to know, and
 * at most one write is ever in doubt. One that is not seen may still come (a frozen server that wakes up),
 * one that is seen may still go (a primary that is cut off shows what no replica has): such a key is left
 * alone (`retired`), and looked at once more in the end. Rejected: a write that was seen counts as
 * acknowledged; that blames a system which has answered with an error.
 */
import type { Reply } from "../redis/reply-decoder.ts";
import type { Words } from "./driver.ts";
import type { Fault, Finding, Kind, When } from "./kinds/kind.ts";

/** What was known when a read began. */
export interface ReadMark {
  /** Acknowledged by then: nothing older may be seen. */
  readonly done: number;
  /** Seen by an earlier read, maybe not acknowledged yet. */
  readonly seen: number;
  readonly fromMs: number;
}

/** Younger states that are looked for when a reply is ahead of everything that was written. */
const AHEAD_MAX = 4;

export class TrackedKey {
  readonly kind: Kind;
  readonly key: string;
  /** The last write that was acknowledged. */
  done = 0;
  /** The last write that has been begun: `done` or one more. */
  issued = 0;
  doubtful = false;
  /** Nothing more is written to it: its state is not known exactly. */
  retired = false;
  /** The youngest write that a finished read has seen. */
  #seen = 0;
  /** The write in doubt has been seen by its writer. */
  #shown = false;
  /** Reads that have gone back behind write `#seen`, which is under way: wrong if it gets acknowledged. */
  #backwards = 0;
  #begunMs = 0;
  #wroteFromMs = 0;
  #wroteToMs = 0;

  constructor(kind: Kind, key: string) {
    this.kind = kind;
    this.key = key;
  }

  /** The writes of this key are used up. */
  get full(): boolean {
    return this.done >= this.kind.writes;
  }

  /** Begins the next write; what to send comes back. */
  begin(nowMs: number): readonly Words[] {
    this.issued = this.done + 1;
    this.#begunMs = nowMs;
    return this.kind.write(this.key, this.issued);
  }

  /** The write under way was answered. True: as expected; false: the writer should look at the key. */
  acknowledge(reply: Reply, nowMs: number): boolean {
    this.done = this.issued;
    this.#wroteFromMs = this.#begunMs;
    this.#wroteToMs = nowMs;
    return same(reply, this.kind.answer(this.key, this.done));
  }

  /** The write under way has not run and never will. Findings: it was seen all the same. */
  refuse(): Finding[] {
    const wasSeen = this.#seen >= this.issued;
    this.issued = this.done;
    this.#backwards = 0;
    if (!wasSeen) return [];
    this.retired = true;
    return [this.#finding("phantom", 1, `write ${this.done + 1} was refused, and was read all the same`)];
  }

  /** Nobody can tell whether the write under way has run, or will. */
  doubt(): void {
    this.doubtful = true;
  }

  /**
   * Reads seen by now that contradict each other: the write that they saw and lost again is acknowledged.
   */
  takeBackwards(): Finding[] {
    const count = this.#backwards;
    if (count === 0 || this.#seen > this.done) return [];
    this.#backwards = 0;
    return [this.#finding("order", count, `write ${this.#seen} was read, and then an older one`)];
  }

  /** Reads that saw a write which then came to nothing: allowed, because it was never acknowledged. */
  takeDirty(): number {
    const count = this.#backwards;
    this.#backwards = 0;
    return count;
  }

  /** A read begins. */
  mark(nowMs: number): ReadMark {
    return { done: this.done, seen: this.#seen, fromMs: nowMs };
  }

  /** A read that anybody made, while the writer went on. Null when it fits. */
  observe(mark: ReadMark, reply: Reply, nowMs: number): Finding | null {
    const when = this.#when(mark.fromMs, nowMs);
    const [oldest, youngest] = this.#matching(mark.done, this.issued, reply, when);
    if (oldest < 0) return this.#explain(mark.done, this.issued, reply, when);
    if (youngest < mark.seen) {
      if (mark.seen <= this.done) {
        return this.#finding("order", 1, `write ${mark.seen} was read, and then write ${youngest}`);
      }
      this.#backwards++;
    }
    this.#seen = Math.max(this.#seen, oldest);
    return null;
  }

  /**
   * The writer's own read, with nothing under way: now it shows whether anything is missing, and whether a
   * doubtful write has run (`applied`; null: not known, or told before). After a finding, and with a write in
   * doubt, the key is retired: what it should hold is no longer known.
   */
  settle(mark: ReadMark, reply: Reply, nowMs: number): { applied: boolean | null; finding: Finding | null } {
    const when = this.#when(mark.fromMs, nowMs);
    const [oldest, youngest] = this.#matching(this.done, this.issued, reply, when);
    if (oldest < 0) {
      const finding = this.#explain(this.done, this.issued, reply, when);
      this.retired = true;
      return { applied: null, finding };
    }
    if (!this.doubtful) return { applied: null, finding: null };
    this.retired = true;
    // Both states look alike (a deleted key), or it was told before.
    if (oldest !== youngest || this.#shown) return { applied: null, finding: null };
    this.#shown = oldest === this.issued;
    return { applied: this.#shown, finding: null };
  }

  /** For the write under way the end is open. */
  #when(readFromMs: number, readToMs: number): (n: number) => When | null {
    return (n) => {
      if (n === this.issued && n !== this.done) {
        const wroteToMs = Number.POSITIVE_INFINITY;
        return { wroteFromMs: this.#begunMs, wroteToMs, readFromMs, readToMs };
      }
      if (n !== this.done) return null;
      return { wroteFromMs: this.#wroteFromMs, wroteToMs: this.#wroteToMs, readFromMs, readToMs };
    };
  }

  /** The first and the last write from `low` to `high` whose state the reply is; [-1, -1] for none. */
  #matching(
    low: number,
    high: number,
    reply: Reply,
    when: (n: number) => When | null,
  ): readonly [number, number] {
    let first = -1;
    let last = -1;
    for (let n = low; n <= high; n++) {
      if (!this.kind.matches(this.key, n, reply, when(n))) continue;
      if (first < 0) first = n;
      last = n;
    }
    return [first, last];
  }

  /** A reply that no write from `low` to `high` explains. */
  #explain(low: number, high: number, reply: Reply, when: (n: number) => When | null): Finding {
    const shown = show(reply);
    const text = `writes ${low} to ${high} are possible, the reply is ${shown}`;
    if (foreign(reply, this.key)) return this.#finding("crossed", 1, text);
    for (let n = high + 1; n <= high + AHEAD_MAX; n++) {
      if (reply !== null && this.kind.matches(this.key, n, reply, null)) {
        return this.#finding("duplicated", n - high, text);
      }
    }
    const known = this.kind.explain?.(this.key, low, reply, when(low)) ?? null;
    if (known !== null) return this.#finding(known.fault, known.count, text);
    for (let n = low - 1; n >= 0; n--) {
      if (this.kind.matches(this.key, n, reply, null)) {
        return this.#finding("lost", low - n, `${text}, as after write ${n}`);
      }
    }
    return this.#finding("corrupt", 1, text);
  }

  #finding(fault: Fault, count: number, text: string): Finding {
    return { fault, count, text: `${fault}: ${this.kind.name} ${this.key}: ${text}` };
  }
}

/** Values say whose they are: "key|n|…". */
function foreign(reply: Reply, key: string): boolean {
  if (Array.isArray(reply)) return reply.some((one) => foreign(one, key));
  return typeof reply === "string" && reply.includes("|") && !reply.startsWith(`${key}|`);
}

function same(a: Reply, b: Reply): boolean {
  if (!Array.isArray(a) || !Array.isArray(b)) return a === b;
  return a.length === b.length && a.every((one, i) => same(one, b[i]));
}

function show(reply: Reply): string {
  const text = JSON.stringify(reply) ?? "nothing";
  return text.length <= 160 ? text : `${text.slice(0, 100)} … ${text.slice(-50)}`;
}
