/** The report of a verification as a person reads it. */
import type { VerifyReport } from "../../verify/tally.ts";
import type { LiveCounts } from "../../verify/verifier.ts";
import { formatTable } from "../print-table.ts";

/** Findings that are printed; JSON has more. */
const FINDINGS_SHOWN = 10;

/** The line that comes each second. */
export function formatLive(counts: LiveCounts, before: LiveCounts | null): string {
  const seconds = counts.seconds - (before?.seconds ?? 0);
  const rate = (now: number, then = 0): string => `${amount((now - then) / Math.max(seconds, 0.001))}/s`;
  return [
    `${counts.seconds.toFixed(0).padStart(4)} s`,
    `reads ${rate(counts.reads, before?.reads)}`,
    `writes ${rate(counts.acknowledged, before?.acknowledged)}`,
    `errors ${amount(counts.errors)}`,
    `in doubt ${amount(counts.inDoubt)}`,
    `lost ${amount(counts.lost)}`,
    `wrong ${amount(counts.wrong)}`,
    `longest gap ${amount(counts.longestGapMs)} ms`,
  ].join("   ");
}

export function formatReport(report: VerifyReport): string {
  const { errors } = report;
  const rows = [
    ["reads", amount(report.reads), `${amount(errors.reads)} failed`],
    ["writes", amount(report.writes), `${amount(report.acknowledged)} acknowledged`],
    ["refused", amount(errors.refused), "writes that have surely not run"],
    [
      "in doubt",
      amount(errors.inDoubt),
      `writes that may have run; ${amount(report.notAcknowledgedButApplied)} had`,
    ],
    ["dirty reads", amount(report.dirtyReads), "of writes that came to nothing, unacknowledged"],
    ["lost", amount(report.lost), "acknowledged writes whose effect is gone"],
    ["duplicated", amount(report.duplicated), "writes that were applied twice"],
    ["wrong", amount(report.wrong), faultsText(report)],
    ["not verified", amount(report.unverified), "keys that could not be read in the end"],
    ...report.gaps.map((gap) => {
      const where = gap.label === "all" ? "" : `, ${gap.label}`;
      return [
        "without service",
        `${amount(gap.longestMs)} ms`,
        `longest, at ${seconds(gap.fromMs)} s${where}`,
      ];
    }),
  ];
  const { keys, workers, seed } = report;
  const head = `${report.target}   ${report.seconds} s, ${keys} keys, ${workers} workers, seed ${seed}`;
  const parts = [head, formatTable(rows)];
  if (errors.texts.length > 0) {
    parts.push(["ERRORS", ...errors.texts.map(({ text, count }) => `${amount(count)} × ${text}`)].join("\n"));
  }
  if (report.findings.length > 0) {
    parts.push(["FOUND", ...report.findings.slice(0, FINDINGS_SHOWN)].join("\n"));
  }
  return parts.join("\n\n");
}

/** 12345 → "12,345". */
export function amount(value: number): string {
  return Math.round(value).toLocaleString("en");
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(1);
}

function faultsText(report: VerifyReport): string {
  const wrong = Object.entries(report.faults).filter(([fault]) => fault !== "lost");
  if (wrong.length === 0) return "order, crossed, torn, expiry, corrupt …";
  return wrong.map(([fault, count]) => `${fault} ${count}`).join(", ");
}
