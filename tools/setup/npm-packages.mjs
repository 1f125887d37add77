// The npm packages, exactly as package-lock.json names them.

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT, SetupError, onPath, progress } from "./machine.mjs";

const LOCK_FILE = join(ROOT, "package-lock.json");
const MODULES = join(ROOT, "node_modules");
const STAMP = join(MODULES, ".shoal-setup");
/** What npm itself writes down of what it has installed. */
const INSTALLED = join(MODULES, ".package-lock.json");

const OUTPUT_LINES_MAX = 20;

/** Whether node_modules holds what the lock file asks for. Fast: one hash when a stamp is there. */
export function npmPackagesFit() {
  if (!existsSync(INSTALLED)) return false;
  const stamp = wantedStamp();
  if (existsSync(STAMP) && readFileSync(STAMP, "utf8") === stamp) return true;
  // Someone ran npm by hand: what counts is what is there, so look before throwing it away.
  if (!installedMatchesLock()) return false;
  writeFileSync(STAMP, stamp);
  return true;
}

/** Installs them from scratch. No package's install script runs: none is needed. @throws SetupError */
export function installNpmPackages() {
  progress("installing the npm packages of package-lock.json (npm ci)");
  const flags = ["--ignore-scripts", "--include=dev", "--include=optional", "--no-audit", "--no-fund"];
  // One package says it wants a newer Node than ours; it runs under Bun, so that is no reason to refuse or
  // to warn.
  const result = runNpm(["ci", ...flags, "--engine-strict=false", "--loglevel=error"]);
  if (result.status !== 0) {
    // npm prints the cause first and its manual after it.
    const lines = `${result.stdout ?? ""}${result.stderr ?? ""}`.split("\n");
    console.error(lines.slice(0, OUTPUT_LINES_MAX).join("\n"));
    throw new SetupError("cannot install the npm packages: npm ci failed, its output is above");
  }
  writeFileSync(STAMP, wantedStamp());
}

function runNpm(args) {
  const options = { cwd: ROOT, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] };
  // Started by npm, use that very npm; it need not be the one on the PATH.
  const cli = process.env.npm_execpath ?? "";
  if (/npm-cli\.c?js$/.test(cli) && existsSync(cli))
    return spawnSync(process.execPath, [cli, ...args], options);
  if (!onPath("npm")) throw new SetupError("cannot install the npm packages: npm is not on the PATH");
  return spawnSync("npm", args, options);
}

/** Changes with the lock file and with the kind of machine, because binaries are among the packages. */
function wantedStamp() {
  const hash = createHash("sha256").update(readFileSync(LOCK_FILE)).digest("hex");
  return `${process.platform}-${process.arch} ${hash}\n`;
}

function installedMatchesLock() {
  const wanted = packagesIn(LOCK_FILE);
  const installed = packagesIn(INSTALLED);
  const differs = ([path, entry]) => wanted[path]?.version !== entry.version;
  if (Object.entries(installed).some(differs)) return false;
  const missing = ([path, entry]) => path !== "" && entry.optional !== true && !(path in installed);
  return !Object.entries(wanted).some(missing);
}

function packagesIn(file) {
  try {
    return JSON.parse(readFileSync(file, "utf8")).packages ?? {};
  } catch (error) {
    throw new SetupError(`cannot read ${file}: ${error.message}`);
  }
}
