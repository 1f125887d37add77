/**
 * Metrics in Prometheus's text format, from one table: name, type, meaning, and where the samples come from.
 * https://prometheus.io/docs/instrumenting/exposition_formats/
 */
import type { Moves } from "../contract/move-routes.ts";
import type { ClusterStatus } from "../contract/schemas.ts";
import type { SwitchRecord } from "../topology/cluster-topology.ts";
import type { EventKind } from "./events.ts";
import type { KnownProxy } from "./proxy-registry.ts";

/** What the metrics are read from. `status` is null while there is no cluster. */
export interface MetricsInput {
  readonly status: ClusterStatus | null;
  readonly proxies: readonly KnownProxy[];
  readonly leading: boolean;
  readonly term: number;
  readonly mapStreams: number;
  /** Oldest first. */
  readonly switches: readonly SwitchRecord[];
  /** By "group kind". */
  readonly switchTotals: Readonly<Record<string, number>>;
  /** Null while there is no cluster. */
  readonly moves: Moves | null;
  /** Moved by this controller. */
  readonly moved: { readonly keys: number; readonly bytes: number };
  readonly eventCounts: ReadonlyMap<EventKind, number>;
  /** "status 200" → how many answers. */
  readonly httpAnswers: ReadonlyMap<string, number>;
}

type Labels = Readonly<Record<string, string>>;
type Sample = readonly [labels: Labels, value: number];

/** A row of the table. */
interface Metric {
  readonly name: string;
  readonly type: "gauge" | "counter";
  readonly help: string;
  readonly samples: (input: MetricsInput) => Sample[];
}

const GROUP_STATES = ["ok", "degraded", "suspect", "down", "unknown"];
const MOVE_PHASES = ["planned", "strays", "locking", "moving", "finishing"];
const PROXY_STATES = ["serving", "draining", "lost"];

export const METRICS: readonly Metric[] = [
  {
    name: "shoal_controller_leads",
    type: "gauge",
    help: "1 when this controller leads",
    samples: ({ leading }) => [[{}, leading ? 1 : 0]],
  },
  { name: "shoal_term", type: "gauge", help: "The term in force", samples: ({ term }) => [[{}, term]] },
  {
    name: "shoal_map_version",
    type: "gauge",
    help: "Version of the map in force",
    samples: ({ status }) => (status === null ? [] : [[{}, status.map.version]]),
  },
  {
    name: "shoal_map_streams",
    type: "gauge",
    help: "Open map streams",
    samples: ({ mapStreams }) => [[{}, mapStreams]],
  },
  {
    name: "shoal_proxies",
    type: "gauge",
    help: "Proxies by state",
    samples: ({ proxies }) =>
      PROXY_STATES.map((state) => [{ state }, proxies.filter((proxy) => proxy.state === state).length]),
  },
  {
    name: "shoal_proxy_map_version",
    type: "gauge",
    help: "Version of the map that each proxy has acknowledged",
    samples: ({ proxies }) => proxies.map((proxy) => [{ proxy: proxy.id }, proxy.report.map?.version ?? 0]),
  },
  {
    name: "shoal_proxy_counter_total",
    type: "counter",
    help: "Totals that each proxy reports, since it started",
    samples: ({ proxies }) =>
      proxies.flatMap(({ id, report }) =>
        Object.entries(report.counters).map(([counter, value]): Sample => [{ proxy: id, counter }, value]),
      ),
  },
  {
    name: "shoal_group_state",
    type: "gauge",
    help: "1 for the state that the group is in",
    samples: ({ status }) =>
      (status?.groups ?? []).flatMap((group) =>
        GROUP_STATES.map((state): Sample => [{ group: group.id, state }, group.state === state ? 1 : 0]),
      ),
  },
  {
    name: "shoal_group_protected",
    type: "gauge",
    help: "1 when a replica is in sync, so that the group would survive the loss of its primary",
    samples: ({ status }) =>
      (status?.groups ?? []).map((group) => [{ group: group.id }, group.protected === true ? 1 : 0]),
  },
  {
    name: "shoal_safe_mode",
    type: "gauge",
    help: "1 while no primary is replaced automatically",
    samples: ({ status }) => (status === null ? [] : [[{}, (status.safeMode ?? []).length > 0 ? 1 : 0]]),
  },
  {
    name: "shoal_switches_total",
    type: "counter",
    help: "Switches of the primary of each group there is, by kind, since there is the cluster",
    samples: ({ switchTotals }) =>
      Object.entries(switchTotals).map(([key, count]) => {
        const [group, kind] = key.split(" ");
        return [{ group, kind }, count];
      }),
  },
  {
    name: "shoal_failover_lost_bytes_max",
    type: "gauge",
    help: "Bytes of the replication stream that the last failover of the group may have lost at most",
    samples: ({ switches }) => lastLostBytes(switches),
  },
  {
    name: "shoal_replica_online",
    type: "gauge",
    help: "1 when the replica follows its primary",
    samples: ({ status }) => replicaSamples(status, (replica) => (replica.state === "online" ? 1 : 0)),
  },
  {
    name: "shoal_replica_lag_bytes",
    type: "gauge",
    help: "Bytes of the replication stream that the replica has not applied",
    samples: ({ status }) => replicaSamples(status, (replica) => replica.lagBytes),
  },
  {
    name: "shoal_moves",
    type: "gauge",
    help: "Moves under way by phase: a source and a target each",
    samples: ({ moves }) =>
      MOVE_PHASES.map((phase): Sample => [
        { phase },
        (moves?.moves ?? []).filter((move) => move.phase === phase).length,
      ]),
  },
  {
    name: "shoal_moved_keys_total",
    type: "counter",
    help: "Keys that this controller has moved since it started, without those that proxies have pulled",
    samples: ({ moved }) => [[{}, moved.keys]],
  },
  {
    name: "shoal_moved_bytes_total",
    type: "counter",
    help: "Their bytes, by MEMORY USAGE",
    samples: ({ moved }) => [[{}, moved.bytes]],
  },
  {
    name: "shoal_events_total",
    type: "counter",
    help: "Events by kind since this controller started",
    samples: ({ eventCounts }) => [...eventCounts].map(([kind, count]): Sample => [{ kind }, count]),
  },
  {
    name: "shoal_http_answers_total",
    type: "counter",
    help: "Answers of the API by route and HTTP status",
    samples: ({ httpAnswers }) =>
      [...httpAnswers].map(([key, count]): Sample => {
        const [route, status] = key.split(" ");
        return [{ route, status }, count];
      }),
  },
];

/** A metric without samples is left out whole, as the format wants it. */
export function formatMetrics(input: MetricsInput): string {
  let text = "";
  for (const metric of METRICS) {
    const samples = metric.samples(input);
    if (samples.length === 0) continue;
    text += `# HELP ${metric.name} ${metric.help}\n# TYPE ${metric.name} ${metric.type}\n`;
    for (const [labels, value] of samples) text += `${metric.name}${formatLabels(labels)} ${value}\n`;
  }
  return text;
}

type ReplicaStatus = ClusterStatus["groups"][number]["replicas"][number];

/** One sample per replica; a null value is left out, because "not known" is not zero. */
function replicaSamples(
  status: ClusterStatus | null,
  valueOf: (replica: ReplicaStatus) => number | null,
): Sample[] {
  const samples: Sample[] = [];
  for (const group of status?.groups ?? []) {
    for (const replica of group.replicas) {
      const value = valueOf(replica);
      if (value !== null) samples.push([{ group: group.id, server: replica.addr }, value]);
    }
  }
  return samples;
}

/** Not known is not zero: such a group has no sample. */
function lastLostBytes(records: readonly SwitchRecord[]): Sample[] {
  const last = new Map<string, number | null>();
  for (const { group, kind, lostBytesMax } of records) if (kind === "failover") last.set(group, lostBytesMax);
  return [...last].flatMap(([group, bytes]): Sample[] => (bytes === null ? [] : [[{ group }, bytes]]));
}

function formatLabels(labels: Labels): string {
  const parts = Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(value)}"`);
  return parts.length === 0 ? "" : `{${parts.join(",")}}`;
}

/** Label values come from outside (ids, counter names), so what has a meaning in the format is escaped. */
function escapeLabel(value: string): string {
  return value.replace(/\\/g, "\\\\").replace(/"/g, '\\"').replace(/\n/g, "\\n");
}
