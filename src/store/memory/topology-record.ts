/** The topology in memory. */
import { type ClusterTopology, parseStoredTopology } from "../../topology/cluster-topology.ts";
import { checkTerm, checkVersion } from "../lease-decision.ts";
import type { MemoryDatabase } from "./database.ts";

export function readTopology(database: MemoryDatabase): ClusterTopology | null {
  return database.topologyText === null ? null : parseStoredTopology(database.topologyText);
}

export function writeTopology(database: MemoryDatabase, term: number, topology: ClusterTopology): void {
  checkTerm(`write topology version ${topology.version}`, term, database.lease);
  checkVersion(topology, database.topologyVersion);
  database.topologyText = JSON.stringify(topology);
  database.topologyVersion = topology.version;
  for (const notify of database.watchers) queueMicrotask(notify);
}
