/**
 * Changes of who is a group's primary; see controller/failover.
 *
 *   (quiet) ──switch-begun──▶ switch {to} ──promoted──▶ (quiet), another primary, another history
 *                               │  a switchover is `held` as long
 *                               └──switch-ended──▶ (quiet), nothing changed
 *
 * What a server has been in sync with is kept per server (`syncedTo`) and compared with the group's present
 * history, instead of being reset everywhere at a switch: a server that is away cannot be forgotten.
 */
import { ShoalError } from "../base/shoal-error.ts";
import {
  type ClusterTopology,
  type GroupHistory,
  type GroupSwitch,
  type SwitchRecord,
  type TopologyChange,
  type TopologyGroup,
  type TopologyServer,
} from "./cluster-topology.ts";

/** Finished switches that are kept. */
export const SWITCHES_KEPT = 50;

export type SwitchEvent =
  /** Proxies hold the group's requests, or do so no more. */
  | { readonly type: "group-held"; readonly group: string; readonly held: boolean }
  /** A switch is decided; again with another `to` (or process there) when that one has become of no use. */
  | { readonly type: "switch-begun"; readonly group: string; readonly plan: GroupSwitch }
  /** It is given up: the primary stays. */
  | { readonly type: "switch-ended"; readonly group: string }
  /**
   * `primary`, a replica so far, takes over; the one before stays as a replica. `inSync` are the replicas
   * that had everything that it had.
   */
  | {
      readonly type: "promoted";
      readonly group: string;
      readonly primary: string;
      readonly history?: GroupHistory;
      readonly inSync?: readonly string[];
      /** Those that may know the new password by now; undefined: all of them. */
      readonly told?: readonly string[];
      readonly record?: SwitchRecord;
    }
  /** Replicas have been seen in sync with the primary, whose replication id and process these are. */
  | {
      readonly type: "synced";
      readonly group: string;
      readonly addrs: readonly string[];
      readonly id: string;
      readonly runId: string;
    }
  /**
   * A replica has been away from a living primary for too long to be promoted. With `shutOut` it can't reach
   * the primary any more, as long as that is what replicas sign in with.
   */
  | { readonly type: "fell-behind"; readonly addr: string; readonly shutOut?: { readonly link?: string } }
  /** It is about to be told how to reach the primary again. */
  | { readonly type: "let-in"; readonly addr: string }
  /** The primary has been started again, and its data count all the same: a history of its own begins. */
  | { readonly type: "primary-trusted"; readonly group: string; readonly id: string; readonly runId: string }
  /** A server's writes are about to be stopped by a setting, which was `before`; then it is as it was. */
  | { readonly type: "writes-stopped"; readonly addr: string; readonly before: string }
  | { readonly type: "writes-resumed"; readonly addr: string }
  | { readonly type: "link-set"; readonly group: string; readonly link: string };

/** Null when the event is none of these, or changes nothing. @throws ShoalError CONFLICT, NOT_FOUND */
export function changeBySwitchEvent(topology: ClusterTopology, event: SwitchEvent): TopologyChange | null {
  switch (event.type) {
    case "group-held":
      return changeGroup(topology, event.group, (group) =>
        (group.held === true) === event.held ? null : { ...without(group, "held"), ...heldIf(event.held) },
      );
    case "switch-begun":
      return changeGroup(topology, event.group, (group) => begin(group, event.plan));
    case "switch-ended":
      return changeGroup(topology, event.group, (group) =>
        group.switch === undefined ? null : without(without(group, "switch"), "held"),
      );
    case "promoted":
      return promote(topology, event);
    case "synced":
      return changeGroup(topology, event.group, (group) => sync(group, event));
    case "fell-behind":
      return changeServer(topology, event.addr, (server, group) => {
        const out = event.shutOut !== undefined && event.shutOut.link === group.link;
        if (server.syncedTo === undefined && (server.shutOut === true || !out)) return null;
        return { ...without(server, "syncedTo"), ...(out ? { shutOut: true } : {}) };
      });
    case "let-in":
      return changeServer(topology, event.addr, (server) =>
        server.shutOut === true ? without(server, "shutOut") : null,
      );
    case "writes-stopped":
      // What it was before the first of two that were not undone.
      return changeServer(topology, event.addr, (server) =>
        server.writesStopped === undefined ? { ...server, writesStopped: event.before } : null,
      );
    case "writes-resumed":
      return changeServer(topology, event.addr, (server) =>
        server.writesStopped === undefined ? null : without(server, "writesStopped"),
      );
    case "primary-trusted":
      return changeGroup(topology, event.group, (group) => trust(group, event));
    case "link-set":
      return changeGroup(topology, event.group, (group) =>
        group.link === event.link ? null : { ...group, link: event.link },
      );
    default:
      return null;
  }
}

function begin(group: TopologyGroup, plan: GroupSwitch): TopologyGroup | null {
  const running = group.switch;
  const same = running?.to === plan.to && running.toRunId === plan.toRunId;
  if (same && running.kind === plan.kind) return null;
  if (running !== undefined && running.from !== plan.from)
    throw new ShoalError("CONFLICT", `Cannot switch group ${group.id}: another switch is under way`);
  serverOf(group, plan.to);
  const held = plan.kind === "switchover" ? heldIf(true) : {};
  return { ...group, switch: plan, ...held };
}

type PromotedEvent = Extract<SwitchEvent, { type: "promoted" }>;

/** The roles change places; the link's new password, decided at the beginning, is in force from now on. */
function promote(topology: ClusterTopology, event: PromotedEvent): TopologyChange | null {
  const change = changeGroup(topology, event.group, (group) => {
    const chosen = serverOf(group, event.primary);
    if (chosen.role === "primary") return null;
    const link = group.switch?.link ?? group.link;
    const history = event.history ?? group.history;
    const inSync = new Set(event.inSync);
    const servers = group.servers.map((server): TopologyServer => {
      const known = without(server, "shutOut");
      if (server === chosen) return { ...without(known, "syncedTo"), role: "primary", joined: true };
      const role = "replica";
      if (inSync.has(server.addr)) return { ...known, role, syncedTo: history?.id };
      const told = event.told === undefined || event.told.includes(server.addr);
      return { ...known, role, ...(told ? {} : { shutOut: true }) };
    });
    const quiet = without(without(group, "switch"), "held");
    return {
      ...quiet,
      servers,
      ...(history === undefined ? {} : { history }),
      ...(link === undefined ? {} : { link }),
    };
  });
  if (change === null || event.record === undefined) return change;
  const switches = [...(topology.switches ?? []), event.record].slice(-SWITCHES_KEPT);
  return { ...change, switches, switchTotals: countSwitch(topology, event.record) };
}

/** A topology of before there were totals has them of the switches that it remembers. */
export function switchTotalsOf({ switches = [], switchTotals }: ClusterTopology): Record<string, number> {
  if (switchTotals !== undefined) return { ...switchTotals };
  const totals: Record<string, number> = {};
  for (const { group, kind } of switches) totals[`${group} ${kind}`] = (totals[`${group} ${kind}`] ?? 0) + 1;
  return totals;
}

function countSwitch(topology: ClusterTopology, { group, kind }: SwitchRecord): Record<string, number> {
  const there = new Set(topology.groups.map(({ id }) => id));
  const totals = Object.entries(switchTotalsOf(topology)).filter(([key]) => there.has(key.split(" ")[0]));
  const counted = Object.fromEntries(totals) as Record<string, number>;
  return { ...counted, [`${group} ${kind}`]: (counted[`${group} ${kind}`] ?? 0) + 1 };
}

type SyncedEvent = Extract<SwitchEvent, { type: "synced" }>;

/** A primary that was started again has a new id: the history goes on under it, offsets begin anew. */
function sync(group: TopologyGroup, { id, runId, addrs }: SyncedEvent): TopologyGroup | null {
  const { history } = group;
  const sameHistory = history?.id === id && history.runId === runId;
  let changed = !sameHistory;
  const servers = group.servers.map((server) => {
    if (!addrs.includes(server.addr) || (server.joined && server.syncedTo === id)) return server;
    changed = true;
    return { ...without(server, "shutOut"), joined: true, syncedTo: id };
  });
  if (!changed) return null;
  const next = sameHistory ? history : { id, runId, offset: history?.id === id ? history.offset : 0 };
  return { ...group, servers, history: next };
}

/**
 * What replicas had before is a copy of the time before: they are copies again when they have synchronised.
 */
function trust(
  group: TopologyGroup,
  { id, runId }: Extract<SwitchEvent, { type: "primary-trusted" }>,
): TopologyGroup | null {
  const { history } = group;
  return history === undefined || history.runId === runId
    ? null
    : { ...group, history: { id, runId, offset: 0 } };
}

function changeGroup(
  topology: ClusterTopology,
  id: string,
  change: (group: TopologyGroup) => TopologyGroup | null,
): TopologyChange | null {
  const group = topology.groups.find((one) => one.id === id);
  if (group === undefined) throw new ShoalError("NOT_FOUND", `Cannot switch group ${id}: no such group`);
  const next = change(group);
  return next === null ? null : { groups: topology.groups.map((other) => (other === group ? next : other)) };
}

/** A server that has gone in the meantime is no fault: what was seen of it does not matter any more. */
function changeServer(
  topology: ClusterTopology,
  addr: string,
  change: (server: TopologyServer, group: TopologyGroup) => TopologyServer | null,
): TopologyChange | null {
  const group = topology.groups.find((one) => one.servers.some((server) => server.addr === addr));
  if (group === undefined) return null;
  return changeGroup(topology, group.id, () => {
    const next = change(serverOf(group, addr), group);
    if (next === null) return null;
    return { ...group, servers: group.servers.map((other) => (other.addr === addr ? next : other)) };
  });
}

function serverOf(group: TopologyGroup, addr: string): TopologyServer {
  const server = group.servers.find((one) => one.addr === addr);
  if (server !== undefined) return server;
  throw new ShoalError("NOT_FOUND", `Cannot switch group ${group.id} to ${addr}: it has no such server`);
}

function heldIf(held: boolean): { held?: true } {
  return held ? { held: true } : {};
}

/** Left out instead of undefined: what is stored and compared as JSON is the same then. */
function without<Whole extends object, Key extends keyof Whole>(whole: Whole, key: Key): Whole {
  const { [key]: _, ...rest } = whole;
  return rest as Whole;
}
