/**
 * Groups and servers as lists, with what only the servers can tell (keys, memory, progress of a copy): all
 * are asked at once, and who does not answer leaves a null. They are asked over the connections of the
 * health checks and with their time limit, because a command whose time is over takes the connection with
 * it.
 */
import { ShoalError } from "../../base/shoal-error.ts";
import type { GroupList, OptionList, ServerList, SlotList } from "../../contract/group-schemas.ts";
import type { RedisServer } from "../../redis/redis-server.ts";
import { parseInfoFields, parseServerInfo } from "../../redis/server-info.ts";
import {
  type ClusterTopology,
  type TopologyGroup,
  allServers,
  primaryOf,
  replicasOf,
} from "../../topology/cluster-topology.ts";
import { CLUSTER_OPTIONS } from "../../topology/cluster-options.ts";
import { nextGroupOf } from "../../topology/group-changes.ts";
import {
  type Observations,
  groupState,
  observationOf,
  replicaHealth,
  replicaLagBytes,
} from "../../topology/group-health.ts";
import { countSlots } from "../../topology/slot-ranges.ts";
import type { WiringProblem } from "../../topology/wire-replicas.ts";
import type { ClusterState } from "../cluster-state.ts";

export interface TopologyListParts {
  readonly state: ClusterState;
  readonly observations: Observations;
  /** The connection of the health checks; null when the address is not in the topology. */
  readonly serverAt: (addr: string) => RedisServer | null;
  readonly problems: () => readonly WiringProblem[];
}

type ServerRow = ServerList["servers"][number];

/** What INFO says now, or null. */
type Live = {
  readonly fields: ReadonlyMap<string, string>;
  readonly keys: number;
  readonly version: string;
} | null;

export class TopologyLists {
  readonly #parts: TopologyListParts;

  constructor(parts: TopologyListParts) {
    this.#parts = parts;
  }

  async groups(): Promise<GroupList> {
    const topology = this.#topology("list the groups");
    const rows = topology.groups.map(async (group) => {
      const primary = primaryOf(group).addr;
      const live = await this.#ask(primary);
      const ranges = topology.ranges.filter((range) => range.group === group.id);
      return {
        id: group.id,
        number: group.number,
        state: groupState(group, this.#parts.observations),
        draining: group.draining === true,
        primary,
        replicas: replicasOf(group).map((server) => server.addr),
        slots: countSlots(ranges),
        ranges: ranges.map((range) => ({ ...range })),
        keys: live?.keys ?? null,
        memoryBytes: memoryOf(live),
      };
    });
    return { groups: await Promise.all(rows), nextGroup: nextGroupOf(topology).id };
  }

  async servers(): Promise<ServerList> {
    const topology = this.#topology("list the servers");
    const rows = [...allServers(topology)].map(async ({ group, server }): Promise<ServerRow> => {
      const live = await this.#ask(server.addr);
      const { addr, role } = server;
      return {
        addr,
        group: group.id,
        role,
        zone: server.zone ?? "",
        state: role === "primary" ? this.#primaryState(group) : this.#replicaState(group, server.addr),
        version: live?.version ?? null,
        keys: live?.keys ?? null,
        memoryBytes: memoryOf(live),
        lagBytes: role === "primary" ? null : replicaLagBytes(group, server, this.#parts.observations),
        sync: syncOf(live),
      };
    });
    const problems = this.#parts.problems().map(({ addr, message }) => ({ addr, message }));
    return { servers: await Promise.all(rows), problems };
  }

  slots(): SlotList {
    const { slots, ranges } = this.#topology("list the slots");
    return { count: slots, ranges: ranges.map((range) => ({ ...range })) };
  }

  /** Every option there is, whether it is set or not. */
  options(): OptionList {
    const { options } = this.#topology("list the options");
    return {
      options: Object.entries(CLUSTER_OPTIONS).map(([name, row]) => ({
        name,
        value: options[name] ?? row.default,
        set: name in options,
        default: row.default,
        doc: row.doc,
      })),
    };
  }

  #primaryState(group: TopologyGroup): ServerRow["state"] {
    const seen = observationOf(this.#parts.observations, primaryOf(group).addr);
    if (seen.state === "up") return seen.loading ? "loading" : "online";
    return seen.state;
  }

  #replicaState(group: TopologyGroup, addr: string): ServerRow["state"] {
    const server = replicasOf(group).find((one) => one.addr === addr);
    return server === undefined ? "unknown" : replicaHealth(group, server, this.#parts.observations);
  }

  async #ask(addr: string): Promise<Live> {
    const server = this.#parts.serverAt(addr);
    if (server === null || observationOf(this.#parts.observations, addr).state !== "up") return null;
    try {
      const text = String(await server.command(["INFO"]));
      const { keys, version } = parseServerInfo(text);
      return { fields: parseInfoFields(text), keys, version };
    } catch {
      return null;
    }
  }

  #topology(action: string): ClusterTopology {
    const { topology } = this.#parts.state;
    if (topology === null) throw new ShoalError("NOT_FOUND", `Cannot ${action}: there is no cluster yet`);
    return topology;
  }
}

function memoryOf(live: Live): number | null {
  const bytes = live?.fields.get("used_memory_dataset");
  return bytes === undefined ? null : Math.max(0, Number(bytes));
}

/** Without a file in between (diskless) the primary does not say beforehand how much it will send. */
function syncOf(live: Live): ServerRow["sync"] {
  if (live?.fields.get("master_sync_in_progress") !== "1") return null;
  const total = Number(live.fields.get("master_sync_total_bytes") ?? 0);
  const readBytes = Math.max(0, Number(live.fields.get("master_sync_read_bytes") ?? 0));
  return { readBytes, totalBytes: total > 0 ? total : null };
}
