/**
 * Which replica takes over, and whether a primary that was started again may stay one. Pure.
 *
 *   replicas, each as seen a moment ago ──▶ refusal? ──▶ highest offset ▸ lowest priority ▸ zone ▸ address
 *                                             └── kept, in words, for whoever asks why nothing happens
 *
 * Invariants:
 *   - a replica is chosen only when it has been in sync within the group's present history, and its own
 *     replication id says that it still is of that history: offsets of two histories are not comparable (L5);
 *     One that nobody has seen in sync yet is better when it has more than one that was;
 *   - an empty server is never chosen while another one of the group has keys (L6);
 *   - with `acks: replica N`, a write that was confirmed is on N replicas: of those that were in sync, or
 *     that are silent and not shut out, so that they may have come back to the primary unseen. As long as
 *     fewer than N of those can't be compared (silent, or started again since), the highest offset among the
 *     others has it (L1); when N or more can't, nobody is chosen: they may hold the only copy.
 *
 * Rejected: the longest time since the link was lost as the measure of a stale replica. It is forgotten by a
 * restart of whoever measures, and a primary that is dead for long makes every replica look stale.
 */
import { confirmsAll, parseAcks } from "./acks-rule.ts";
import type { GroupHistory, TopologyGroup, TopologyServer } from "./cluster-topology.ts";
import { primaryOf, replicasOf } from "./cluster-topology.ts";
import { type Observations, type UpObservation, observationOf } from "./group-health.ts";

export interface ChoiceOptions {
  /** How many replicas have confirmed a write before it is answered; 0: none is asked. See {@link acksOf}. */
  readonly acks: number;
  /** Only this one. */
  readonly to?: string;
  /** A person takes the loss: only what would destroy everything is still refused. */
  readonly forced?: boolean;
}

/** Why a server is not taken. */
export interface Refusal {
  readonly addr: string;
  readonly reason: string;
}

export type Choice =
  | {
      readonly to: string;
      readonly offset: number;
      /** Other replicas with everything that it has. */
      readonly inSync: readonly string[];
      readonly refusals: readonly Refusal[];
    }
  | { readonly to: null; readonly refusals: readonly Refusal[] };

export function chooseSuccessor(
  group: TopologyGroup,
  observations: Observations,
  options: ChoiceOptions,
): Choice {
  let refusals: Refusal[] = [];
  const fit: Array<{ server: TopologyServer; seen: UpObservation }> = [];
  for (const server of replicasOf(group)) {
    const reason = refusalToPromote(group, server, observations, options);
    const seen = observationOf(observations, server.addr);
    if (reason === null && seen.state === "up") fit.push({ server, seen });
    else refusals.push({ addr: server.addr, reason: reason ?? "does not answer" });
  }
  const offset = Math.max(...fit.map(({ seen }) => seen.offset));
  for (const server of replicasOf(group)) {
    const seen = observationOf(observations, server.addr);
    if (seen.state !== "up" || !hasMore(group, server, seen, offset)) continue;
    fit.push({ server, seen });
    refusals = refusals.filter(({ addr }) => addr !== server.addr);
  }
  const missing = options.forced === true ? [] : unknownCopies(group, observations);
  if (fit.length > 0 && options.acks > 0 && missing.length >= options.acks) {
    const reason = "is silent or was started again, and may hold the only copy of confirmed writes";
    return { to: null, refusals: missing.map((addr) => ({ addr, reason })) };
  }
  const { zone } = primaryOf(group);
  fit.sort(
    (a, b) =>
      b.seen.offset - a.seen.offset ||
      a.seen.priority - b.seen.priority ||
      Number(b.server.zone === zone) - Number(a.server.zone === zone) ||
      (a.server.addr < b.server.addr ? -1 : 1),
  );
  const wanted = options.to === undefined ? fit : fit.filter(({ server }) => server.addr === options.to);
  const best = wanted.at(0);
  if (best === undefined) return { to: null, refusals };
  const inSync = fit.filter(
    ({ server, seen }) => server !== best.server && seen.offset === best.seen.offset && isOf(group, seen),
  );
  return {
    to: best.server.addr,
    offset: best.seen.offset,
    inSync: inSync.map(({ server }) => server.addr),
    refusals,
  };
}

/** Why `server` must not be promoted, or null. */
export function refusalToPromote(
  group: TopologyGroup,
  server: TopologyServer,
  observations: Observations,
  { forced = false }: Pick<ChoiceOptions, "forced">,
): string | null {
  const seen = observationOf(observations, server.addr);
  if (seen.state !== "up") return "does not answer";
  if (seen.loading) return "is still reading its files";
  if (seen.syncing) return "is in the middle of a copy";
  if (seen.keys === 0 && othersHaveKeys(group, server.addr, observations)) return "is empty";
  if (forced) return null;
  if (!server.joined) return "has never been a full copy of the group";
  if (seen.priority === 0) return "has replica-priority 0";
  const { history } = group;
  if (history === undefined || server.syncedTo !== history.id)
    return "has not been in sync with the present primary since it was away";
  return isOf(group, seen)
    ? null
    : "was started again or has followed another primary: its offset is unknown";
}

/** What a primary that was started again is worth; `why` is for a person. */
export type RestartVerdict =
  /** A replica has what it had before, so that one takes over. */
  | { readonly action: "replace" }
  | { readonly action: "trust" }
  /** null: a moment, until the replicas have been looked at. */
  | { readonly action: "wait"; readonly why: string | null };

/**
 * A primary whose process is another one than the group's history names. What it has read from its files may
 * be older than what its replicas hold, so a replica that was in sync goes first, and an empty one never
 * counts while a replica has keys (L6).
 */
export function judgeRestart(
  group: TopologyGroup,
  seen: UpObservation,
  observations: Observations,
  acks: number,
): RestartVerdict {
  if (chooseSuccessor(group, observations, { acks }).to !== null) return { action: "replace" };
  const replicas = replicasOf(group);
  const states = replicas.map((replica) => observationOf(observations, replica.addr).state);
  if (states.includes("unknown") || states.includes("suspect")) return { action: "wait", why: null };
  const wait = (why: string): RestartVerdict => {
    const advice = `\`shoal failover ${group.id} --to ADDRESS --force\` says who is right`;
    return { action: "wait", why: `${primaryOf(group).addr} ${why}: ${advice}` };
  };
  if (seen.loading) return wait("was started again and is still reading its files");
  const missing = acks > 0 ? unknownCopies(group, observations) : [];
  // With a file of every write it has what was confirmed, wherever else that may be. And where all copies
  // have been started again, nobody has anything better.
  const best = seen.appendOnly || (missing.length === replicas.length && !states.includes("down"));
  if (missing.length > 0 && missing.length >= acks && !(best && seen.keys > 0))
    return wait(`was started again, and ${missing.join(", ")} may hold the only copy of confirmed writes`);
  if (seen.keys > 0) return { action: "trust" };
  for (const { addr, joined } of replicas) {
    const other = observationOf(observations, addr);
    if (other.state === "up" && other.keys > 0)
      return wait(`came back empty, and ${addr} holds ${other.keys} keys`);
    if (other.state !== "up" && joined) return wait(`came back empty, and ${addr} does not answer`);
  }
  return { action: "trust" };
}

/** Whether the primary is the process that the group's history names, or has none to be compared with. */
export function isTrustedPrimary(group: TopologyGroup, seen: UpObservation): boolean {
  return group.history === undefined || group.history.runId === seen.runId;
}

/**
 * How many replicas confirm a write, by the cluster's option `acks`: the smallest number of its rules that is
 * not 0, because the choice has to be right for every key.
 */
export function acksOf(option: string | number | boolean | undefined): number {
  const rules = parseAcks(String(option ?? "async"));
  const counts = rules.flatMap(({ need }) => (need === null ? [] : [need.replicas]));
  return counts.length === 0 ? 0 : Math.min(...counts);
}

/** Whether every write that is answered is on a replica, whatever its key: then a failover loses none. */
export function acksAll(option: string | number | boolean | undefined): boolean {
  return confirmsAll(parseAcks(String(option ?? "async")));
}

/**
 * Bytes of the replication stream that the new primary lacks at most: what was last seen of the old one minus
 * what the new one has. Null when they can't be compared.
 */
export function lostBytesBound(
  fromOffset: number | null,
  sameHistory: boolean,
  offset: number,
): number | null {
  return fromOffset === null || !sameHistory ? null : Math.max(0, fromOffset - offset);
}

/** Whether what the server shows belongs to the group's present history. */
function isOf({ history }: TopologyGroup, seen: UpObservation): boolean {
  if (history === undefined) return false;
  if (seen.replicationId === history.id || seen.replicationIdBefore === history.id) return true;
  return hadAllAtSwitch(history, seen);
}

/** It had everything at the last switch, and has not spoken with the new primary yet. */
function hadAllAtSwitch(history: GroupHistory, seen: UpObservation): boolean {
  return seen.replicationId === history.previous && seen.offset >= history.offset;
}

/** It has come in sync since anybody looked: it has more than one of `offset`, which was. */
function hasMore(group: TopologyGroup, server: TopologyServer, seen: UpObservation, offset: number): boolean {
  const marked = server.syncedTo === group.history?.id;
  const whole = !seen.loading && !seen.syncing && isOf(group, seen);
  return !marked && whole && seen.priority > 0 && Number.isFinite(offset) && seen.offset > offset;
}

/** Replicas that were in sync, or may have been behind our back, and nobody can say now what they have. */
function unknownCopies(group: TopologyGroup, observations: Observations): string[] {
  const { history } = group;
  if (history === undefined) return [];
  const unknown = replicasOf(group).filter(({ addr, syncedTo, shutOut }) => {
    const seen = observationOf(observations, addr);
    if (seen.state !== "up") return shutOut !== true;
    return syncedTo === history.id && (seen.loading || !isOf(group, seen));
  });
  return unknown.map(({ addr }) => addr);
}

function othersHaveKeys(group: TopologyGroup, addr: string, observations: Observations): boolean {
  return group.servers.some((other) => {
    const seen = observationOf(observations, other.addr);
    return other.addr !== addr && seen.state === "up" && seen.keys > 0;
  });
}
