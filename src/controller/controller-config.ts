/**
 * The controller's configuration: one row per key. `shoal controller --help-config` prints it,
 * controller.toml is checked against it. The groups are the one thing that is a list of tables, so they stand
 * beside the table of rows.
 */
import {
  type ConfigOf,
  type ConfigSource,
  type ConfigTable,
  configError,
  helpConfig,
  parseConfig,
} from "../base/config-table.ts";
import { errorTextOf } from "../base/shoal-error.ts";
import type { TlsClientOptions } from "../env/net.ts";
import { LEASE_MS_MAX } from "../store/lease-decision.ts";
import { createTopology, type ClusterSpec, type GroupSpec } from "../topology/change-topology.ts";
import { SLOT_COUNTS, parseAddress } from "../topology/cluster-map.ts";
import { helpNewCluster, parseGroups, parseOptions } from "./new-cluster-config.ts";
import { SENTINELS_CONFIG, checkSentinels } from "./sentinels/sentinels-config.ts";

export const CONTROLLER_CONFIG = {
  id: { type: "string", default: "c1", doc: "Name of this controller; no other controller may have it." },
  listen: {
    type: "string",
    default: "127.0.0.1:18080",
    doc: "Where the API is served: host:port. An address that is not loopback needs a token.",
  },
  advertise: {
    type: "string",
    default: "",
    doc: "The address that others reach the API at, when it is not the one of listen: host:port.",
  },
  machine: {
    type: "string",
    default: "",
    doc: "Names the machine: observers on one count as one when servers look dead. Empty: by the kernel.",
  },
  token: {
    type: "string",
    default: "",
    secret: true,
    doc: "What callers of the API must show. Empty: none.",
  },
  "cluster.name": { type: "string", default: "shoal", doc: "Name of the cluster." },
  "cluster.slots": {
    type: "int",
    default: 1024,
    min: 1024,
    max: 16384,
    doc: `Number of slots, for ever: one of ${SLOT_COUNTS.join(", ")}.`,
  },
  "store.kind": { type: "choice", default: "sqlite", values: ["sqlite"], doc: "Where the topology is kept." },
  "store.path": { type: "string", default: "shoal.db", doc: "The SQLite file." },
  lease_ms: {
    type: "int",
    default: 5000,
    min: 500,
    max: LEASE_MS_MAX,
    doc: "How long a leader that says nothing stays leader; renewed every third of it.",
  },
  proxy_lease_ms: {
    type: "int",
    default: 5000,
    min: 1500,
    max: 600_000,
    doc: "A proxy that has not reported for so long counts as lost. Proxies report every second.",
  },
  proxy_logins: {
    type: "choice",
    default: "managed",
    values: ["managed", "off"],
    doc:
      "managed: each proxy is a user of its own at every server, so that a silent one can be shut out " +
      "(Redis 6 and later). off: proxies sign in by their own configuration; " +
      "a silent one stops moves until somebody has looked.",
  },
  lock_timeout_ms: {
    type: "int",
    default: 1000,
    min: 50,
    max: 60_000,
    doc: "How long slots that are about to be moved may be locked for every proxy to acknowledge it.",
  },
  move_call_ms: {
    type: "int",
    default: 10,
    min: 1,
    max: 1000,
    doc: "How long one call that moves keys may take: source and target serve nobody meanwhile.",
  },
  move_latency_bound_ms: {
    type: "int",
    default: 5,
    min: 1,
    max: 10_000,
    doc: "Keys are moved more slowly while the 99th percentile of the source's latency is over it.",
  },
  move_block_limit_ms: {
    type: "int",
    default: 100,
    min: 1,
    max: 600_000,
    doc: "A slot with a key that would block its servers for longer is not moved, unless that is forced.",
  },
  health_period_ms: {
    type: "int",
    default: 1000,
    min: 50,
    max: 60_000,
    doc: "Pause between two looks at a server.",
  },
  server_timeout_ms: {
    type: "int",
    default: 2000,
    min: 50,
    max: 60_000,
    doc: "How long a server may take to connect or to answer a command.",
  },
  down_after_ms: {
    type: "int",
    default: 3000,
    min: 200,
    max: 600_000,
    doc: "A server that has not answered for so long is down; so long scripts want a shorter lua-time-limit.",
  },
  failover: {
    type: "choice",
    default: "automatic",
    values: ["automatic", "manual", "sentinel"],
    doc:
      "Whether a dead primary is replaced by itself, by `shoal failover` only, " +
      "or by redis-sentinel processes, which are configured and followed.",
  },
  ...SENTINELS_CONFIG,
  quorum: {
    type: "int",
    default: 0,
    min: 0,
    max: 1000,
    doc: "Machines (on one: controllers and proxies) that must see a primary down. 0: more than half.",
  },
  safe_mode_groups: {
    type: "int",
    default: 0,
    min: 0,
    max: 4095,
    doc: "When more groups are silent at once, none is replaced by itself. 0: half, from 3 groups on.",
  },
  replication_login: {
    type: "choice",
    default: "managed",
    values: ["managed", "off"],
    doc: "managed: replicas sign in by a user of ours, so that none copies an empty primary. off: not.",
  },
  notify_webhook: {
    type: "string",
    default: "",
    secret: true,
    doc: "URL that events which a person should know of are posted to, as JSON. Empty: none.",
  },
  notify_script: {
    type: "string",
    default: "",
    doc: "Program that is run for each of those events, the JSON on its standard input. Empty: none.",
  },
  notify_timeout_ms: {
    type: "int",
    default: 5000,
    min: 100,
    max: 300_000,
    doc: "How long webhook and script may take.",
  },
  sentinel_listen: {
    type: "string",
    default: "",
    doc: "Where Sentinel clients are answered: host:port. Not loopback: needs a password. Empty: nowhere.",
  },
  sentinel_name: {
    type: "string",
    default: "",
    doc: "The master name that stands for the whole cluster to Sentinel clients. Empty: the cluster's name.",
  },
  sentinel_password: {
    type: "string",
    default: "",
    secret: true,
    doc: "What Sentinel clients must show. Empty: none.",
  },
  server_username: {
    type: "string",
    default: "",
    doc: "User name towards the redis-servers. Empty: the default user.",
  },
  server_password: {
    type: "string",
    default: "",
    secret: true,
    doc: "Password towards the redis-servers. Empty: none.",
  },
  server_tls: {
    type: "bool",
    default: false,
    doc: "Whether the controller goes to the redis-servers by TLS: all of them, at the ports of the groups.",
  },
  server_tls_ca_file: {
    type: "string",
    default: "",
    doc: "Who may have signed the servers' certificates (PEM). Empty: those that the machine trusts.",
  },
  server_tls_cert_file: {
    type: "string",
    default: "",
    doc: "The certificate that the controller shows to servers which want one (PEM). Empty: none.",
  },
  server_tls_key_file: {
    type: "string",
    default: "",
    doc: "The private key of that certificate (PEM).",
  },
  server_tls_verify: {
    type: "choice",
    default: "ca",
    values: ["ca", "name", "none"],
    doc:
      "What of a server's certificate is checked: ca (who has signed it), " +
      "name (also that it is for the address of the group), none.",
  },
  log_level: {
    type: "choice",
    default: "info",
    values: ["debug", "info", "warn", "error"],
    doc: "The least important lines that are still logged.",
  },
} as const satisfies ConfigTable;

export interface ControllerConfig extends ConfigOf<typeof CONTROLLER_CONFIG> {
  /** What an empty store is filled with; empty when the store is expected to hold a cluster. */
  readonly groups: readonly GroupSpec[];
  /** Likewise: the cluster-wide options of a new cluster. */
  readonly options: ClusterSpec["options"];
}

/** For `--help-config`. */
export function helpControllerConfig(): string {
  return helpConfig(CONTROLLER_CONFIG, "Configuration of shoal controller") + helpNewCluster();
}

/**
 * Checks what a TOML parser made of controller.toml, including the rules that span keys.
 * @throws ShoalError CONFIG
 */
export function parseControllerConfig(
  values: Readonly<Record<string, unknown>>,
  source: ConfigSource,
): ControllerConfig {
  const { cluster, ...others } = values as { cluster?: Record<string, unknown> };
  const { groups, options, ...clusterOthers } = cluster ?? {};
  const rows = parseConfig(
    CONTROLLER_CONFIG,
    cluster === undefined ? others : { ...others, cluster: clusterOthers },
    source,
  );
  const config: ControllerConfig = {
    ...rows,
    groups: groups === undefined ? [] : parseGroups(groups, source),
    options: options === undefined ? {} : parseOptions(options, source),
  };
  if (!/^[A-Za-z0-9._-]{1,64}$/.test(config.id)) {
    throw configError(
      source,
      "id",
      `${JSON.stringify(config.id)}: want 1 to 64 letters, digits, "-", "_" or "."`,
    );
  }
  checkListen(config, source);
  checkSentinels(config, source);
  if (config.groups.length > 0) {
    // The same check as at the creation, so that a mistake is found at the start and not by the first leader.
    try {
      createTopology(clusterSpecOf(config), 1);
    } catch (error) {
      throw configError(source, "cluster.groups", errorTextOf(error));
    }
  }
  return config;
}

/** Where to listen. Port 0 (any free one) is for tests. */
export function listenOf(config: ControllerConfig): { host: string; port: number } {
  return addressOf(config.listen);
}

/** An address of the configuration, which has been checked: unlike elsewhere, port 0 is one. */
export function addressOf(address: string): { host: string; port: number } {
  const port = Number(address.slice(address.lastIndexOf(":") + 1));
  return { host: parseAddress(address.replace(/:0$/, ":1")).host, port };
}

/** How the controller goes to the servers by TLS; null: it does not. Files are read by the transport only. */
export function serverTlsOf(config: ControllerConfig): TlsClientOptions | null {
  if (!config.server_tls) return null;
  return {
    caFile: config.server_tls_ca_file,
    certFile: config.server_tls_cert_file,
    keyFile: config.server_tls_key_file,
    verify: config.server_tls_verify,
  };
}

/** What an empty store is filled with. */
export function clusterSpecOf(config: ControllerConfig): ClusterSpec {
  return {
    name: config["cluster.name"],
    slots: config["cluster.slots"],
    groups: config.groups,
    options: config.options,
  };
}

/** Whoever reaches the API can change the cluster: not without a token, unless it is this machine only. */
function checkListen(config: ControllerConfig, source: ConfigSource): void {
  const host = hostOf(config.listen, "listen", source);
  if (config.advertise !== "") hostOf(config.advertise, "advertise", source);
  if (!isLoopback(host) && config.token === "") {
    throw configError(
      source,
      "listen",
      `${config.listen} is not loopback: set token, or listen on 127.0.0.1`,
    );
  }
  const { sentinel_listen: sentinel } = config;
  if (sentinel === "") return;
  const sentinelHost = hostOf(sentinel, "sentinel_listen", source);
  if (sentinel === config.listen || sentinel.endsWith(":0")) {
    throw configError(source, "sentinel_listen", `${sentinel}: want a port of its own`);
  }
  if (!isLoopback(sentinelHost) && config.sentinel_password === "") {
    const what = `${sentinel} is not loopback: set sentinel_password, or listen on 127.0.0.1`;
    throw configError(source, "sentinel_listen", what);
  }
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127\.\d+\.\d+\.\d+$/.test(host);
}

/** Port 0 (any free one) is allowed for tests. */
function hostOf(address: string, key: string, source: ConfigSource): string {
  try {
    return parseAddress(address.replace(/:0$/, ":1")).host;
  } catch {
    throw configError(source, key, `${JSON.stringify(address)}: want host:port`);
  }
}
