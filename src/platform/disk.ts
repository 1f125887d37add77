/**
 * Files, whole. A file that is replaced is written beside its place, synced, renamed, and the folder
 * synced: after a crash there is the old text or the new one, never half of either.
 */
import { mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { ShoalError, errorTextOf } from "../base/shoal-error.ts";
import type { Disk } from "../env/disk.ts";

/** Makes names of files that are being written differ within the process. */
let writes = 0;

export const systemDisk: Disk = {
  async readText(path: string): Promise<string | null> {
    try {
      return await readFile(path, "utf8");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
      throw new ShoalError("DISK", `Cannot read ${path}: ${errorTextOf(error)}`, error);
    }
  },

  async writeTextAtomically(path: string, text: string): Promise<void> {
    const folder = dirname(path);
    const beside = `${path}.${process.pid}.${++writes}.tmp`;
    try {
      await mkdir(folder, { recursive: true });
      await writeSynced(beside, text);
      await rename(beside, path);
      await syncFolder(folder);
    } catch (error) {
      await rm(beside, { force: true }).catch(() => {});
      throw new ShoalError("DISK", `Cannot write ${path}: ${errorTextOf(error)}`, error);
    }
  },
};

async function writeSynced(path: string, text: string): Promise<void> {
  // Not readable for others: configuration and maps may hold passwords.
  const file = await open(path, "w", 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

/**
 * Makes a rename last. Some file systems refuse to open or sync a folder; the rename itself stands all the
 * same.
 */
async function syncFolder(folder: string): Promise<void> {
  try {
    const handle = await open(folder, "r");
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch {
    // Nothing is lost but the order of what a power cut leaves behind.
  }
}
