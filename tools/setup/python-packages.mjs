// The one Python package that no Debian has in the version that a test wants: redis-py with a cache of its
// own (5.1 and later). Into a folder beside the npm packages, so that the machine's Python stays as it is.

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { ROOT, onPath, progress } from "./machine.mjs";

const FOLDER = join(ROOT, "node_modules/.python");
const TIMEOUT_MS = 60_000;

/** Whether there is nothing to do. */
export function pythonPackagesFit() {
  return existsSync(join(FOLDER, "redis")) || !onPath("python3");
}

/** Tries once and goes on without: a machine without pip, or without a way to its index, is no failure. */
export function installPythonPackages() {
  progress("fetching redis-py for the test of its cache (pip)");
  const quiet = ["--quiet", "--disable-pip-version-check", "--retries", "0", "--timeout", "10"];
  const args = ["-m", "pip", "install", ...quiet, "--no-deps", "--target", FOLDER, "redis>=5.1"];
  const { status } = spawnSync("python3", args, { stdio: "ignore", timeout: TIMEOUT_MS });
  if (status !== 0) progress("redis-py 5.1 or later could not be fetched (going on without)");
}
