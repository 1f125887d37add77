/**
 * Checks that the imports of src/ go one way and that only the outer layers touch the machine.
 *
 *     tools/bun.sh tools/check-layers.ts [ROOT]
 *
 * Prints one line for each breach, `file:line: [rule] what and why`, and exits with 1 when there is any. The
 * rules are the table in layers.ts; tools/fixtures/layers-bad has a file for each way to break one, and the
 * test shows that each is found. (dependency-cruiser sees nothing under TypeScript 7 and reports success,
 * which is why this exists.)
 */
import { existsSync } from "node:fs";
import { isBuiltin } from "node:module";
import { dirname, join, normalize } from "node:path";
import {
  CONFINED_MODULES,
  FORBIDDEN_GLOBALS,
  FORBIDDEN_MEMBERS,
  LAYERS,
  type Layer,
  MODULE_EXCEPTIONS,
  TEST_FOLDERS,
  TEST_LAYERS,
  WEB_LAYERS,
} from "./layers.ts";
import { globalReferences } from "./source/global-references.ts";
import { isGenerated, isSource, isTest, listFiles } from "./source/list-files.ts";
import { moduleReferences } from "./source/module-references.ts";
import { type SourceFile, readSourceFile } from "./source/syntax-tree.ts";

export type LayerRule =
  | "layer"
  | "module"
  | "package"
  | "global"
  | "path"
  | "test-code"
  | "unknown-layer"
  | "parse";

export interface Breach {
  readonly file: string;
  /** 1-based. */
  readonly line: number;
  readonly rule: LayerRule;
  readonly message: string;
}

/** The file that an import stands in. */
interface Importer {
  readonly path: string;
  readonly layer: Layer;
  readonly isTest: boolean;
}

type Finding = Pick<Breach, "rule" | "message">;

/** All breaches under `root`/src and `root`/web, in the order of the files. */
export function checkLayers(root: string): Breach[] {
  const ours = listFiles(root, "src").filter((path) => isSource(path) || isGenerated(path));
  const web = listFiles(root, "web").filter(isSource);
  return [
    ...ours.flatMap((path) => checkFile(root, readSourceFile(root, path))),
    ...web.flatMap((path) => checkWebFile(readSourceFile(root, path))),
  ];
}

function checkFile(root: string, file: SourceFile): Breach[] {
  const { path } = file;
  const layer = layerOf(path);
  if (layer === undefined) {
    const message = `${path} is in no layer of tools/layers.ts`;
    return [{ file: path, line: 1, rule: "unknown-layer", message }];
  }
  if (file.errors.length > 0) {
    return [{ file: path, line: 1, rule: "parse", message: `cannot parse: ${file.errors[0]}` }];
  }
  const importer = { path, layer, isTest: isTestCode(path) };
  const breaches: Breach[] = [];
  for (const { specifier, line } of moduleReferences(file)) {
    const finding = checkImport(root, importer, specifier);
    if (finding !== undefined) breaches.push({ file: path, line, ...finding });
  }
  for (const { name, line } of globalReferences(file)) {
    const finding = checkGlobal(importer, name);
    if (finding !== undefined) breaches.push({ file: path, line, ...finding });
  }
  return breaches;
}

function checkImport(root: string, importer: Importer, specifier: string | undefined): Finding | undefined {
  if (specifier === undefined) {
    return { rule: "path", message: "import() of a computed name: nobody can tell what it depends on" };
  }
  if (specifier.startsWith(".")) return checkRelative(root, importer, specifier);
  if (specifier.startsWith("/")) return { rule: "path", message: `import of the absolute path ${specifier}` };
  if (isRuntimeModule(specifier)) return checkRuntimeModule(importer, specifier);
  return checkPackage(importer, specifier);
}

function checkRelative(root: string, importer: Importer, specifier: string): Finding | undefined {
  const target = normalize(join(dirname(importer.path), specifier));
  if (!/\.(ts|json)$/.test(target)) {
    return { rule: "path", message: `import of ${specifier}: write the file's name with its ending .ts` };
  }
  if (!existsSync(join(root, target))) return { rule: "path", message: `import of ${target}: no such file` };
  if (!importer.isTest && isTestCode(target)) {
    return { rule: "test-code", message: `import of ${target}: only tests may import test code` };
  }
  if (!target.startsWith("src/")) return checkOutside(importer, target);
  return checkLayerImport(importer, target);
}

function checkOutside(importer: Importer, target: string): Finding | undefined {
  if (importer.isTest && TEST_FOLDERS.some((folder) => target.startsWith(`${folder}/`))) return undefined;
  // The version that `--version` prints.
  if (importer.layer.machine && target === "package.json") return undefined;
  return { rule: "path", message: `import of ${target}: it is outside of src/` };
}

function checkLayerImport(importer: Importer, target: string): Finding | undefined {
  const { layer } = importer;
  const other = layerOf(target);
  if (other === undefined)
    return { rule: "unknown-layer", message: `import of ${target}, which is in no layer` };
  if (other === layer) return undefined;
  if (importer.isTest && TEST_LAYERS.includes(other.name)) return undefined;
  const breach = (why: string): Finding => ({
    rule: "layer",
    message: `layer ${layer.name} may not import ${other.name} (${target}): ${why}`,
  });
  const exclusion = layer.not?.find((edge) => edge.name === other.name);
  if (exclusion !== undefined) return breach(exclusion.reason);
  if (layer.only !== undefined) {
    return layer.only.includes(other.name) ? undefined : breach(layer.onlyReason ?? "it is not on its list");
  }
  if (LAYERS.indexOf(other) < LAYERS.indexOf(layer)) return undefined;
  return breach(`${other.name} comes after ${layer.name}`);
}

function checkRuntimeModule(importer: Importer, module: string): Finding | undefined {
  if (importer.isTest) return undefined;
  const confined = CONFINED_MODULES.find((entry) => entry.module === module);
  if (confined !== undefined) {
    if (confined.folders.some((folder) => importer.path.startsWith(`${folder}/`))) return undefined;
    const places = confined.folders.join(", ");
    return { rule: "module", message: `${module} may be imported in ${places} only: ${confined.reason}` };
  }
  const isException = MODULE_EXCEPTIONS.some(
    (entry) => entry.module === module && importer.path.startsWith(`${entry.folder}/`),
  );
  if (isException) return undefined;
  if (!importer.layer.machine) {
    return {
      rule: "module",
      message: `layer ${importer.layer.name} may not import ${module}: it is handed an env`,
    };
  }
  if (/^bun(:|$)/.test(module) && importer.layer.name !== "platform") {
    return {
      rule: "module",
      message: `${module} may be imported in platform only: use node: modules elsewhere`,
    };
  }
  return undefined;
}

function checkPackage(importer: Importer, specifier: string): Finding | undefined {
  if (importer.isTest) return undefined;
  const parts = specifier.split("/");
  const name = parts.slice(0, specifier.startsWith("@") ? 2 : 1).join("/");
  const allowed = importer.layer.packages ?? [];
  if (allowed.some((edge) => edge.name === name)) return undefined;
  return { rule: "package", message: `layer ${importer.layer.name} may not import the npm package ${name}` };
}

function checkGlobal(importer: Importer, name: string): Finding | undefined {
  if (importer.isTest) return undefined;
  if (name === "Bun" && importer.layer.machine && importer.layer.name !== "platform") {
    return { rule: "global", message: "Bun may be used in platform only: use node: modules elsewhere" };
  }
  if (importer.layer.machine) return undefined;
  const why = FORBIDDEN_GLOBALS.get(name) ?? FORBIDDEN_MEMBERS.get(name);
  if (why === undefined) return undefined;
  return { rule: "global", message: `layer ${importer.layer.name} may not use ${name}: ${why}` };
}

function checkWebFile(file: SourceFile): Breach[] {
  const breaches: Breach[] = [];
  for (const { specifier, line } of moduleReferences(file)) {
    if (specifier === undefined || !specifier.startsWith(".")) continue;
    const target = normalize(join(dirname(file.path), specifier));
    if (target.startsWith("web/") || WEB_LAYERS.some((name) => target.startsWith(`src/${name}/`))) continue;
    const message = `web may not import ${target}: the page knows the contract only`;
    breaches.push({ file: file.path, line, rule: "layer", message });
  }
  return breaches;
}

function layerOf(path: string): Layer | undefined {
  const [, name, ...rest] = path.split("/");
  return rest.length === 0 ? undefined : LAYERS.find((layer) => layer.name === name);
}

/** A test, or a file in a `testing` folder: what only tests need. */
function isTestCode(path: string): boolean {
  return isTest(path) || path.includes("/testing/");
}

function isRuntimeModule(specifier: string): boolean {
  return /^(node:|bun:)/.test(specifier) || specifier === "bun" || isBuiltin(specifier);
}

if (import.meta.main) {
  const breaches = checkLayers(process.argv[2] ?? join(import.meta.dirname, ".."));
  for (const { file, line, rule, message } of breaches) console.log(`${file}:${line}: [${rule}] ${message}`);
  if (breaches.length > 0) console.log(`${breaches.length} breaches of the layers of tools/layers.ts`);
  process.exitCode = breaches.length > 0 ? 1 : 0;
}
