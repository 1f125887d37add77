/**
 * Holds docs/internals/loss-modes.md and the tests together: each loss mode has a test by its number, and the
 * page names files in which it is. Tests of the checker itself do not count: they show that a loss would be
 * found, not that there is none.
 */
import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

const ROOT = join(import.meta.dirname, "..");
const PAGE = join(ROOT, "docs/internals/loss-modes.md");
const CHECKER = "src/verify/";

/** L1 … L16 and L8b. */
const MODES = [...Array.from({ length: 16 }, (_, i) => `L${i + 1}`), "L8b"];

/** Number → files that the page names. */
function rowsOfPage(text: string): Map<string, string[]> {
  const rows = new Map<string, string[]>();
  for (const line of text.split("\n")) {
    const cells = line.split("|").map((cell) => cell.trim());
    if (!/^L\d+b?$/.test(cells[1] ?? "")) continue;
    const files = [...cells[4].matchAll(/`([^`]+)`/g)].map(([, file]) => file);
    rows.set(
      cells[1],
      files.map((file) => (file.includes("/") ? file : `test/integration/${file}`)),
    );
  }
  return rows;
}

/** The modes that names of tests in a file begin with: "L10, L14: a frozen proxy …". */
function modesOfTests(source: string): Set<string> {
  const modes = new Set<string>();
  for (const [, list] of source.matchAll(/["'`](L\d+b?(?:, L\d+b?)*):? /g)) {
    for (const mode of list.split(", ")) modes.add(mode);
  }
  return modes;
}

function testFiles(): string[] {
  return ["src", "test"].flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".test.ts"))
      .map((file) => `${folder}/${file}`)
      .filter((file) => !file.startsWith(CHECKER) && file !== "test/loss-modes.test.ts"),
  );
}

function readModes(file: string): Set<string> {
  return modesOfTests(readFileSync(join(ROOT, file), "utf8"));
}

describe("loss modes", () => {
  const rows = rowsOfPage(readFileSync(PAGE, "utf8"));

  test("the page has a row for each, and no other", () => {
    expect([...rows.keys()].sort()).toEqual(MODES.toSorted());
  });

  test("each has a test that says so", () => {
    const there = new Set(testFiles().flatMap((file) => [...readModes(file)]));
    expect(MODES.filter((mode) => !there.has(mode))).toEqual([]);
    expect([...there].filter((mode) => !MODES.includes(mode))).toEqual([]);
  });

  test("the files that the page names are there and have such a test", () => {
    const wrong = [...rows].flatMap(([mode, files]) => {
      const bad = files.filter((file) => !existsSync(join(ROOT, file)) || !readModes(file).has(mode));
      return [...bad, ...(files.length === 0 ? ["no file"] : [])].map((file) => `${mode}: ${file}`);
    });
    expect(wrong).toEqual([]);
  });

  test("names are read as they are written", () => {
    const source =
      'test("L8b, L1: both", f); describe("L14: all", f); test("not L3: this", f); "L2 without";';
    expect([...modesOfTests(source)].sort()).toEqual(["L1", "L14", "L2", "L8b"]);
    expect(rowsOfPage("| L4 | mode | does | `a.test.ts`, `src/b.test.ts` |").get("L4")).toEqual([
      "test/integration/a.test.ts",
      "src/b.test.ts",
    ]);
  });
});
