/**
 * DIR/run.json: what runs on the folder now. It outlives a supervisor that is killed, so that its servers
 * and proxies can still be found and stopped. Each process is noted with its start: a pid alone may be
 * somebody else's by now.
 */
import { rmSync } from "node:fs";
import type { ProcessIdentity } from "../machine.ts";
import { type ClusterFolder, readIfThere, writeFileAtomically } from "./cluster-folder.ts";

export type PartKind = "server" | "controller" | "proxy";

export interface PartRecord {
  readonly kind: PartKind;
  /** "g1-1", "c1", "p1". */
  readonly id: string;
  /** host:port. */
  readonly address: string;
  readonly process: ProcessIdentity;
}

export interface RunRecord {
  readonly supervisor: ProcessIdentity;
  readonly state: "starting" | "serving" | "stopping";
  /** The controller's URL. */
  readonly control: string;
  readonly parts: readonly PartRecord[];
}

/** Null when nothing was started here, or all of it was stopped in order. */
export async function readRunRecord(folder: ClusterFolder): Promise<RunRecord | null> {
  const text = await readIfThere(folder.runFile);
  if (text === null) return null;
  try {
    const value = JSON.parse(text) as RunRecord;
    return Array.isArray(value.parts) && typeof value.supervisor?.pid === "number" ? value : null;
  } catch {
    return null;
  }
}

export function writeRunRecord(folder: ClusterFolder, record: RunRecord): Promise<void> {
  return writeFileAtomically(folder.runFile, `${JSON.stringify(record, null, 2)}\n`);
}

export function removeRunRecord(folder: ClusterFolder): void {
  rmSync(folder.runFile, { force: true });
}
