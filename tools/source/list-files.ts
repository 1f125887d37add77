import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";

/** Folders that are never looked into: what is installed, what is cached, and what is wrong on purpose. */
const SKIPPED = ["node_modules", "fixtures", "coverage", "dist"];

/** All files under `root`/`folder`, as sorted paths relative to `root`; none when there is no such folder. */
export function listFiles(root: string, folder: string): string[] {
  if (!existsSync(join(root, folder))) return [];
  const files: string[] = [];
  for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
    const path = `${folder}/${entry.name}`;
    if (entry.isFile()) files.push(path);
    const skipped = entry.name.startsWith(".") || SKIPPED.includes(entry.name);
    if (entry.isDirectory() && !skipped) files.push(...listFiles(root, path));
  }
  return files.sort();
}

/** Whether a file is TypeScript or JavaScript that people write. */
export function isSource(path: string): boolean {
  return /\.(ts|mts|js|mjs)$/.test(path) && !path.endsWith(".d.ts") && !isGenerated(path);
}

export function isGenerated(path: string): boolean {
  return /\.generated\.[a-z]+$/.test(path);
}

export function isTest(path: string): boolean {
  return path.endsWith(".test.ts");
}
