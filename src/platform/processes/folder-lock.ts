/**
 * One process per folder. The lock is a file that names its holder, pid and start; it appears with its
 * content at once (written aside, then linked), so nobody ever reads half of it. A lock whose holder is
 * gone is nobody's: it is moved aside and taken, which no person has to do by hand.
 */
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { ShoalError, errorTextOf } from "../../base/shoal-error.ts";
import { type ProcessIdentity, identifyProcess, isRunning } from "./process-identity.ts";

export interface FolderLock {
  release(): void;
}

/**
 * Attempts before giving up: each failed one means that another process took or left the lock in that very
 * moment.
 */
const ATTEMPTS_MAX = 20;

/**
 * Takes the lock file at `path`; the folder must exist.
 * @throws ShoalError CONFLICT naming the holder, DISK
 */
export function lockFolder(path: string): FolderLock {
  const self = identifyProcess(process.pid) as ProcessIdentity;
  const aside = `${path}.${self.pid}`;
  try {
    writeFileSync(aside, JSON.stringify(self));
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      if (tryLink(aside, path)) return { release: () => releaseLock(path, self) };
      const holder = lockHolder(path);
      if (holder !== null) {
        throw new ShoalError("CONFLICT", `Cannot lock ${path}: process ${holder.pid} has it`);
      }
      removeStale(path, aside);
    }
  } catch (error) {
    if (error instanceof ShoalError) throw error;
    throw new ShoalError("DISK", `Cannot lock ${path}: ${errorTextOf(error)}`, error);
  } finally {
    rmSync(aside, { force: true });
  }
  throw new ShoalError("CONFLICT", `Cannot lock ${path}: other processes keep taking it`);
}

/** The living process that has the lock, or null. */
export function lockHolder(path: string): ProcessIdentity | null {
  const holder = readLock(path);
  return holder !== null && isRunning(holder) ? holder : null;
}

function tryLink(aside: string, path: string): boolean {
  try {
    linkSync(aside, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

/**
 * Moves a dead holder's lock away. Two processes may do so at the same time, and the slower one may catch
 * the lock that the faster one has just taken; it sees that by the content and puts it back.
 */
function removeStale(path: string, aside: string): void {
  const moved = `${aside}.stale`;
  try {
    renameSync(path, moved);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw error;
  }
  if (lockHolder(moved) !== null) tryLink(moved, path);
  rmSync(moved, { force: true });
}

function releaseLock(path: string, self: ProcessIdentity): void {
  if (readLock(path)?.startedAt === self.startedAt) rmSync(path, { force: true });
}

function readLock(path: string): ProcessIdentity | null {
  try {
    const value = JSON.parse(readFileSync(path, "utf8")) as ProcessIdentity;
    return typeof value?.pid === "number" && typeof value.startedAt === "string" ? value : null;
  } catch {
    return null;
  }
}
