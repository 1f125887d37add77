/** What `shoal up` says when everything serves. */
import type { ClusterFolder, ClusterRecord } from "../folder/cluster-folder.ts";
import type { PartRecord } from "../folder/run-record.ts";
import { formatTable } from "../print-table.ts";
import { DEFAULT_DIR } from "../command.ts";

export interface UpSummary {
  readonly cluster: string;
  readonly dir: string;
  /** The folder as it was typed. */
  readonly shownDir: string;
  readonly control: string;
  /** Port of the first proxy. */
  readonly port: number;
  readonly parts: ReadonlyArray<{ kind: string; id: string; addr: string; pid: number }>;
}

export function summarize(
  folder: ClusterFolder,
  record: ClusterRecord,
  parts: readonly PartRecord[],
): UpSummary {
  const order = ["proxy", "controller", "server"];
  const sorted = parts.toSorted((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind));
  return {
    cluster: record.cluster,
    dir: folder.path,
    shownDir: folder.shown,
    control: `http://127.0.0.1:${record.controlPort}`,
    port: record.port,
    parts: sorted.map(({ kind, id, address, process }) => ({ kind, id, addr: address, pid: process.pid })),
  };
}

export function formatSummary(summary: UpSummary): string {
  const rows = summary.parts.map((part) => [`${part.kind} ${part.id}`, part.addr, String(part.pid)]);
  const table = formatTable([["WHAT", "ADDRESS", "PID"], ...rows]);
  const dir = summary.shownDir === DEFAULT_DIR ? "" : ` --dir ${summary.shownDir}`;
  const next = `  redis-cli -p ${summary.port}\n  shoal status${dir}`;
  return `${table}\n\nIt serves. In another terminal:\n${next}\n`;
}
