/**
 * Changes of what the cluster consists of: groups, servers, who owns slots without a move.
 *
 * Every refusal says what to do next, because it is the answer that a person at a terminal gets. What needs
 * a look at the servers (is it reachable, does it hold keys) is decided by controller/topology before the
 * event is made; what follows from the topology alone is decided here, so that it holds whoever asks.
 */
import { ShoalError } from "../base/shoal-error.ts";
import { GROUP_NUMBER_MAX } from "./cluster-map.ts";
import {
  type ClusterTopology,
  type TopologyChange,
  type TopologyGroup,
  type TopologyServer,
  allServers,
} from "./cluster-topology.ts";
import { checkOptions } from "./cluster-options.ts";
import { sameAddress } from "./group-health.ts";
import { jobOfSlot, movesOf } from "./move-record.ts";
import { type SlotSpan, assignSlots, cutRanges, formatSlotSpans } from "./slot-ranges.ts";

export type GroupEvent =
  | {
      readonly type: "group-added";
      readonly primary: string;
      readonly replicas: readonly string[];
      /** The keys that the replicas hold may be replaced by the primary's. */
      readonly adopted?: boolean;
      /** Slots that it serves from the start, without a move; the keys are there already. */
      readonly slots?: readonly SlotSpan[];
    }
  | { readonly type: "group-removed"; readonly group: string }
  /** Its slots shall leave it, and a rebalance gives it none; or that is over. */
  | { readonly type: "group-draining"; readonly group: string; readonly draining: boolean }
  /** A replica. `adopted`: the keys that it holds may be replaced by the group's. */
  | {
      readonly type: "server-added";
      readonly group: string;
      readonly addr: string;
      readonly adopted?: boolean;
    }
  | { readonly type: "server-removed"; readonly addr: string }
  /** Where the server stands; empty: it is not known. */
  | { readonly type: "zone-set"; readonly addr: string; readonly zone: string }
  /** The slots belong to `group` from now on; no key is moved. */
  | { readonly type: "slots-assigned"; readonly slots: readonly SlotSpan[]; readonly group: string }
  /** Null takes an option away: its default holds again. */
  | {
      readonly type: "options-set";
      readonly options: Readonly<Record<string, string | number | boolean | null>>;
    };

/** Null when the event is none of these, or changes nothing. @throws ShoalError CONFLICT, NOT_FOUND */
export function changeByGroupEvent(topology: ClusterTopology, event: GroupEvent): TopologyChange | null {
  switch (event.type) {
    case "group-added":
      return addGroup(topology, event);
    case "group-removed":
      return removeGroup(topology, event.group);
    case "group-draining":
      return setDraining(topology, event.group, event.draining);
    case "server-added":
      return addServer(topology, event.group, event.addr, event.adopted === true);
    case "server-removed":
      return removeServer(topology, event.addr);
    case "zone-set":
      return setZone(topology, event.addr, event.zone);
    case "slots-assigned":
      return assign(topology, event.slots, event.group);
    case "options-set":
      return setOptions(topology, event.options);
    default:
      return null;
  }
}

/** @throws ShoalError NOT_FOUND that names the groups that there are */
export function groupById(topology: ClusterTopology, id: string): TopologyGroup {
  const group = topology.groups.find((candidate) => candidate.id === id);
  if (group !== undefined) return group;
  const known = topology.groups.map((candidate) => candidate.id).join(", ");
  throw new ShoalError("NOT_FOUND", `Cannot find group ${id}: the groups are ${known}`);
}

/**
 * Id and number that the next group gets. A number is never given again, because SCAN cursors of clients
 * carry it; an id that somebody chose at the creation is stepped over.
 * @throws ShoalError LIMIT
 */
export function nextGroupOf(topology: ClusterTopology): { id: string; number: number } {
  let number = topology.nextGroupNumber;
  while (topology.groups.some((group) => group.id === `g${number}` || group.number === number)) number++;
  if (number > GROUP_NUMBER_MAX) {
    throw new ShoalError("LIMIT", `Cannot add a group: ${GROUP_NUMBER_MAX} numbers have been given out`);
  }
  return { id: `g${number}`, number };
}

/** Server and group of an address, however the loopback is spelled; null when it is none of ours. */
export function findServer(
  topology: ClusterTopology,
  addr: string,
): { group: TopologyGroup; server: TopologyServer } | null {
  for (const found of allServers(topology)) if (sameAddress(found.server.addr, addr)) return found;
  return null;
}

function addGroup(
  topology: ClusterTopology,
  event: Extract<GroupEvent, { type: "group-added" }>,
): TopologyChange {
  const { id, number } = nextGroupOf(topology);
  const addrs = [event.primary, ...event.replicas];
  addrs.forEach((addr, index) => {
    refuseKnown(topology, addr, "add a group with");
    if (addrs.findIndex((other) => sameAddress(other, addr)) !== index) {
      throw new ShoalError("CONFLICT", `Cannot add a group with ${addr}: it is named twice`);
    }
  });
  const group: TopologyGroup = {
    id,
    number,
    servers: [
      { addr: event.primary, role: "primary", joined: true },
      ...event.replicas.map((addr) => newReplica(addr, event.adopted === true)),
    ],
  };
  const groups = [...topology.groups, group];
  const ranges = assignedRanges({ ...topology, groups }, event.slots ?? [], id);
  return { groups, ranges, nextGroupNumber: number + 1 };
}

function removeGroup(topology: ClusterTopology, id: string): TopologyChange {
  const group = groupById(topology, id);
  const owned = topology.ranges.filter((range) => range.group === id);
  if (owned.length > 0) {
    const why = `it owns slots ${formatSlotSpans(owned)}; \`shoal group drain ${id}\` moves them away first`;
    throw new ShoalError("CONFLICT", `Cannot remove group ${id}: ${why}`);
  }
  const { jobs } = movesOf(topology);
  const coming = [
    ...topology.ranges.filter((range) => range.move?.to === id),
    ...jobs.flatMap((job) => job.spans.filter((span) => job.phase === "planned" && span.target === id)),
  ];
  if (coming.length > 0) {
    const why = `slots ${formatSlotSpans(coming)} move to it; \`shoal moves cancel\` stops that`;
    throw new ShoalError("CONFLICT", `Cannot remove group ${id}: ${why}`);
  }
  refuseWhileSwitching(group, `remove group ${id}`);
  return { groups: topology.groups.filter((other) => other !== group) };
}

function setDraining(topology: ClusterTopology, id: string, draining: boolean): TopologyChange | null {
  const group = groupById(topology, id);
  if ((group.draining === true) === draining) return null;
  if (draining && topology.groups.every((other) => other === group || other.draining === true)) {
    const why = "there is no other group that could take its slots; `shoal group add` adds one";
    throw new ShoalError("CONFLICT", `Cannot drain group ${id}: ${why}`);
  }
  const { draining: _, ...rest } = group;
  return { groups: replaceGroup(topology, group, draining ? { ...rest, draining } : rest) };
}

function addServer(topology: ClusterTopology, id: string, addr: string, adopted: boolean): TopologyChange {
  const group = groupById(topology, id);
  refuseKnown(topology, addr, `add to group ${id}`);
  const server = newReplica(addr, adopted);
  return { groups: replaceGroup(topology, group, { ...group, servers: [...group.servers, server] }) };
}

function newReplica(addr: string, adopted: boolean): TopologyServer {
  return { addr, role: "replica", joined: false, ...(adopted ? { adopted } : {}) };
}

function removeServer(topology: ClusterTopology, addr: string): TopologyChange {
  const { group, server } = requireServer(topology, addr, `remove server ${addr}`);
  refuseWhileSwitching(group, `remove server ${addr}`);
  if (server.role === "primary") {
    const next =
      group.servers.length > 1
        ? `\`shoal failover ${group.id}\` makes a replica the primary first`
        : `\`shoal group drain ${group.id}\`, then \`shoal group remove ${group.id}\` takes the group out`;
    const message = `Cannot remove server ${addr}: it is the primary of group ${group.id}; ${next}`;
    throw new ShoalError("CONFLICT", message);
  }
  const servers = group.servers.filter((other) => other !== server);
  return { groups: replaceGroup(topology, group, { ...group, servers }) };
}

function requireServer(
  topology: ClusterTopology,
  addr: string,
  action: string,
): { group: TopologyGroup; server: TopologyServer } {
  const found = findServer(topology, addr);
  if (found !== null) return found;
  const message = `Cannot ${action}: no group has it; \`shoal server list\` shows all`;
  throw new ShoalError("NOT_FOUND", message);
}

function setZone(topology: ClusterTopology, addr: string, zone: string): TopologyChange | null {
  if (!/^[A-Za-z0-9._-]{0,64}$/.test(zone)) {
    const why = "want up to 64 letters, digits, dots, dashes or underscores";
    throw new ShoalError("INVALID_ARGUMENT", `Cannot set zone ${JSON.stringify(zone)} of ${addr}: ${why}`);
  }
  const { group, server } = requireServer(topology, addr, `set the zone of server ${addr}`);
  if ((server.zone ?? "") === zone) return null;
  const { zone: _, ...rest } = server;
  const next = zone === "" ? rest : { ...rest, zone };
  const servers = group.servers.map((other) => (other === server ? next : other));
  return { groups: replaceGroup(topology, group, { ...group, servers }) };
}

function assign(topology: ClusterTopology, slots: readonly SlotSpan[], id: string): TopologyChange | null {
  groupById(topology, id);
  const changes = slots.some((span) => cutRanges(topology.ranges, span).some((range) => range.group !== id));
  return changes ? { ranges: assignedRanges(topology, slots, id) } : null;
}

function assignedRanges(
  topology: ClusterTopology,
  slots: readonly SlotSpan[],
  id: string,
): ClusterTopology["ranges"] {
  let { ranges } = topology;
  for (const span of slots) {
    const moving = cutRanges(ranges, span).find((range) => {
      return range.move !== undefined || isPlanned(topology, range);
    });
    if (moving !== undefined) {
      const why = "a move has them; wait for it (`shoal moves --watch`), or `shoal moves cancel` it";
      throw new ShoalError("CONFLICT", `Cannot assign slots ${formatSlotSpans([moving])} to ${id}: ${why}`);
    }
    ranges = assignSlots(ranges, span, id);
  }
  return ranges;
}

/** Whether a move that has not begun yet has one of the slots. */
function isPlanned(topology: ClusterTopology, span: SlotSpan): boolean {
  const record = movesOf(topology);
  for (let slot = span.from; slot <= span.to && record.jobs.length > 0; slot++) {
    if (jobOfSlot(record, slot) !== undefined) return true;
  }
  return false;
}

function setOptions(
  topology: ClusterTopology,
  changes: Readonly<Record<string, string | number | boolean | null>>,
): TopologyChange | null {
  const options: Record<string, string | number | boolean> = { ...topology.options };
  for (const [name, value] of Object.entries(checkOptions(changes))) {
    if (value === null) delete options[name];
    else options[name] = value;
  }
  return JSON.stringify(options) === JSON.stringify(topology.options) ? null : { options };
}

/** Who takes over, and from whom, is settled first. */
function refuseWhileSwitching(group: TopologyGroup, action: string): void {
  if (group.switch === undefined) return;
  const { from, to } = group.switch;
  const why = `group ${group.id} is switching from ${from} to ${to}; try again when it is over`;
  throw new ShoalError("CONFLICT", `Cannot ${action}: ${why}`);
}

function refuseKnown(topology: ClusterTopology, addr: string, action: string): void {
  const found = findServer(topology, addr);
  if (found === null) return;
  const where = `it is a ${found.server.role} of group ${found.group.id} already`;
  throw new ShoalError("CONFLICT", `Cannot ${action} server ${addr}: ${where}`);
}

function replaceGroup(
  topology: ClusterTopology,
  group: TopologyGroup,
  next: TopologyGroup,
): readonly TopologyGroup[] {
  return topology.groups.map((other) => (other === group ? next : other));
}
