/** The topology in SQLite: one row. The term is checked in the transaction that writes. */
import { type ClusterTopology, parseStoredTopology } from "../../topology/cluster-topology.ts";
import { checkTerm, checkVersion } from "../lease-decision.ts";
import type { SqliteDatabase } from "./database.ts";
import { readLease } from "./leadership.ts";

export function readTopology(database: SqliteDatabase): ClusterTopology | null {
  const row = database.read<{ body: string }>("SELECT body FROM topology");
  return row === null ? null : parseStoredTopology(row.body);
}

export function readVersion(database: SqliteDatabase): number {
  return database.read<{ version: number }>("SELECT version FROM topology")?.version ?? 0;
}

export function writeTopology(database: SqliteDatabase, term: number, topology: ClusterTopology): void {
  const action = `write topology version ${topology.version}`;
  database.transaction(`${action} to`, () => {
    checkTerm(action, term, readLease(database));
    checkVersion(topology, readVersion(database));
    database.write(
      "INSERT OR REPLACE INTO topology (only, version, term, body) VALUES (1, ?, ?, ?)",
      topology.version,
      term,
      JSON.stringify(topology),
    );
  });
}
