import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { checkTidy } from "./check-tidy.ts";
import { parseSource } from "./source/syntax-tree.ts";
import { countLines } from "./tidy/comments.ts";

const FIXTURE = join(import.meta.dirname, "fixtures", "tidy-bad");

/** Every breach of the fixture, written out: what is missing here must not be found. */
const EXPECTED = [
  "src/Proxy:1: folder-name",
  "src/Proxy:1: readme",
  "src/base/comments.ts:1: to-do",
  "src/base/comments.ts:3: to-do",
  "src/base/comments.ts:6: dead-code",
  "src/base/comments.ts:9: dead-code",
  "src/base/file401.ts:1: file-lines",
  "src/base/file601.ts:1: file-lines",
  "src/base/file601.ts:1: waiver",
  "src/base/long.ts:71: function-lines",
  "src/base/nesting.ts:21: nesting",
  "src/base/ringQueue.ts:1: waiver",
  "src/base/utils:1: folder-name",
  "src/resp/lines.ts:1: waiver",
  "src/resp/lines.ts:2: line-length",
  "src/resp/torn.ts:1: parse",
  "src/resp/torn.ts:1: waiver",
  "src:1: comment-share",
];

describe("check-tidy", () => {
  test("finds every breach of the fixture, at its line, and nothing else", () => {
    const found = checkTidy(FIXTURE).found.map(({ file, line, rule }) => `${file}:${line}: ${rule}`);
    expect(found.sort()).toEqual([...EXPECTED].sort());
  });

  test("messages name the function and the numbers", () => {
    const messages = checkTidy(FIXTURE).found.map((one) => one.message);
    expect(messages).toContain("function seventyOne has 71 lines (at most 70)");
    expect(messages).toContain("four nests control statements 4 deep (at most 3)");
    expect(messages).toContain("601 lines (at most 600, without exception)");
    expect(messages).toContain("waiver for nesting is not needed: remove it");
  });

  test("the command exits with 1 and prints file, line and rule", () => {
    const script = join(import.meta.dirname, "check-tidy.ts");
    const result = Bun.spawnSync([process.execPath, script, FIXTURE], { stdout: "pipe" });
    expect(result.exitCode).toBe(1);
    expect(result.stdout.toString()).toContain(
      "src/resp/lines.ts:2: [line-length] 111 characters (at most 110)",
    );
  });

  test("a line is comment when it holds nothing else", () => {
    const text =
      '// a\nconst b = 1; // c\n\n/* d */ const e = "// no";\n/*\n * f\n\n */\nconst g = `\n// no\n`;\n';
    expect(countLines(parseSource("x.ts", text))).toEqual({ comment: 4, code: 5 });
  });
});
