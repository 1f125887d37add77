// What set-up needs to know of the machine it runs on.

import { accessSync, constants } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The checkout's top folder. */
export const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** A reason to stop that a person can act on: printed as one line, without a stack. */
export class SetupError extends Error {}

// Some shells of ordinary users leave the sbin folders out, and some service managers leave everything out.
const ALWAYS_SEARCHED = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin"];

/** Whether a program of this name can be run. */
export function onPath(name) {
  const folders = [...(process.env.PATH ?? "").split(delimiter), ...ALWAYS_SEARCHED];
  return folders.some((folder) => folder !== "" && isExecutable(join(folder, name)));
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Says what is being done: one line for each step. */
export function progress(text) {
  console.error(`setup: ${text}`);
}
