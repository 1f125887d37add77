/**
 * Checks size, shape and names of the sources.
 *
 *     tools/bun.sh tools/check-tidy.ts [--report] [ROOT]
 *
 * Prints one line for each breach, `file:line: [rule] what`, and exits with 1 when there is any. The numbers
 * are in tidy/limits.ts; exceptions, each with its reason, in tidy-waivers.json. `--report` adds the share
 * of comments in each folder of src/.
 */
import { join } from "node:path";
import { isGenerated, isSource, listFiles } from "./source/list-files.ts";
import { type SourceFile, readSourceFile } from "./source/syntax-tree.ts";
import { type LineCount, checkComments, countLines } from "./tidy/comments.ts";
import { checkFunctions } from "./tidy/functions.ts";
import { LIMITS, type Untidiness } from "./tidy/limits.ts";
import { checkNames } from "./tidy/names.ts";
import { applyWaivers, readWaivers } from "./tidy/waivers.ts";

const FOLDERS = ["src", "test", "bench", "tools", "web"];
/** Below this many lines the share of comments says nothing yet. */
const SHARE_LINES_MIN = 200;

/** What was found under `root`, and the lines of each folder of src/ by its name. */
export interface TidyResult {
  readonly found: readonly Untidiness[];
  readonly lines: ReadonlyMap<string, LineCount>;
}

export function checkTidy(root: string): TidyResult {
  const paths = FOLDERS.flatMap((folder) => listFiles(root, folder));
  const files = paths.filter(isSource).map((path) => readSourceFile(root, path));
  const lines = countByFolder(files);
  const found = [...checkNames(paths), ...files.flatMap(checkFile), ...checkCommentShare(lines)];
  return { found: applyWaivers(found, readWaivers(join(root, "tools", "tidy-waivers.json"))), lines };
}

function checkFile(file: SourceFile): Untidiness[] {
  if (file.errors.length > 0) {
    return [{ file: file.path, line: 1, rule: "parse", message: `cannot parse: ${file.errors[0]}` }];
  }
  return [
    ...checkFileLength(file),
    ...checkLineLengths(file),
    ...checkFunctions(file),
    ...checkComments(file),
  ];
}

function checkFileLength(file: SourceFile): Untidiness[] {
  const count = file.text.endsWith("\n") ? file.lines.length - 1 : file.lines.length;
  if (count <= LIMITS.fileLinesMax) return [];
  const hard = count > LIMITS.fileLinesHardMax;
  const limit = hard
    ? `at most ${LIMITS.fileLinesHardMax}, without exception`
    : `at most ${LIMITS.fileLinesMax}`;
  return [{ file: file.path, line: 1, rule: "file-lines", message: `${count} lines (${limit})`, hard }];
}

function checkLineLengths(file: SourceFile): Untidiness[] {
  return file.lines.flatMap((text, index): Untidiness[] => {
    const length = [...text].length;
    // An address cannot be broken.
    if (length <= LIMITS.lineLengthMax || /https?:\/\/\S+$/.test(text)) return [];
    const message = `${length} characters (at most ${LIMITS.lineLengthMax})`;
    return [{ file: file.path, line: index + 1, rule: "line-length", message }];
  });
}

function countByFolder(files: readonly SourceFile[]): Map<string, LineCount> {
  const counts = new Map<string, LineCount>();
  for (const file of files) {
    const [top, folder] = file.path.split("/");
    if (top !== "src" || isGenerated(file.path)) continue;
    const { comment, code } = countLines(file);
    const sum = counts.get(folder) ?? { comment: 0, code: 0 };
    counts.set(folder, { comment: sum.comment + comment, code: sum.code + code });
  }
  return counts;
}

function total(lines: ReadonlyMap<string, LineCount>): LineCount {
  const all = [...lines.values()];
  const sum = (field: keyof LineCount) => all.reduce((sofar, one) => sofar + one[field], 0);
  return { comment: sum("comment"), code: sum("code") };
}

function share({ comment, code }: LineCount): number {
  return comment / Math.max(1, comment + code);
}

function percent(count: LineCount): string {
  return `${(share(count) * 100).toFixed(1)} % of ${count.comment + count.code} lines are comments`;
}

function checkCommentShare(lines: ReadonlyMap<string, LineCount>): Untidiness[] {
  const sum = total(lines);
  if (sum.comment + sum.code < SHARE_LINES_MIN) return [];
  const value = share(sum);
  if (value >= LIMITS.commentShareMin && value <= LIMITS.commentShareMax) return [];
  const [low, high] = [LIMITS.commentShareMin * 100, LIMITS.commentShareMax * 100];
  const folders = [...lines]
    .map(([name, count]) => `${name} ${(share(count) * 100).toFixed(0)} %`)
    .join(", ");
  const message = `${percent(sum)} (${low} to ${high} %): ${folders}`;
  return [{ file: "src", line: 1, rule: "comment-share", message }];
}

function printReport(lines: ReadonlyMap<string, LineCount>): void {
  for (const [name, count] of lines) console.log(`${`src/${name}`.padEnd(20)} ${percent(count)}`);
  console.log(`${"src".padEnd(20)} ${percent(total(lines))}`);
}

if (import.meta.main) {
  const args = process.argv.slice(2);
  const root = args.find((arg) => !arg.startsWith("--")) ?? join(import.meta.dirname, "..");
  const { found, lines } = checkTidy(root);
  for (const { file, line, rule, message } of found) console.log(`${file}:${line}: [${rule}] ${message}`);
  if (args.includes("--report")) printReport(lines);
  process.exitCode = found.length > 0 ? 1 : 0;
}
