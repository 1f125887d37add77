/**
 * Slots on their way from g1 to g2, with the test in the place of the controller: it hands out the maps and
 * sees the acknowledgements.
 */
import { evenRanges, type ClusterMap, type SlotRange } from "../../src/topology/cluster-map.ts";
import { mapOf, type Rig } from "../robustness/rig.ts";
import { until } from "../support/until.ts";

const SLOTS = 1024;

export type Phase = "serving" | "locked" | "moving" | "moved";

/** A map in which all slots of group `from` (0 is g1) are in this phase of a move to group `to`. */
export function moveMap(rig: Rig, phase: Phase, version: number, from = 0, to = 1): ClusterMap {
  const ids = rig.servers.map((_, i) => `g${i + 1}`);
  const ranges: SlotRange[] = evenRanges(SLOTS, ids).map((range, i) => {
    if (i !== from || phase === "serving") return range;
    if (phase === "moved") return { ...range, group: ids[to] };
    return { ...range, move: { to: ids[to], phase } };
  });
  const addresses = rig.servers.map((server) => server.addr);
  return mapOf(addresses, version, 1, ranges);
}

/** Hands out a map and waits until it is acknowledged. */
export async function settle(rig: Rig, map: ClusterMap): Promise<void> {
  rig.sendMap(map);
  await until(() => rig.acks.includes(map.version), `map ${map.version} is acknowledged`);
}

/** Locks the slots of g1, then lets them move to g2; versions 2 and 3. */
export async function startMove(rig: Rig): Promise<void> {
  await settle(rig, moveMap(rig, "locked", 2));
  await settle(rig, moveMap(rig, "moving", 3));
}
