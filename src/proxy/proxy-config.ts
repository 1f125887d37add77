/**
 * The proxy's configuration: one row per key. `shoal proxy --help-config` prints it, proxy.toml is checked
 * against it, and the master hands the result to its workers.
 */
import {
  type ConfigOf,
  type ConfigSource,
  type ConfigTable,
  configError,
  parseConfig,
} from "../base/config-table.ts";
import { parseAddress } from "../topology/cluster-map.ts";
import { hashPasswords, readUsers } from "./users/user-lines.ts";

export const PROXY_CONFIG = {
  id: {
    type: "string",
    default: "p1",
    doc: "Name of this proxy in the cluster; no other proxy may have it.",
  },
  listen: {
    type: "string",
    default: "127.0.0.1:19000",
    doc: "Where clients connect to: host:port. An address that is not loopback needs requirepass (or users).",
  },
  zone: {
    type: "string",
    default: "",
    doc: "Where this proxy stands, as servers' zones are named: read_from = nearest prefers its own zone.",
  },
  machine: {
    type: "string",
    default: "",
    doc: "Names the machine: observers on one count as one when servers look dead. Empty: by the kernel.",
  },
  tls_listen: {
    type: "string",
    default: "",
    doc: "Where clients connect to by TLS: host:port. Empty: nowhere. With it, listen may be empty.",
  },
  tls_cert_file: {
    type: "string",
    default: "",
    doc: "The proxy's certificate, with those between it and the CA (PEM), for tls_listen.",
  },
  tls_key_file: {
    type: "string",
    default: "",
    doc: "The private key of that certificate (PEM).",
  },
  tls_ca_file: {
    type: "string",
    default: "",
    doc: "Who may have signed the certificates of clients (PEM). Empty: those that the machine trusts.",
  },
  tls_auth_clients: {
    type: "choice",
    default: "no",
    values: ["no", "optional", "required"],
    doc: "Whether clients by TLS show a certificate: no, optional (but a good one), required.",
  },
  workers: {
    type: "int",
    default: 1,
    min: 1,
    max: 256,
    doc: "Worker processes that share the port. One per core that is free for the proxy.",
  },
  io: {
    type: "choice",
    default: "auto",
    values: ["auto", "epoll", "portable"],
    doc: "Transport: epoll calls Linux directly, portable works everywhere, auto takes epoll where it can.",
  },
  busy_poll_us: {
    type: "int",
    default: 100,
    min: 0,
    max: 1000,
    doc:
      "Microseconds that a worker looks for events before it sleeps, while one client at a time waits for " +
      "its replies: saves wake-ups, costs CPU time that would be idle. 0: never. epoll only.",
  },
  controllers: {
    type: "list",
    default: [],
    doc: "The controllers' addresses: http://host:port. Any one that answers is enough.",
  },
  controller_token: {
    type: "string",
    default: "",
    secret: true,
    doc: "What the controllers want to be shown.",
  },
  map_file: {
    type: "string",
    default: "",
    doc: "A fixed map (JSON) instead of controllers, for benchmarks and tests.",
  },
  state_dir: {
    type: "string",
    default: "",
    doc: "Folder for the last map, so that the proxy starts while no controller answers. Empty: not kept.",
  },
  requirepass: {
    type: "string",
    default: "",
    secret: true,
    doc: "Password that clients must give. Empty: none.",
  },
  users: {
    type: "list",
    default: [],
    secret: true,
    doc:
      "Users, one text each, as in Redis's ACL file without the word user: a name, then rules " +
      '("alice on >secret ~orders:* +@read"). The default user is without password ' +
      "unless it has a line here, or requirepass is set.",
  },
  acl_forward: {
    type: "bool",
    default: true,
    doc:
      "Whether ACL SETUSER and DELUSER also change the users of every group's primary, " +
      "but for those that proxies and controllers are there: default, server_username, shoal-….",
  },
  restricted_scripts: {
    type: "bool",
    default: false,
    doc:
      "Whether users with limited rights may run scripts and functions. " +
      "The servers run them with the proxy's rights: only the keys that they declare are checked.",
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
    doc: "Whether the proxy goes to the redis-servers by TLS: all of them, at the ports that the map names.",
  },
  server_tls_ca_file: {
    type: "string",
    default: "",
    doc: "Who may have signed the servers' certificates (PEM). Empty: those that the machine trusts.",
  },
  server_tls_cert_file: {
    type: "string",
    default: "",
    doc: "The certificate that the proxy shows to servers which want one (PEM). Empty: none.",
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
      "name (also that it is for the address which the map names), none.",
  },
  server_timeout_ms: {
    type: "int",
    default: 3000,
    min: 10,
    max: 600_000,
    doc:
      "A server that owes a reply and sends nothing for so long counts as hung: " +
      "its connection is closed, its requests fail.",
  },
  server_connect_timeout_ms: {
    type: "int",
    default: 1000,
    min: 10,
    max: 60_000,
    doc: "Bound for connecting to a server.",
  },
  hold_timeout_ms: {
    type: "int",
    default: 10_000,
    min: 0,
    max: 600_000,
    doc:
      "How long requests wait for a group whose primary is lost, counted from the loss; then they fail at " +
      "once until it is back. 0: they fail at once. The cluster's option of the same name goes before it.",
  },
  reconnect_backoff_ms_min: {
    type: "int",
    default: 50,
    min: 1,
    max: 60_000,
    doc: "Pause before the second attempt to reach a server; it doubles with each failure, with jitter.",
  },
  reconnect_backoff_ms_max: {
    type: "int",
    default: 1000,
    min: 1,
    max: 60_000,
    doc: "The longest such pause.",
  },
  clients_max: {
    type: "int",
    default: 20_000,
    min: 1,
    max: 1_000_000,
    doc: "Client connections per worker. One more gets an error and is closed.",
  },
  client_in_flight_max: {
    type: "int",
    default: 1000,
    min: 1,
    max: 1_000_000,
    doc:
      "Requests of one client that may wait for their replies; " +
      "then its connection is not read until some are answered.",
  },
  client_output_bytes_max: {
    type: "int",
    default: 256 << 20,
    min: 1 << 20,
    max: 2 ** 40,
    doc: "Reply bytes that may wait for a client that does not read them; beyond it is closed.",
  },
  client_request_bytes_max: {
    type: "int",
    default: 600 << 20,
    min: 1 << 20,
    max: 2 ** 31 - 1,
    doc:
      "Bytes of one request that are collected; a client that sends more gets a protocol error. " +
      "Values over 1 MiB in commands with one key are passed on as they arrive and do not count.",
  },
  client_idle_timeout_s: {
    type: "int",
    default: 0,
    min: 0,
    max: 31_536_000,
    doc: "A client that sends nothing for so long is closed. 0: never.",
  },
  drain_timeout_ms: {
    type: "int",
    default: 10_000,
    min: 0,
    max: 3_600_000,
    doc: "On SIGTERM: how long clients may take to get their replies before the connections are cut.",
  },
  enable_debug: {
    type: "bool",
    default: false,
    doc: "Whether clients may use DEBUG. It can stop a server for everybody: for tests only.",
  },
  subscribe_at: {
    type: "choice",
    default: "slot",
    values: ["slot", "all-groups"],
    doc:
      "Where channels are subscribed: at the group of the channel's slot, which is where PUBLISH goes; " +
      "or at all groups, to hear also what scripts publish, each at the server that runs it.",
  },
  log_level: {
    type: "choice",
    default: "info",
    values: ["debug", "info", "warn", "error"],
    doc: "The least important lines that are still logged.",
  },
} as const satisfies ConfigTable;

export type ProxyConfig = ConfigOf<typeof PROXY_CONFIG>;

/**
 * Checks what a TOML parser made of proxy.toml, including the rules that span keys.
 * @throws ShoalError CONFIG
 */
export function parseProxyConfig(
  values: Readonly<Record<string, unknown>>,
  source: ConfigSource,
): ProxyConfig {
  const config = parseConfig(PROXY_CONFIG, values, source);
  if (config.controllers.length === 0 && config.map_file === "") {
    throw configError(
      source,
      "controllers",
      "empty: the proxy needs a controller (or a map_file) to get its map from",
    );
  }
  for (const url of config.controllers) {
    if (!/^https?:\/\/[^/]+\/?$/.test(url)) {
      throw configError(source, "controllers", `${JSON.stringify(url)}: want http://host:port`);
    }
  }
  if (!/^[A-Za-z0-9._-]{1,64}$/.test(config.id)) {
    throw configError(
      source,
      "id",
      `${JSON.stringify(config.id)}: want 1 to 64 letters, digits, "-", "_" or "."`,
    );
  }
  if (config.reconnect_backoff_ms_min > config.reconnect_backoff_ms_max) {
    throw configError(source, "reconnect_backoff_ms_min", "larger than reconnect_backoff_ms_max");
  }
  const users = readUsers(config.users, config.requirepass);
  if (typeof users === "string") throw configError(source, "users", users);
  checkListen(config, source, users.get("default")?.open === true);
  checkTls(config, source);
  return { ...config, users: hashPasswords(config.users) };
}

/**
 * Whoever reaches the port can read and delete everything: not without a password or a certificate, unless it
 * is this machine only. `open`: whether clients need no password.
 */
function checkListen(config: ProxyConfig, source: ConfigSource, open: boolean): void {
  if (config.listen === "" && config.tls_listen === "") {
    throw configError(source, "listen", "empty, and so is tls_listen: clients could not connect");
  }
  for (const key of ["listen", "tls_listen"] as const) {
    const address = config[key];
    if (address === "") continue;
    const certified = key === "tls_listen" && config.tls_auth_clients === "required";
    if (isLoopback(hostOf(address, key, source)) || !open || certified) continue;
    throw configError(source, key, `${address} is not loopback: set requirepass, or listen on 127.0.0.1`);
  }
}

function hostOf(address: string, key: string, source: ConfigSource): string {
  try {
    return parseAddress(address).host;
  } catch {
    throw configError(source, key, `${JSON.stringify(address)}: want host:port`);
  }
}

/** TLS needs a certificate and its key together; a file that nothing uses is a mistake. */
function checkTls(config: ProxyConfig, source: ConfigSource): void {
  if (config.tls_listen !== "" && (config.tls_cert_file === "" || config.tls_key_file === "")) {
    throw configError(source, "tls_listen", "needs tls_cert_file and tls_key_file");
  }
  if (config.tls_listen === "" && config.tls_cert_file !== "") {
    throw configError(source, "tls_cert_file", "is set, but tls_listen is not");
  }
  if ((config.server_tls_cert_file === "") !== (config.server_tls_key_file === "")) {
    throw configError(source, "server_tls_cert_file", "and server_tls_key_file belong together");
  }
  if (!config.server_tls && config.server_tls_ca_file !== "") {
    throw configError(source, "server_tls_ca_file", "is set, but server_tls is not true");
  }
}

/** Whether only processes of this machine can reach the host. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127\.\d+\.\d+\.\d+$/.test(host);
}
