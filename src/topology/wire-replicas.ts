/**
 * Which replicas have to be pointed at their primary, and what stands in the way: desired and observed state
 * in, effects and problems out.
 *
 *                                  follows the primary ──▶ nothing to do (the first time in sync: joined)
 *   replica is up, primary is up ──┤
 *                                   does not ──▶ may its data go? ──yes──▶ effect: follow
 *                                                                 └─no───▶ problem, in words
 *
 * REPLICAOF wipes what the server holds, so the rules are about whose data that is:
 *   - a primary is never made a replica, whatever it follows now;
 *   - a replica may be wired when it is empty, or has been a copy of this group before (`joined`), or when
 *     somebody has said so (`adopted`);
 *   - never to an empty primary while the replica has keys: it may be the last copy (loss mode L6);
 *   - never while either is loading or down: what it holds is not known yet;
 *   - never to a primary that was started again and not judged yet (topology/promotion.ts), and nothing at
 *     all in a group that is being switched: roles and topology differ there for a moment. Rejected: wiring
 *     whatever the configuration names. One typing error in an address would wipe a foreign server.
 */
import { type ClusterTopology, type TopologyGroup, primaryOf, replicasOf } from "./cluster-topology.ts";
import {
  type Observations,
  type UpObservation,
  observationOf,
  replicaHealth,
  sameAddress,
} from "./group-health.ts";
import { isTrustedPrimary } from "./promotion.ts";

/** To carry out: tell `addr` to follow `primary`. */
export interface FollowEffect {
  readonly type: "follow";
  readonly group: string;
  readonly addr: string;
  readonly primary: string;
}

/** What keeps a group from being whole, for a person to look at. */
export interface WiringProblem {
  readonly group: string;
  readonly addr: string;
  readonly message: string;
}

/** Replicas of one group in sync with its primary, whose replication id and process these are. */
export interface SyncedReplicas {
  readonly group: string;
  readonly addrs: readonly string[];
  readonly id: string;
  readonly runId: string;
}

export interface WiringPlan {
  readonly effects: readonly FollowEffect[];
  /** Replicas that are seen in sync with this primary and not yet known to have been. */
  readonly synced: readonly SyncedReplicas[];
  /** Replicas that are away from a living primary, and may come back to it unseen. */
  readonly away: readonly string[];
  /** Of those, the ones that count as copies: the sooner they count no more, the better. */
  readonly awayCopies: readonly string[];
  readonly problems: readonly WiringProblem[];
}

interface Draft {
  readonly effects: FollowEffect[];
  readonly synced: SyncedReplicas[];
  readonly away: string[];
  readonly awayCopies: string[];
  readonly problems: WiringProblem[];
}

export function planWiring(topology: ClusterTopology, observations: Observations): WiringPlan {
  const draft: Draft = { effects: [], synced: [], away: [], awayCopies: [], problems: [] };
  for (const group of topology.groups) planGroup(group, observations, draft);
  return draft;
}

function planGroup(group: TopologyGroup, observations: Observations, draft: Draft): void {
  if (group.switch !== undefined) return;
  const { addr } = primaryOf(group);
  const primary = observationOf(observations, addr);
  if (primary.state !== "up" || primary.loading) return;
  if (primary.role !== "primary") {
    const message = `${addr} is the primary of group ${group.id} but follows ${primary.follows}: not changed`;
    draft.problems.push({ group: group.id, addr, message });
    return;
  }
  if (!isTrustedPrimary(group, primary)) return;
  planMarks(group, primary, observations, draft);
  for (const replica of replicasOf(group)) {
    const health = replicaHealth(group, replica, observations);
    if (health !== "unwired") continue;
    const seen = observationOf(observations, replica.addr) as UpObservation;
    const refusal = sameAddress(replica.addr, addr)
      ? "is its own primary"
      : refusalToWire(replica.joined || replica.adopted === true, seen, primary);
    if (refusal === null) {
      draft.effects.push({ type: "follow", group: group.id, addr: replica.addr, primary: addr });
    } else {
      const message = `${replica.addr} is not made a replica of ${addr} (group ${group.id}): it ${refusal}`;
      draft.problems.push({ group: group.id, addr: replica.addr, message });
    }
  }
}

/**
 * Who is a copy of the primary's data, for the choice at a failover. A replica that says to be online is one
 * as soon as it has what the primary had when it took over. One that is not online, while the primary counts
 * no more online replicas than there are without it, is none any more. By number, because the primary knows
 * its replicas by addresses that need not be ours.
 */
function planMarks(
  group: TopologyGroup,
  primary: UpObservation,
  observations: Observations,
  draft: Draft,
): void {
  const { history } = group;
  const { replicationId: id, runId } = primary;
  const replicas = replicasOf(group);
  const online = replicas.filter((replica) => replicaHealth(group, replica, observations) === "online");
  const synced = online.filter((replica) => {
    if (replica.joined && history?.id === id && replica.syncedTo === id) return false;
    const seen = observationOf(observations, replica.addr) as UpObservation;
    return seen.replicationId === id && (history?.id !== id || seen.offset >= history.offset);
  });
  if (synced.length > 0)
    draft.synced.push({ group: group.id, addrs: synced.map(({ addr }) => addr), id, runId });
  if (primary.attached > online.length) return;
  for (const replica of replicas) {
    if (replica.shutOut === true || online.includes(replica)) continue;
    draft.away.push(replica.addr);
    if (replica.syncedTo !== undefined && replica.syncedTo === history?.id)
      draft.awayCopies.push(replica.addr);
  }
}

/** Why the replica's data must not be replaced by the primary's, or null. */
export function refusalToWire(ours: boolean, replica: UpObservation, primary: UpObservation): string | null {
  if (replica.keys === 0) return null;
  if (primary.keys === 0) return `holds ${replica.keys} keys and the primary is empty`;
  if (!ours) return `holds ${replica.keys} keys of its own`;
  return null;
}
