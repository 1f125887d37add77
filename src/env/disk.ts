/** The few things that Shoal asks of a disk. Paths are absolute or relative to the process's folder. */
export interface Disk {
  /** The file's text (UTF-8), or null when there is no such file. @throws ShoalError DISK */
  readText(path: string): Promise<string | null>;
  /** Replaces the file whole: written beside it, synced, renamed. @throws ShoalError DISK */
  writeTextAtomically(path: string, text: string): Promise<void>;
}
