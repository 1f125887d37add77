/** What a run of checks or tests came to. */
export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

/**
 * The counts of a run of `bun test`, from its JUnit report (undefined when it left none) and its exit status.
 *
 * The status has the last word: a file that cannot be loaded, an error between tests or a crash of the
 * runner is in no test's entry, and must not come out as a pass. A run without one test counts as failed
 * too: it checked nothing.
 */
export function countsOfReport(report: string | undefined, status: number): Counts {
  const root = /<testsuites\b[^>]*>/.exec(report ?? "")?.[0] ?? "";
  const tests = attribute(root, "tests");
  const failed = attribute(root, "failures") + attribute(root, "errors");
  const skipped = attribute(root, "skipped");
  const counts = { passed: tests - failed - skipped, failed, skipped };
  if (failed === 0 && (status !== 0 || tests === 0)) counts.failed = 1;
  return counts;
}

function attribute(tag: string, name: string): number {
  return Number(new RegExp(`\\b${name}="(\\d+)"`).exec(tag)?.[1] ?? 0);
}
