import { describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Counts, countsOfReport } from "./test-report.ts";

/** Runs bun's own test runner on one file with this text, as the gate does, and counts. */
function countsOf(text: string): Counts {
  const folder = mkdtempSync(join(tmpdir(), "shoal-gate-"));
  try {
    const report = join(folder, "report.xml");
    writeFileSync(join(folder, "one.test.ts"), `import { expect, test } from "bun:test";\n${text}`);
    const args = ["test", "--reporter=junit", `--reporter-outfile=${report}`, "./one.test.ts"];
    const result = Bun.spawnSync([process.execPath, ...args], {
      cwd: folder,
      stdout: "ignore",
      stderr: "ignore",
    });
    let xml: string | undefined;
    try {
      xml = readFileSync(report, "utf8");
    } catch {
      xml = undefined;
    }
    return countsOfReport(xml, result.exitCode ?? 1);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe("the counts of a run of bun test", () => {
  test("passed, failed and skipped tests", () => {
    const pass = 'test("a", () => {});';
    const text = [pass, 'test("b", () => expect(1).toBe(2));', 'test.skip("c", () => {});', pass].join("\n");
    expect(countsOf(text)).toEqual({ passed: 2, failed: 1, skipped: 1 });
  });

  test("a file that cannot be loaded is a failure", () => {
    expect(countsOf('import "./gone.ts";\ntest("a", () => {});').failed).toBe(1);
  });

  test("an error between tests is a failure", () => {
    const late = 'setTimeout(() => { throw new Error("late"); }, 1);';
    expect(countsOf(`test("a", () => {});\n${late}\ntest("b", () => Bun.sleep(50));`).failed).toBe(1);
  });

  test("a runner that dies is a failure", () => {
    expect(countsOf('test("a", () => process.kill(process.pid, "SIGKILL"));').failed).toBe(1);
    expect(countsOf('test("a", () => process.exit(0));').failed).toBe(1);
  });

  test("a run without a test is a failure", () => {
    expect(countsOf("")).toEqual({ passed: 0, failed: 1, skipped: 0 });
    expect(countsOfReport(undefined, 0)).toEqual({ passed: 0, failed: 1, skipped: 0 });
  });
});
