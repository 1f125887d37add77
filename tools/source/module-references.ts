import { type SourceFile, type SyntaxNode, isNode, walk } from "./syntax-tree.ts";

/** One place in a file that names another module. */
export interface ModuleReference {
  /** As written; undefined when it is computed at run time. */
  readonly specifier: string | undefined;
  /** 1-based. */
  readonly line: number;
}

/** The field that holds the module's name, for each kind of node that can name one. */
const NAMING_FIELDS: Readonly<Record<string, string>> = {
  ImportDeclaration: "source",
  ExportNamedDeclaration: "source",
  ExportAllDeclaration: "source",
  ImportExpression: "source",
  TSImportType: "source",
  TSExternalModuleReference: "expression",
};

/**
 * Every module that a file refers to: static and dynamic imports, `export … from`, `import type`,
 * `import("…").Type`, and `/// <reference … />`. Types count like values: a layer that needs another's types
 * depends on it.
 */
export function moduleReferences(file: SourceFile): ModuleReference[] {
  const references: ModuleReference[] = [];
  walk(file.program, (node) => {
    const field = NAMING_FIELDS[node.type];
    const source = field === undefined ? undefined : node[field];
    if (isNode(source)) references.push({ specifier: literalText(source), line: file.lineOf(node.start) });
  });
  return [...references, ...referenceDirectives(file)];
}

function literalText(node: SyntaxNode): string | undefined {
  if (node.type === "TSLiteralType" && isNode(node.literal)) return literalText(node.literal);
  return node.type === "Literal" && typeof node.value === "string" ? node.value : undefined;
}

function referenceDirectives(file: SourceFile): ModuleReference[] {
  const references: ModuleReference[] = [];
  for (const comment of file.comments) {
    const match = /^\/\s*<reference\s+(?:types|path)="([^"]+)"/.exec(comment.value);
    if (match !== null) references.push({ specifier: match[1], line: file.lineOf(comment.start) });
  }
  return references;
}
