import { basename, dirname } from "node:path";
import { isSource } from "../source/list-files.ts";
import type { Untidiness } from "./limits.ts";

const KEBAB = /^[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9]+(-[a-z0-9]+)*)*$/;
/** A folder is a stage of the data's way or a family of the same kind; these names say neither. */
const VAGUE_FOLDERS = ["utils", "util", "common", "helpers", "helper", "misc", "shared", "lib"];
/** Names that other programs look for. */
const FIXED_NAMES = ["README.md", "Dockerfile", "LICENSE", "NOTICE"];

/**
 * File and folder names, and a README in every folder of src/. `paths` are all files of the checked folders.
 */
export function checkNames(paths: readonly string[]): Untidiness[] {
  const folders = [...new Set(paths.flatMap(foldersOf))].sort();
  return [
    ...paths.flatMap(checkFileName),
    ...folders.flatMap(checkFolderName),
    ...folders.flatMap((folder) => checkReadme(folder, paths)),
  ];
}

/** `src/a/b/c.ts` lies in `src`, `src/a` and `src/a/b`. */
function foldersOf(path: string): string[] {
  const parts = path.split("/");
  return parts.slice(1).map((_, index) => parts.slice(0, index + 1).join("/"));
}

function checkFileName(path: string): Untidiness[] {
  const name = basename(path);
  if (KEBAB.test(name) || FIXED_NAMES.includes(name)) return [];
  return [{ file: path, line: 1, rule: "file-name", message: `${name} is not in kebab-case` }];
}

function checkFolderName(folder: string): Untidiness[] {
  const name = basename(folder);
  if (VAGUE_FOLDERS.includes(name)) {
    const message = `a folder named ${name} says nothing: name it after what its files have in common`;
    return [{ file: folder, line: 1, rule: "folder-name", message }];
  }
  if (KEBAB.test(name)) return [];
  return [{ file: folder, line: 1, rule: "folder-name", message: `${name} is not in kebab-case` }];
}

function checkReadme(folder: string, paths: readonly string[]): Untidiness[] {
  if (!folder.startsWith("src/") || basename(folder) === "testing") return [];
  const own = paths.filter((path) => dirname(path) === folder);
  if (!own.some(isSource) || own.includes(`${folder}/README.md`)) return [];
  const message = "no README.md: say what it is, what comes in, what goes out, what it may import";
  return [{ file: folder, line: 1, rule: "readme", message }];
}
