/**
 * How a topology comes to be and changes: `(state, event) → state`, pure. The controller writes the outcome
 * to the store under its term, and only what has been written is handed out.
 *
 *   null ──created──▶ version 1 ──led(term 2)──▶ version 2 ──joined(replica)──▶ version 3 …
 */
import { ShoalError } from "../base/shoal-error.ts";
import {
  type ClusterTopology,
  TOPOLOGY_FORMAT,
  type TopologyChange,
  type TopologyGroup,
  validateTopology,
} from "./cluster-topology.ts";
import { evenRanges } from "./cluster-map.ts";
import { type GroupEvent, changeByGroupEvent } from "./group-changes.ts";
import { type LoginEvent, changeByLoginEvent } from "./login-changes.ts";
import { type MoveEvent, changeByMoveEvent } from "./move-changes.ts";
import { type SwitchEvent, changeBySwitchEvent } from "./switch-changes.ts";

/** A group as a person writes it down. */
export interface GroupSpec {
  /** "g1", "g2", … */
  readonly id: string;
  /** "host:port". */
  readonly primary: string;
  readonly replicas: readonly string[];
  /** See {@link TopologyGroup.link}; drawn by the controller, not written down by anybody. */
  readonly link?: string;
}

export interface ClusterSpec {
  readonly name: string;
  readonly slots: number;
  readonly groups: readonly GroupSpec[];
  readonly options: Readonly<Record<string, string | number | boolean>>;
}

export type TopologyEvent =
  /** A leader takes over: it stamps the topology, so that nobody takes a map of an older leader any more. */
  | { readonly type: "led" }
  /** A replica has been seen to follow its primary, in sync. */
  | { readonly type: "joined"; readonly addr: string }
  | GroupEvent
  | LoginEvent
  | MoveEvent
  | SwitchEvent;

/** The first version of a cluster. @throws ShoalError CONFIG that names what is wrong */
export function createTopology(spec: ClusterSpec, term: number): ClusterTopology {
  if (!/^[A-Za-z0-9._-]{1,64}$/.test(spec.name)) {
    const message = "want 1 to 64 letters, digits, dots, dashes or underscores";
    throw new ShoalError("CONFIG", `Cannot create cluster ${JSON.stringify(spec.name)}: ${message}`);
  }
  if (spec.groups.length === 0) {
    throw new ShoalError("CONFIG", `Cannot create cluster ${spec.name}: it has no groups`);
  }
  const topology: ClusterTopology = {
    format: TOPOLOGY_FORMAT,
    cluster: spec.name,
    version: 1,
    term,
    slots: spec.slots,
    groups: spec.groups.map(toGroup),
    ranges: evenRanges(
      spec.slots,
      spec.groups.map((group) => group.id),
    ),
    options: spec.options,
    nextGroupNumber: spec.groups.length + 1,
  };
  try {
    validateTopology(topology);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new ShoalError("CONFIG", `Cannot create cluster ${spec.name}: ${reason}`, error);
  }
  return topology;
}

/**
 * The topology after `event`, one version on and stamped with `term`; null when it changes nothing.
 * @throws ShoalError STALE when `term` is older than the one that wrote `topology`
 */
export function changeTopology(
  topology: ClusterTopology,
  event: TopologyEvent,
  term: number,
): ClusterTopology | null {
  if (term < topology.term) {
    const why = `term ${term} is older than ${topology.term}`;
    throw new ShoalError("STALE", `Cannot change topology version ${topology.version}: ${why}`);
  }
  const change = changeBy(topology, event, term);
  if (change === null) return null;
  const next = { ...topology, ...change, term, version: topology.version + 1 };
  validateTopology(next);
  return next;
}

function changeBy(topology: ClusterTopology, event: TopologyEvent, term: number): TopologyChange | null {
  switch (event.type) {
    case "led":
      return topology.term === term ? null : {};
    case "joined":
      return changeByJoin(topology, event.addr);
    default:
      return (
        changeByGroupEvent(topology, event as GroupEvent) ??
        changeByLoginEvent(topology, event as LoginEvent) ??
        changeByMoveEvent(topology, event as MoveEvent) ??
        changeBySwitchEvent(topology, event as SwitchEvent)
      );
  }
}

function changeByJoin(topology: ClusterTopology, addr: string): TopologyChange | null {
  const owner = topology.groups.find((group) => group.servers.some((server) => server.addr === addr));
  const server = owner?.servers.find((candidate) => candidate.addr === addr);
  if (owner === undefined || server === undefined || server.joined) return null;
  const servers = owner.servers.map((other) => (other === server ? { ...other, joined: true } : other));
  return { groups: topology.groups.map((group) => (group === owner ? { ...owner, servers } : group)) };
}

function toGroup(spec: GroupSpec, index: number): TopologyGroup {
  if (!/^[A-Za-z][A-Za-z0-9_-]{0,31}$/.test(spec.id)) {
    const message = "want a letter, then up to 31 letters, digits, dashes or underscores";
    throw new ShoalError("CONFIG", `Cannot create group ${JSON.stringify(spec.id)}: ${message}`);
  }
  return {
    id: spec.id,
    number: index + 1,
    servers: [
      { addr: spec.primary, role: "primary", joined: true },
      ...spec.replicas.map((addr) => ({ addr, role: "replica" as const, joined: false })),
    ],
    ...(spec.link === undefined ? {} : { link: spec.link }),
  };
}
