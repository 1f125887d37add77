import { type SourceFile, type SyntaxNode, childrenAt, isNode, walk } from "./syntax-tree.ts";

/** One use of a global, `Date.now`-like members written with their object. */
export interface GlobalReference {
  readonly name: string;
  /** 1-based. */
  readonly line: number;
}

/** Fields in which an identifier is a name for something else, not a use of a variable. */
const NAME_FIELDS: Readonly<Record<string, readonly string[]>> = {
  MemberExpression: ["property"],
  Property: ["key"],
  MethodDefinition: ["key"],
  PropertyDefinition: ["key"],
  AccessorProperty: ["key"],
  TSPropertySignature: ["key"],
  TSMethodSignature: ["key", "params"],
  TSFunctionType: ["params"],
  TSCallSignatureDeclaration: ["params"],
  TSConstructorType: ["params"],
  TSConstructSignatureDeclaration: ["params"],
  TSIndexSignature: ["parameters"],
  TSInterfaceDeclaration: ["id"],
  TSTypeAliasDeclaration: ["id"],
  TSAbstractMethodDefinition: ["key"],
  TSAbstractPropertyDefinition: ["key"],
  TSEnumMember: ["id"],
  LabeledStatement: ["label"],
  BreakStatement: ["label"],
  ContinueStatement: ["label"],
  ImportSpecifier: ["imported"],
  ExportSpecifier: ["exported"],
  ImportAttribute: ["key"],
  MetaProperty: ["meta", "property"],
  TSQualifiedName: ["left", "right"],
  TSTypeReference: ["typeName"],
  TSTypeQuery: ["exprName"],
  TSTypePredicate: ["parameterName"],
  TSNamedTupleMember: ["label"],
};

/** Fields in which an identifier is declared. */
const BINDING_FIELDS: Readonly<Record<string, readonly string[]>> = {
  VariableDeclarator: ["id"],
  FunctionDeclaration: ["id", "params"],
  FunctionExpression: ["id", "params"],
  TSDeclareFunction: ["id", "params"],
  TSEmptyBodyFunctionExpression: ["id", "params"],
  ArrowFunctionExpression: ["params"],
  ClassDeclaration: ["id"],
  ClassExpression: ["id"],
  CatchClause: ["param"],
  ImportSpecifier: ["local"],
  ImportDefaultSpecifier: ["local"],
  ImportNamespaceSpecifier: ["local"],
  RestElement: ["argument"],
  ArrayPattern: ["elements"],
  AssignmentPattern: ["left"],
};

/**
 * The free identifiers of a file (with `X.y` for plain members of them), and `import.meta`.
 *
 * A name that the file declares anywhere is taken for its own everywhere: scopes are not followed. What slips
 * through that way in a pure layer, the compiler finds, because there such a global has no type.
 */
export function globalReferences(file: SourceFile): GlobalReference[] {
  const declared = declaredNames(file);
  const references: GlobalReference[] = [];
  walk(file.program, (node, parent, field) => {
    const line = file.lineOf(node.start);
    if (node.type === "MetaProperty" && isImportMeta(node)) references.push({ name: "import.meta", line });
    if (node.type !== "Identifier" || isName(node, parent, field)) return;
    const name = String(node.name);
    if (declared.has(name)) return;
    references.push({ name, line });
    const member = memberOf(parent, field);
    if (member !== undefined) references.push({ name: `${name}.${member}`, line });
    if (isClockRead(name, parent, field)) references.push({ name: "new Date()", line });
  });
  return references;
}

function declaredNames(file: SourceFile): Set<string> {
  const names = new Set<string>();
  walk(file.program, (node, parent, field) => {
    if (node.type === "Identifier" && isBinding(parent, field)) names.add(String(node.name));
    if (node.type === "ObjectPattern") {
      for (const property of childrenAt(node, "properties")) addDeclared(names, property.value);
    }
  });
  return names;
}

function addDeclared(names: Set<string>, value: unknown): void {
  if (isNode(value) && value.type === "Identifier") names.add(String(value.name));
}

function isBinding(parent: SyntaxNode | undefined, field: string): boolean {
  if (parent === undefined) return false;
  return BINDING_FIELDS[parent.type]?.includes(field) ?? false;
}

function isName(node: SyntaxNode, parent: SyntaxNode | undefined, field: string): boolean {
  if (parent === undefined || isBinding(parent, field)) return true;
  if (parent.computed === true && (field === "property" || field === "key")) return false;
  // In `{ process }` key and value are the same text: the value is visited by itself.
  return NAME_FIELDS[parent.type]?.includes(field) ?? isNode(node.typeAnnotation);
}

function memberOf(parent: SyntaxNode | undefined, field: string): string | undefined {
  if (parent?.type !== "MemberExpression" || field !== "object" || !isNode(parent.property)) return undefined;
  const { property } = parent;
  if (property.type === "Identifier" && parent.computed !== true) return String(property.name);
  return property.type === "Literal" ? String(property.value) : undefined;
}

/** `new Date()` and `Date()` read the clock; `new Date(ms)` only converts. */
function isClockRead(name: string, parent: SyntaxNode | undefined, field: string): boolean {
  if (name !== "Date" || field !== "callee" || parent === undefined) return false;
  return parent.type === "CallExpression" || (parent.arguments as unknown[]).length === 0;
}

function isImportMeta(node: SyntaxNode): boolean {
  return isNode(node.meta) && node.meta.name === "import";
}
