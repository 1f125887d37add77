/**
 * What has to be said to one sentinel so that it watches over the cluster's groups as configured. Pure.
 *
 *   group, unknown there ──▶ MONITOR at its primary, then SET …
 *   group, known, other settings ──▶ SET …
 *   a name of ours without a group ──▶ REMOVE
 *
 * A sentinel that names another primary than the topology is never told otherwise: either it has replaced
 * the old one and the topology follows, or the topology has refused that and a person decides. Invariant:
 * nothing is said about a group that is being switched by ourselves.
 */
import type { ClusterTopology, TopologyGroup } from "../../topology/cluster-topology.ts";
import { primaryOf } from "../../topology/cluster-topology.ts";
import { parseAddress } from "../../topology/cluster-map.ts";
import { sameAddress } from "../../topology/group-health.ts";
import { type MonitoredGroup, type NamedPrimary, monitorName } from "./sentinel-view.ts";

export interface MonitorSettings {
  readonly quorum: number;
  readonly downAfterMs: number;
  readonly failoverTimeoutMs: number;
  /** What sentinels sign in to the servers with; null: nothing. */
  readonly credentials: { readonly user: string | null; readonly password: string } | null;
}

export interface MonitorEffect {
  readonly kind: "monitor" | "set" | "remove";
  readonly name: string;
  /** In this order; errors of one do not stop the others. */
  readonly commands: ReadonlyArray<readonly string[]>;
}

export interface MonitorQuestion {
  readonly topology: ClusterTopology;
  readonly settings: MonitorSettings;
  /** What this sentinel knows. */
  readonly sight: ReadonlyMap<string, MonitoredGroup>;
  /** What all of them together say. */
  readonly named: (name: string) => NamedPrimary | null;
  /** Groups that are let alone. */
  readonly aside: ReadonlySet<string>;
  /** Names whose credentials this sentinel has been given by us. */
  readonly signedIn: ReadonlySet<string>;
}

export function planMonitoring(question: MonitorQuestion): MonitorEffect[] {
  const { topology, sight, aside, signedIn, settings } = question;
  const effects: MonitorEffect[] = [];
  const wanted = new Set<string>();
  for (const group of topology.groups) {
    const name = monitorName(topology.cluster, group.id);
    wanted.add(name);
    if (group.switch !== undefined || aside.has(group.id)) continue;
    const known = sight.get(name);
    if (known === undefined) {
      const named = question.named(name);
      // Others have replaced the primary and the topology does not know it yet: first things first.
      if (named !== null && !sameAddress(named.addr, primaryOf(group).addr)) continue;
      effects.push(monitor(name, group, settings));
    } else {
      const changes = settingsToChange(group, known, settings);
      const signIn = signedIn.has(name) ? [] : credentialWords(settings);
      const words = [...changes, ...signIn];
      if (words.length > 0)
        effects.push({ kind: "set", name, commands: [["SENTINEL", "SET", name, ...words]] });
    }
  }
  const prefix = monitorName(topology.cluster, "");
  for (const name of sight.keys()) {
    const ours = name.startsWith(prefix) && !name.slice(prefix.length).includes(".");
    if (ours && !wanted.has(name))
      effects.push({ kind: "remove", name, commands: [["SENTINEL", "REMOVE", name]] });
  }
  return effects;
}

function monitor(name: string, group: TopologyGroup, settings: MonitorSettings): MonitorEffect {
  const { host, port } = parseAddress(primaryOf(group).addr);
  // Sentinels take names of hosts only with `resolve-hostnames`; this one needs nobody to resolve it.
  const ip = host === "localhost" ? "127.0.0.1" : host;
  const words = wantedSettings(group, settings).flat();
  return {
    kind: "monitor",
    name,
    commands: [
      ["SENTINEL", "MONITOR", name, ip, String(port), String(settings.quorum)],
      ["SENTINEL", "SET", name, ...words, ...credentialWords(settings)],
    ],
  };
}

/** All replicas are pointed at the new primary at once: it is a partial resynchronisation. */
function wantedSettings(group: TopologyGroup, settings: MonitorSettings): Array<[string, string]> {
  return [
    ["quorum", String(settings.quorum)],
    ["down-after-milliseconds", String(settings.downAfterMs)],
    ["failover-timeout", String(settings.failoverTimeoutMs)],
    ["parallel-syncs", String(Math.max(1, group.servers.length - 1))],
  ];
}

function settingsToChange(group: TopologyGroup, known: MonitoredGroup, settings: MonitorSettings): string[] {
  const present: Readonly<Record<string, number>> = {
    quorum: known.quorum,
    "down-after-milliseconds": known.downAfterMs,
    "failover-timeout": known.failoverTimeoutMs,
    "parallel-syncs": known.parallelSyncs,
  };
  return wantedSettings(group, settings).flatMap(([key, value]) =>
    String(present[key]) === value ? [] : [key, value],
  );
}

function credentialWords({ credentials }: MonitorSettings): string[] {
  if (credentials === null) return [];
  const user = credentials.user === null ? [] : ["auth-user", credentials.user];
  return [...user, "auth-pass", credentials.password];
}
