import { type SourceFile, parseSource } from "../source/syntax-tree.ts";
import type { Untidiness } from "./limits.ts";

/** Lines of a file or of many, blank ones left out. */
export interface LineCount {
  readonly comment: number;
  readonly code: number;
}

const TO_DO = /\b(TODO|FIXME|XXX|HACK)\b/;

/** A line counts as comment when it holds nothing else. */
export function countLines(file: SourceFile): LineCount {
  const isComment = commentOnlyLines(file);
  let comment = 0;
  let code = 0;
  file.lines.forEach((text, index) => {
    if (text.trim() === "") return;
    if (isComment.has(index + 1)) comment++;
    else code++;
  });
  return { comment, code };
}

function commentOnlyLines(file: SourceFile): Set<number> {
  // split("") gives UTF-16 units, which is what the parser's offsets count.
  const units = file.text.split("");
  for (const { start, end } of file.comments) {
    for (let at = start; at < end; at++) if (units[at] !== "\n") units[at] = " ";
  }
  const rest = units.join("").split("\n");
  const lines = new Set<number>();
  for (const { start, end } of file.comments) {
    for (let line = file.lineOf(start); line <= file.lineOf(end - 1); line++) {
      if (rest[line - 1].trim() === "") lines.add(line);
    }
  }
  return lines;
}

/** Comments that put work off, and comments that are code. */
export function checkComments(file: SourceFile): Untidiness[] {
  return [...checkToDos(file), ...checkDeadCode(file)];
}

function checkToDos(file: SourceFile): Untidiness[] {
  const found: Untidiness[] = [];
  for (const comment of file.comments) {
    const word = TO_DO.exec(comment.value);
    if (word === null) continue;
    const line = file.lineOf(comment.start + word.index);
    found.push({
      file: file.path,
      line,
      rule: "to-do",
      message: `comment says ${word[1]}: do it or open an issue`,
    });
  }
  return found;
}

function checkDeadCode(file: SourceFile): Untidiness[] {
  return lineCommentBlocks(file)
    .filter(({ text }) => isCode(text) || text.split("\n").some(isStatement))
    .map(({ line }) => ({
      file: file.path,
      line,
      rule: "dead-code",
      message: "commented-out code: remove it",
    }));
}

/** Neighbouring `//` comments joined, because code that was commented out goes over several lines. */
function lineCommentBlocks(file: SourceFile): Array<{ line: number; text: string }> {
  const blocks: Array<{ line: number; last: number; text: string }> = [];
  for (const comment of file.comments) {
    const line = file.lineOf(comment.start);
    const isAlone = file.lines[line - 1].trimStart().startsWith("//");
    if (comment.type !== "Line" || !isAlone) continue;
    const block = blocks.at(-1);
    if (block !== undefined && block.last === line - 1) {
      block.text += `\n${comment.value}`;
      block.last = line;
    } else {
      blocks.push({ line, last: line, text: comment.value });
    }
  }
  return blocks;
}

/**
 * A whole block of comment that is code. The first look is cheap, and needed: "reconnects" alone would
 * parse.
 */
function isCode(text: string): boolean {
  const hasMark = text
    .split("\n")
    .some((line) => /[;{}]\s*$|^\s*(const|let|import|export|return|await)\s/.test(line));
  return hasMark && parsesAsCode(text);
}

/** One line of code among prose. Stricter, because "return early;" is English as well. */
function isStatement(line: string): boolean {
  return /[=(].*;\s*$/.test(line) && parsesAsCode(line);
}

function parsesAsCode(text: string): boolean {
  // Inside a function, so that `return` and `await` are at home.
  const wrapped = parseSource("comment.ts", `async function f() {\n${text}\n}`);
  return wrapped.errors.length === 0 || parseSource("comment.ts", text).errors.length === 0;
}
