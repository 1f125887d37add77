import { type SourceFile, type SyntaxNode, childrenAt, isNode } from "../source/syntax-tree.ts";
import { visitorKeys } from "oxc-parser";
import { LIMITS, type Untidiness } from "./limits.ts";

const FUNCTIONS = ["FunctionDeclaration", "FunctionExpression", "ArrowFunctionExpression"];
const CONTROL = [
  "IfStatement",
  "ForStatement",
  "ForInStatement",
  "ForOfStatement",
  "WhileStatement",
  "DoWhileStatement",
  "SwitchStatement",
  "TryStatement",
];
/** Callbacks of these are a list of tests, not a function that someone has to hold in mind at once. */
const GROUPING_CALLS = ["describe"];

interface Place {
  readonly functionName: string;
  /** Control statements around this point within its function. */
  readonly depth: number;
}

/** Functions that are too long, and control statements that are nested too deep. */
export function checkFunctions(file: SourceFile): Untidiness[] {
  const found: Untidiness[] = [];
  descend(file, file.program, undefined, { functionName: "(top level)", depth: 0 }, found);
  return found;
}

function descend(
  file: SourceFile,
  node: SyntaxNode,
  parent: SyntaxNode | undefined,
  place: Place,
  found: Untidiness[],
): void {
  const inner = enter(file, node, parent, place, found);
  for (const field of visitorKeys[node.type] ?? []) {
    // `else if` continues a statement, it does not go deeper.
    const continues = node.type === "IfStatement" && field === "alternate" && isIf(node.alternate);
    for (const child of childrenAt(node, field)) descend(file, child, node, continues ? place : inner, found);
  }
}

function enter(
  file: SourceFile,
  node: SyntaxNode,
  parent: SyntaxNode | undefined,
  place: Place,
  found: Untidiness[],
): Place {
  const line = file.lineOf(node.start);
  if (FUNCTIONS.includes(node.type)) {
    const name = functionName(node, parent);
    const lines = file.lineOf(node.end - 1) - line + 1;
    if (lines > LIMITS.functionLinesMax && !isGrouping(parent)) {
      const message = `function ${name} has ${lines} lines (at most ${LIMITS.functionLinesMax})`;
      found.push({ file: file.path, line, rule: "function-lines", message, function: name });
    }
    return { functionName: name, depth: 0 };
  }
  if (!CONTROL.includes(node.type)) return place;
  const depth = place.depth + 1;
  if (depth === LIMITS.nestingMax + 1) {
    const limit = `at most ${LIMITS.nestingMax}`;
    const message = `${place.functionName} nests control statements ${depth} deep (${limit})`;
    found.push({ file: file.path, line, rule: "nesting", message, function: place.functionName });
  }
  return { functionName: place.functionName, depth };
}

function isIf(value: unknown): boolean {
  return isNode(value) && value.type === "IfStatement";
}

function isGrouping(parent: SyntaxNode | undefined): boolean {
  if (parent?.type !== "CallExpression" || !isNode(parent.callee)) return false;
  // `describe(…)`, `describe.each(table)(…)`, `describe.skipIf(condition)(…)`
  let callee: unknown = parent.callee;
  while (isNode(callee) && callee.type !== "Identifier") callee = callee.callee ?? callee.object;
  return isNode(callee) && GROUPING_CALLS.includes(String(callee.name));
}

function functionName(node: SyntaxNode, parent: SyntaxNode | undefined): string {
  const named = [node.id, parent?.id, parent?.key, parent?.left].find(
    (candidate) => isNode(candidate) && typeof candidate.name === "string",
  );
  return isNode(named) ? String(named.name) : "(anonymous)";
}
