/**
 * The SQLite file: opened, checked, and every error of it in words.
 *
 * WAL with synchronous=FULL: a transaction that has returned is on the disk, and a kill -9 at any moment
 * leaves the file as it was before or after it. The calls are synchronous, as SQLite is: a write is one fsync
 * of a small file, a few times in the life of a cluster and a few times a second for the lease, in a process
 * that carries no client's traffic. Rejected: a writing thread (buys milliseconds that nobody waits for).
 */
import { Database, SQLiteError } from "bun:sqlite";
import { ShoalError, errorTextOf } from "../../base/shoal-error.ts";

/** "Shoa" in ASCII: tells our file from any other SQLite file. */
const APPLICATION_ID = 0x53686f61;

/** Grows with every change of the tables. There is no older one to read yet. */
export const SCHEMA_VERSION = 1;

/** The file's size limit: the largest topology is a megabyte, and what is larger is a fault. */
export const STORE_BYTES_MAX = 64 << 20;

const PAGE_BYTES = 4096;

/** How long another process's transaction may hold the file before we give up. */
const BUSY_TIMEOUT_MS = 2000;

const TABLES = `
  CREATE TABLE leadership (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    id TEXT NOT NULL, incarnation TEXT NOT NULL, addr TEXT NOT NULL,
    term INTEGER NOT NULL, deadline_ms INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE topology (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    version INTEGER NOT NULL, term INTEGER NOT NULL, body TEXT NOT NULL
  ) STRICT;
  CREATE TABLE members (
    id TEXT PRIMARY KEY, addr TEXT NOT NULL, pid INTEGER NOT NULL, deadline_ms INTEGER NOT NULL
  ) STRICT;
`;

export class SqliteDatabase {
  readonly path: string;
  readonly #database: Database;

  /**
   * Opens the file, or makes it. `bytesMax` is for tests; see {@link STORE_BYTES_MAX}.
   * @throws ShoalError STORE
   */
  constructor(path: string, bytesMax = STORE_BYTES_MAX) {
    this.path = path;
    this.#database = this.#run("open", () => new Database(path, { create: true, strict: true }));
    try {
      this.#run("open", () => {
        this.#database.run(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
        this.#checkIdentity();
        this.#database.run("PRAGMA journal_mode = WAL");
        this.#database.run("PRAGMA synchronous = FULL");
        this.#database.run(`PRAGMA max_page_count = ${Math.floor(bytesMax / PAGE_BYTES)}`);
      });
      this.transaction("create the tables of", () => this.#createTables());
    } catch (error) {
      this.#database.close();
      throw error;
    }
  }

  /** Runs `work` as one transaction that has the file to itself from its beginning. */
  transaction<Result>(action: string, work: () => Result): Result {
    return this.#run(action, () => this.#database.transaction(work).immediate());
  }

  read<Row>(sql: string, ...values: Array<string | number>): Row | null {
    return this.#run("read", () => this.#database.query<Row, Array<string | number>>(sql).get(...values));
  }

  readAll<Row>(sql: string, ...values: Array<string | number>): Row[] {
    return this.#run("read", () => this.#database.query<Row, Array<string | number>>(sql).all(...values));
  }

  write(sql: string, ...values: Array<string | number>): void {
    this.#run("write to", () => this.#database.query(sql).run(...values));
  }

  close(): void {
    this.#database.close();
  }

  #checkIdentity(): void {
    const applicationId = this.#pragma("application_id");
    const version = this.#pragma("user_version");
    const tables =
      this.#database.query<{ n: number }, []>("SELECT count(*) AS n FROM sqlite_schema").get()?.n ?? 0;
    if (tables === 0 && applicationId === 0) return;
    if (applicationId !== APPLICATION_ID) {
      throw new ShoalError("STORE", `Cannot open store ${this.path}: it is another program's SQLite file`);
    }
    if (version === SCHEMA_VERSION) return;
    const whose = version > SCHEMA_VERSION ? "a newer Shoal" : "an older Shoal";
    const message = `it was written by ${whose} (schema version ${version}, this one has ${SCHEMA_VERSION})`;
    throw new ShoalError("STORE", `Cannot open store ${this.path}: ${message}`);
  }

  /** Within a transaction, so that a kill leaves all of it or nothing, and two processes make it once. */
  #createTables(): void {
    if (this.#pragma("application_id") === APPLICATION_ID) return;
    this.#database.run(TABLES);
    this.#database.run(`PRAGMA application_id = ${APPLICATION_ID}`);
    this.#database.run(`PRAGMA user_version = ${SCHEMA_VERSION}`);
  }

  #pragma(name: "application_id" | "user_version"): number {
    const row = this.#database.query<Record<string, number>, []>(`PRAGMA ${name}`).get();
    return row?.[name] ?? 0;
  }

  #run<Result>(action: string, work: () => Result): Result {
    try {
      return work();
    } catch (error) {
      if (error instanceof ShoalError) throw error;
      throw new ShoalError("STORE", `Cannot ${action} store ${this.path}: ${explain(error)}`, error);
    }
  }
}

/** SQLite's codes in words that say what to do. */
function explain(error: unknown): string {
  const code = error instanceof SQLiteError ? (error.code ?? "") : "";
  if (code === "SQLITE_FULL") return "the disk is full, or the file has reached its size limit";
  if (code.startsWith("SQLITE_IOERR")) return `the disk failed (${code})`;
  if (code.startsWith("SQLITE_NOTADB")) return "the file is not a SQLite database";
  if (code.startsWith("SQLITE_CORRUPT")) return "the file is damaged";
  if (code.startsWith("SQLITE_CANTOPEN"))
    return "the file cannot be opened; does its folder exist, and is it ours?";
  if (code.startsWith("SQLITE_READONLY")) return "the file or its folder is read-only";
  if (code.startsWith("SQLITE_BUSY")) return `another process has held it for over ${BUSY_TIMEOUT_MS} ms`;
  return errorTextOf(error);
}
