/** What a run has counted, and the report that is made of it. */
import type { Finding, Fault } from "./kinds/kind.ts";
import { type ServiceGap, ServiceGaps } from "./service-gaps.ts";

/** The result of a run; a plain object that JSON can write. */
export interface VerifyReport {
  readonly target: string;
  /** What repeats the choice of keys and operations. */
  readonly seed: number;
  readonly seconds: number;
  readonly keys: number;
  readonly workers: number;
  readonly reads: number;
  /** Writes that were sent, and those of them that were acknowledged. */
  readonly writes: number;
  readonly acknowledged: number;
  /** Operations that failed; `refused` have surely not run, `inDoubt` are writes that may have. */
  readonly errors: {
    readonly total: number;
    readonly reads: number;
    readonly refused: number;
    readonly inDoubt: number;
    /** The most frequent texts. */
    readonly texts: ReadonlyArray<{ readonly text: string; readonly count: number }>;
  };
  /** Acknowledged writes whose effect is gone. */
  readonly lost: number;
  /** Writes that were applied twice, without anybody having sent them twice. */
  readonly duplicated: number;
  /** Everything that is wrong but not lost, `duplicated` among it. */
  readonly wrong: number;
  readonly faults: Readonly<Partial<Record<Fault, number>>>;
  /** Not acknowledged and seen all the same: allowed. */
  readonly notAcknowledgedButApplied: number;
  /** Reads of a write that then came to nothing, unacknowledged: allowed. */
  readonly dirtyReads: number;
  /** Keys that could not be read in the end: nothing is known about them, so it counts as a failure. */
  readonly unverified: number;
  /** Longest time without a successful operation. */
  readonly gaps: readonly ServiceGap[];
  /** The first findings, one sentence each. */
  readonly findings: readonly string[];
}

/** Findings that are kept as text. */
const FINDINGS_MAX = 50;
/** Different error texts that are counted; the rest is "other". */
const TEXTS_MAX = 200;
const TEXTS_SHOWN = 5;

export class Tally {
  reads = 0;
  writes = 0;
  acknowledged = 0;
  readErrors = 0;
  refused = 0;
  inDoubt = 0;
  appliedUnacknowledged = 0;
  dirtyReads = 0;
  unverified = 0;
  readonly gaps: ServiceGaps;
  readonly #faults = new Map<Fault, number>();
  readonly #texts = new Map<string, number>();
  readonly #findings: string[] = [];

  constructor(labels: Iterable<string>, nowMs: number) {
    this.gaps = new ServiceGaps(labels, nowMs);
  }

  get errors(): number {
    return this.readErrors + this.refused + this.inDoubt;
  }

  get lost(): number {
    return this.#faults.get("lost") ?? 0;
  }

  get wrong(): number {
    let sum = 0;
    for (const [fault, count] of this.#faults) if (fault !== "lost") sum += count;
    return sum;
  }

  find(finding: Finding): void {
    this.#faults.set(finding.fault, (this.#faults.get(finding.fault) ?? 0) + finding.count);
    if (this.#findings.length < FINDINGS_MAX) this.#findings.push(finding.text);
  }

  /** Counts an error's text, without the parts that differ from one to the next. */
  errorText(text: string): void {
    const plain = text.replace(/\d+(\.\d+){3}:\d+/g, "ADDRESS").replace(/\d+ ms/g, "N ms");
    const key = this.#texts.has(plain) || this.#texts.size < TEXTS_MAX ? plain : "other";
    this.#texts.set(key, (this.#texts.get(key) ?? 0) + 1);
  }

  report(
    run: Pick<VerifyReport, "target" | "seed" | "seconds" | "keys" | "workers">,
    nowMs: number,
  ): VerifyReport {
    const texts = [...this.#texts].map(([text, count]) => ({ text, count }));
    return {
      ...run,
      reads: this.reads,
      writes: this.writes,
      acknowledged: this.acknowledged,
      errors: {
        total: this.errors,
        reads: this.readErrors,
        refused: this.refused,
        inDoubt: this.inDoubt,
        texts: texts.toSorted((a, b) => b.count - a.count).slice(0, TEXTS_SHOWN),
      },
      lost: this.lost,
      duplicated: this.#faults.get("duplicated") ?? 0,
      wrong: this.wrong,
      faults: Object.fromEntries(this.#faults),
      notAcknowledgedButApplied: this.appliedUnacknowledged,
      dirtyReads: this.dirtyReads,
      unverified: this.unverified,
      gaps: this.gaps.all(nowMs),
      findings: [...this.#findings],
    };
  }
}

/** Whether nothing is lost, nothing is wrong, and everything has been looked at. */
export function isClean(report: VerifyReport): boolean {
  return report.lost === 0 && report.wrong === 0 && report.unverified === 0;
}
