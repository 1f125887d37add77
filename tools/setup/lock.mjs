// One set-up at a time in one checkout: `npm start` in one terminal and `npm test` in another must not both
// run
// `npm ci` over the same folder.
//
// The lock is a folder, because mkdir is atomic everywhere, with the owner's pid in it: a lock whose owner
// is gone is taken over, so a set-up that was killed leaves nothing for a person to clean up.

import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT, SetupError, progress } from "./machine.mjs";

const LOCK = join(ROOT, ".cache", "setup.lock");
const OWNER = join(LOCK, "pid");
const WAIT_MS_MAX = 10 * 60 * 1000;
const RETRY_MS = 200;
// Between mkdir and the write of the pid a lock has no owner; only an older one without an owner is stale.
const OWNERLESS_MS_MAX = 5000;

/**
 * Runs `action` while this process alone holds the lock. @throws SetupError when it is not free in ten
 * minutes.
 */
export function withLock(action) {
  acquire();
  process.on("exit", release);
  try {
    action();
  } finally {
    release();
    process.off("exit", release);
  }
}

function acquire() {
  mkdirSync(join(ROOT, ".cache"), { recursive: true });
  const deadline = Date.now() + WAIT_MS_MAX;
  for (let tries = 0; !tryAcquire(); tries++) {
    if (tries === 0) progress("waiting for another set-up of this checkout");
    if (Date.now() > deadline) {
      throw new SetupError(`cannot get the lock ${LOCK}: process ${ownerPid()} has held it for 10 minutes`);
    }
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, RETRY_MS);
  }
}

function tryAcquire() {
  if (makeLock()) return true;
  if (isStale()) rmSync(LOCK, { recursive: true, force: true });
  return false;
}

function makeLock() {
  try {
    mkdirSync(LOCK);
  } catch (error) {
    if (error.code === "EEXIST") return false;
    throw new SetupError(`cannot make the lock ${LOCK}: ${error.message}`);
  }
  writeFileSync(OWNER, String(process.pid));
  return true;
}

function isStale() {
  const pid = ownerPid();
  if (pid > 0) return !isAlive(pid);
  try {
    return Date.now() - statSync(LOCK).mtimeMs > OWNERLESS_MS_MAX;
  } catch {
    return false;
  }
}

/** The pid that holds the lock, 0 when it cannot be read. */
function ownerPid() {
  try {
    return Number(readFileSync(OWNER, "utf8")) || 0;
  } catch {
    return 0;
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}

function release() {
  if (ownerPid() === process.pid) rmSync(LOCK, { recursive: true, force: true });
}
