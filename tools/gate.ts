/**
 * The gate: every check and every test of the project, with one verdict.
 *
 *     npm test                                everything
 *     npm test -- --only src/resp             only the tests under these paths, no static checks
 *     npm test -- --static                    only the static checks (that is `npm run check`)
 *
 * Ends with one line, `N passed, N failed` (`, N skipped` when there are any), in which each static check
 * and each test counts one. Exits with 1 when anything failed, a test runner that died included.
 */
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type Counts, countsOfReport } from "./gate/test-report.ts";
import { STATIC_CHECKS, runStaticCheck } from "./gate/static-checks.ts";

const ROOT = join(import.meta.dirname, "..");
const REPORT = join(ROOT, ".cache", "gate", `tests-${process.pid}.xml`);
/** A test that hangs must fail with its name, long before the whole run is stopped from outside. */
const TEST_TIMEOUT_MS = 60_000;
/** Test files at the same time: most of them wait for servers, leases and time-outs. */
const FILES_AT_ONCE = 2;
const TEST_FOLDERS = ["src", "test", "tools"];

interface Options {
  readonly staticChecks: boolean;
  /** Paths to test; empty for none. */
  readonly paths: readonly string[];
}

/** @throws Error with a line for the user when the arguments make no sense. */
function parseOptions(args: readonly string[]): Options {
  const everything = TEST_FOLDERS.filter((folder) => existsSync(join(ROOT, folder)));
  const [flag, ...rest] = args;
  if (flag === undefined) return { staticChecks: true, paths: everything };
  if (flag === "--static" && rest.length === 0) return { staticChecks: true, paths: [] };
  if (flag !== "--only" || rest.length === 0) {
    throw new Error(`cannot use the arguments ${args.join(" ")}: give --static, or --only PATH…`);
  }
  const missing = rest.find((path) => !existsSync(join(ROOT, path)));
  if (missing !== undefined) throw new Error(`cannot test ${missing}: no such file or folder`);
  return { staticChecks: false, paths: rest };
}

async function runStaticChecks(): Promise<Counts> {
  const results = STATIC_CHECKS.map((check) => runStaticCheck(ROOT, check));
  const counts = { passed: 0, failed: 0, skipped: 0 };
  for (const pending of results) {
    const { name, ok, output, seconds } = await pending;
    console.log(`${ok ? "ok    " : "FAILED"} ${name} (${seconds.toFixed(1)} s)`);
    if (!ok) console.log(output.trimEnd().replaceAll(/^/gm, "       "));
    if (ok) counts.passed++;
    else counts.failed++;
  }
  return counts;
}

/** Runs bun's test runner, its output going straight to ours, and counts by the report that it leaves. */
async function runTests(paths: readonly string[]): Promise<Counts> {
  mkdirSync(join(ROOT, ".cache", "gate"), { recursive: true });
  const report = ["--reporter=junit", `--reporter-outfile=${REPORT}`];
  const args = ["--timeout", String(TEST_TIMEOUT_MS), `--parallel=${FILES_AT_ONCE}`, ...report];
  const places = paths.map((path) => `./${path}`);
  const runner = Bun.spawn([process.execPath, "test", ...args, ...places], {
    cwd: ROOT,
    stdin: "ignore",
    stdout: "inherit",
    stderr: "inherit",
  });
  const stop = (signal: NodeJS.Signals) => runner.kill(signal);
  process.on("SIGINT", stop).on("SIGTERM", stop);
  const status = await runner.exited;
  process.off("SIGINT", stop).off("SIGTERM", stop);
  const written = existsSync(REPORT) ? readFileSync(REPORT, "utf8") : undefined;
  rmSync(REPORT, { force: true });
  const counts = countsOfReport(written, status);
  if (status !== 0) console.log(`the test runner ended with ${runner.signalCode ?? status}`);
  return counts;
}

async function main(): Promise<void> {
  const { staticChecks, paths } = parseOptions(process.argv.slice(2));
  const none: Counts = { passed: 0, failed: 0, skipped: 0 };
  const checks = staticChecks ? await runStaticChecks() : none;
  const tests = paths.length > 0 ? await runTests(paths) : none;
  const failed = checks.failed + tests.failed;
  const skipped = checks.skipped + tests.skipped;
  const tail = skipped > 0 ? `, ${skipped} skipped` : "";
  console.log(`${checks.passed + tests.passed} passed, ${failed} failed${tail}`);
  process.exitCode = failed > 0 ? 1 : 0;
}

try {
  await main();
} catch (error) {
  console.error(`gate: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 2;
}
