/** Who is to be hit: names from the command line → processes of the folder's run record. */
import { ShoalError } from "../../base/shoal-error.ts";
import type { ClusterStatus } from "../../contract/schemas.ts";
import type { PartRecord, RunRecord } from "../folder/run-record.ts";

/** What a drill may do. */
export const DRILLS = {
  "kill-primary": { argument: "GROUP", doc: "SIGKILL to the group's primary" },
  "freeze-primary": {
    argument: "GROUP",
    doc: "SIGSTOP to it, SIGCONT after half of the time: it accepts and does not answer",
  },
  "cut-off": {
    argument: "GROUP",
    doc: "drops its packets, both ways, with nft or iptables (root), as long",
  },
  "kill-proxy": { argument: "PROXY", doc: "SIGKILL to a proxy's master and its workers" },
  "kill-controller": { argument: "CONTROLLER", doc: "SIGKILL to a controller" },
} as const;

export type DrillName = keyof typeof DRILLS;

export interface Victim {
  readonly drill: DrillName;
  /** "primary 127.0.0.1:16400 of g1", for messages. */
  readonly what: string;
  readonly part: PartRecord;
  /** The group whose keys are watched most closely; null: all alike. */
  readonly group: string | null;
}

/** @throws ShoalError INVALID_ARGUMENT */
export function drillNamed(name: string | undefined): DrillName {
  if (name !== undefined && name in DRILLS) return name as DrillName;
  const known = Object.keys(DRILLS).join(", ");
  throw new ShoalError("INVALID_ARGUMENT", `Cannot drill ${name ?? "nothing"}: want one of ${known}`);
}

/** @throws ShoalError INVALID_ARGUMENT, NOT_FOUND when the folder runs no such process */
export function findVictim(
  drill: DrillName,
  name: string | undefined,
  record: RunRecord,
  status: ClusterStatus,
): Victim {
  if (name === undefined) {
    throw new ShoalError("INVALID_ARGUMENT", `Cannot drill ${drill}: name its ${DRILLS[drill].argument}`);
  }
  if (drill === "kill-proxy" || drill === "kill-controller") {
    const kind = drill === "kill-proxy" ? "proxy" : "controller";
    const part = record.parts.find((one) => one.kind === kind && one.id === name);
    if (part === undefined) throw notFound(drill, `${kind} ${name}`, record, kind);
    return { drill, what: `${kind} ${name} at ${part.address}`, part, group: null };
  }
  const group = status.groups.find((one) => one.id === name);
  if (group === undefined) {
    const known = status.groups.map((one) => one.id).join(", ");
    throw new ShoalError("NOT_FOUND", `Cannot drill ${drill}: no group ${name}, there are ${known}`);
  }
  const address = group.primary.addr;
  const part = record.parts.find((one) => one.kind === "server" && one.address === address);
  if (part === undefined) throw notFound(drill, `the server ${address}`, record, "server");
  return { drill, what: `primary ${address} of ${name}`, part, group: name };
}

function notFound(drill: DrillName, what: string, record: RunRecord, kind: string): ShoalError {
  const there = record.parts.filter((one) => one.kind === kind).map((one) => `${one.id} at ${one.address}`);
  return new ShoalError(
    "NOT_FOUND",
    `Cannot drill ${drill}: this folder does not run ${what}; it runs ${there.join(", ") || "none"}`,
  );
}
