/**
 * A TypeScript file as the checks see it: its text, where its lines begin, its comments and its syntax tree.
 *
 * The parser is oxc's (a development dependency): TypeScript 7's own tree can only be had from a second
 * process through an interface that is marked unstable, and a home-made tokenizer is wrong about a regular
 * expression sooner or later.
 */
import { readFileSync } from "node:fs";
import { type Comment, parseSync, visitorKeys } from "oxc-parser";

/** A node of the tree (ESTree with TypeScript's nodes). Fields beyond these are read by name. */
export interface SyntaxNode {
  readonly type: string;
  /** Offsets in UTF-16 units; `end` is the first one after the node. */
  readonly start: number;
  readonly end: number;
  readonly [field: string]: unknown;
}

/** Calls for a node, before its children. `field` is the parent's field that holds it. */
export type Visit = (node: SyntaxNode, parent: SyntaxNode | undefined, field: string) => void;

export interface SourceFile {
  /** Relative to the checked root, with forward slashes. */
  readonly path: string;
  readonly text: string;
  readonly lines: readonly string[];
  readonly comments: readonly Comment[];
  readonly program: SyntaxNode;
  /** Messages of the parser; the tree is not to be trusted when there are any. */
  readonly errors: readonly string[];
  /** 1-based line of an offset. */
  lineOf(offset: number): number;
}

/** Reads and parses `root`/`path`. */
export function readSourceFile(root: string, path: string): SourceFile {
  return parseSource(path, readFileSync(`${root}/${path}`, "utf8"));
}

/** Parses `text` as the file `path` (its ending says which language). */
export function parseSource(path: string, text: string): SourceFile {
  const result = parseSync(path, text);
  const starts = lineStarts(text);
  return {
    path,
    text,
    lines: text.split("\n"),
    comments: result.comments,
    program: result.program as unknown as SyntaxNode,
    errors: result.errors.filter((error) => error.severity === "Error").map((error) => error.message),
    lineOf: (offset) => lineAt(starts, offset),
  };
}

/** Visits `node` and everything below it, in the order of the text. */
export function walk(node: SyntaxNode, visit: Visit, parent?: SyntaxNode, field = ""): void {
  visit(node, parent, field);
  for (const key of visitorKeys[node.type] ?? []) {
    for (const child of childrenAt(node, key)) walk(child, visit, node, key);
  }
}

/** The nodes in one field, which holds a node, a list with gaps, or nothing. */
export function childrenAt(node: SyntaxNode, field: string): SyntaxNode[] {
  const value = node[field];
  const list = Array.isArray(value) ? value : [value];
  return list.filter(isNode);
}

export function isNode(value: unknown): value is SyntaxNode {
  return typeof value === "object" && value !== null && typeof (value as SyntaxNode).type === "string";
}

function lineStarts(text: string): number[] {
  const starts = [0];
  for (let at = text.indexOf("\n"); at !== -1; at = text.indexOf("\n", at + 1)) starts.push(at + 1);
  return starts;
}

function lineAt(starts: readonly number[], offset: number): number {
  let low = 0;
  let high = starts.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (starts[middle] <= offset) low = middle;
    else high = middle;
  }
  return low + 1;
}
