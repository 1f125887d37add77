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
 *   - a replica may be wired when it is empty, or has been a copy of this group before (`joined`);
 *   - never to an empty primary while the replica has keys: it may be the last copy (loss mode L6);
 *   - never while either is loading or down: what it holds is not known yet.
 * Rejected: wiring whatever the configuration names. One typing error in an address would wipe a foreign
 * server.
 */
import { type ClusterTopology, type TopologyGroup, primaryOf, replicasOf } from "./cluster-topology.ts";
import {
  type Observations,
  type ServerObservation,
  observationOf,
  replicaHealth,
  sameAddress,
} from "./group-health.ts";

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

export interface WiringPlan {
  readonly effects: readonly FollowEffect[];
  /** Replicas that are seen in sync and not yet known to have been. */
  readonly joined: readonly string[];
  readonly problems: readonly WiringProblem[];
}

type Up = Extract<ServerObservation, { state: "up" }>;

interface Draft {
  readonly effects: FollowEffect[];
  readonly joined: string[];
  readonly problems: WiringProblem[];
}

export function planWiring(topology: ClusterTopology, observations: Observations): WiringPlan {
  const draft: Draft = { effects: [], joined: [], problems: [] };
  for (const group of topology.groups) planGroup(group, observations, draft);
  return draft;
}

function planGroup(group: TopologyGroup, observations: Observations, draft: Draft): void {
  const { addr } = primaryOf(group);
  const primary = observationOf(observations, addr);
  if (primary.state !== "up" || primary.loading) return;
  if (primary.role !== "primary") {
    const message = `${addr} is the primary of group ${group.id} but follows ${primary.follows}: not changed`;
    draft.problems.push({ group: group.id, addr, message });
    return;
  }
  for (const replica of replicasOf(group)) {
    const health = replicaHealth(group, replica, observations);
    if (health === "online" && !replica.joined) draft.joined.push(replica.addr);
    if (health !== "unwired") continue;
    const seen = observationOf(observations, replica.addr) as Up;
    const refusal = sameAddress(replica.addr, addr)
      ? "is its own primary"
      : refusalToWire(replica.joined, seen, primary);
    if (refusal === null) {
      draft.effects.push({ type: "follow", group: group.id, addr: replica.addr, primary: addr });
    } else {
      const message = `${replica.addr} is not made a replica of ${addr} (group ${group.id}): it ${refusal}`;
      draft.problems.push({ group: group.id, addr: replica.addr, message });
    }
  }
}

/** Why the replica's data must not be replaced by the primary's, or null. */
function refusalToWire(joined: boolean, replica: Up, primary: Up): string | null {
  if (replica.keys === 0) return null;
  if (primary.keys === 0) return `holds ${replica.keys} keys and the primary is empty`;
  if (!joined) return `holds ${replica.keys} keys of its own`;
  return null;
}
