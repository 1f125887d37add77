/**
 * The folder of a cluster that `shoal up` made.
 *
 *   DIR/shoal.json            what was created: groups, ports, options; its format version
 *   DIR/lock                  who uses the folder now
 *   DIR/run.json              what runs now (run-record.ts)
 *   DIR/up.log                what `shoal up --detach` has to say
 *   DIR/servers/g1-1/         redis.conf, redis.log and the data of one server
 *   DIR/controller/           controller.toml, controller.log, shoal.db
 *   DIR/proxies/p1/           proxy.toml, proxy.log, the last map
 *   DIR/requests/             what commands ask of the running `up` (request-box.ts)
 */
import { mkdir, readFile, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { ShoalError, errorTextOf } from "../../base/shoal-error.ts";
import { HintedError } from "../hinted-error.ts";

/** Grows when an older version could not read the folder any more. */
export const FOLDER_FORMAT = 1;

export interface ServerRecord {
  /**
   * "g1-1": the first server of group g1. Which one is the primary is the controller's business, not the
   * name's.
   */
  readonly id: string;
  readonly port: number;
}

export interface GroupRecord {
  readonly id: string;
  readonly servers: readonly ServerRecord[];
}

/** What may differ from one `up` to the next. */
export interface FreeOptions {
  readonly proxies: number;
  readonly workers: number;
  /** Of the first proxy; the others follow. */
  readonly port: number;
  readonly controlPort: number;
  /** Where the controller answers Sentinel clients; 0, or absent in older folders: nowhere. */
  readonly sentinelPort?: number;
  readonly io: string;
}

export interface ClusterRecord extends FreeOptions {
  readonly format: number;
  /** The program's version that created the folder. */
  readonly createdBy: string;
  readonly cluster: string;
  /** Whether clients could ever write to it. Until then there is nothing to lose, and `up` may begin anew. */
  readonly served: boolean;
  readonly slots: number;
  readonly groups: readonly GroupRecord[];
  /** What it was made with, once groups or servers have come or gone since. */
  readonly made?: { readonly groups: number; readonly replicas: number; readonly serverPort: number };
}

/** Names that may lie in a folder before it is a cluster's. */
const OUR_EARLY_NAMES = /^(lock|run\.json|up\.log|shoal\.json)(\..*)?$/;

export class ClusterFolder {
  /** Absolute. */
  readonly path: string;
  /** As it was typed, for messages. */
  readonly shown: string;

  constructor(path: string) {
    this.path = resolve(path);
    this.shown = path;
  }

  get lockFile(): string {
    return join(this.path, "lock");
  }

  get runFile(): string {
    return join(this.path, "run.json");
  }

  get upLog(): string {
    return join(this.path, "up.log");
  }

  get controllerFolder(): string {
    return join(this.path, "controller");
  }

  serverFolder(id: string): string {
    return join(this.path, "servers", id);
  }

  proxyFolder(id: string): string {
    return join(this.path, "proxies", id);
  }

  /** @throws ShoalError DISK */
  async create(): Promise<void> {
    await this.#try("create", () => mkdir(this.path, { recursive: true, mode: 0o700 }));
  }

  /**
   * What was created here, or null when nothing was.
   * @throws ShoalError CONFLICT when the folder is not one that this version can use
   */
  async readRecord(): Promise<ClusterRecord | null> {
    const text = await readIfThere(join(this.path, "shoal.json"));
    if (text === null) {
      await this.#checkNotForeign();
      return null;
    }
    const record = parseRecord(text);
    if (record === null) {
      throw new HintedError(
        "CONFLICT",
        `Cannot use ${this.shown}: its shoal.json is damaged`,
        "Restore it from a backup, or use another folder with --dir.",
      );
    }
    if (record.format !== FOLDER_FORMAT) {
      const maker = record.createdBy === undefined ? "" : ` by shoal ${record.createdBy}`;
      throw new HintedError(
        "CONFLICT",
        `Cannot use ${this.shown}: made${maker} in format ${record.format}, this one reads ${FOLDER_FORMAT}`,
        "Use the version of shoal that made it, or another folder with --dir.",
      );
    }
    return record as ClusterRecord;
  }

  /** @throws ShoalError DISK */
  async writeRecord(record: ClusterRecord): Promise<void> {
    await writeFileAtomically(join(this.path, "shoal.json"), `${JSON.stringify(record, null, 2)}\n`);
  }

  /** Removes what an `up` left behind that never came to serve. @throws ShoalError DISK */
  async removeParts(): Promise<void> {
    for (const name of ["servers", "controller", "proxies"]) {
      await this.#try("clear", () => rm(join(this.path, name), { recursive: true, force: true }));
    }
  }

  /** A folder with other things in it, a home folder say, is not ours to fill. */
  async #checkNotForeign(): Promise<void> {
    const names = await readdir(this.path).catch(() => [] as string[]);
    const foreign = names.find((name) => !OUR_EARLY_NAMES.test(name));
    if (foreign === undefined) return;
    throw new HintedError(
      "CONFLICT",
      `Cannot use ${this.shown}: it holds ${foreign} but no shoal.json, so it is not a cluster's folder`,
      "Name an empty folder or a new one with --dir.",
    );
  }

  async #try(action: string, run: () => Promise<unknown>): Promise<void> {
    try {
      await run();
    } catch (error) {
      throw new ShoalError("DISK", `Cannot ${action} ${this.shown}: ${errorTextOf(error)}`, error);
    }
  }
}

/** Null when there is no such file. @throws ShoalError DISK */
export async function readIfThere(path: string): Promise<string | null> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "ENOTDIR") return null;
    throw new ShoalError("DISK", `Cannot read ${path}: ${errorTextOf(error)}`, error);
  }
}

/** Whoever reads the file sees the old text or the new one. @throws ShoalError DISK */
export async function writeFileAtomically(path: string, text: string): Promise<void> {
  const beside = `${path}.${process.pid}.tmp`;
  try {
    await writeFile(beside, text, { mode: 0o600 });
    await rename(beside, path);
  } catch (error) {
    throw new ShoalError("DISK", `Cannot write ${path}: ${errorTextOf(error)}`, error);
  }
}

/** The last lines of a log, for an error that quotes them; empty when there is none. */
export async function lastLines(path: string, count: number): Promise<string[]> {
  const text = (await readIfThere(path).catch(() => null)) ?? "";
  return text
    .trimEnd()
    .split("\n")
    .slice(-count)
    .filter((line) => line !== "");
}

/** Checks no more than what tells a record of any version from rubbish; the format says the rest. */
function parseRecord(text: string): Partial<ClusterRecord> | null {
  try {
    const value = JSON.parse(text) as Partial<ClusterRecord> | null;
    if (typeof value?.format !== "number") return null;
    return value.format !== FOLDER_FORMAT || Array.isArray(value.groups) ? value : null;
  } catch {
    return null;
  }
}
