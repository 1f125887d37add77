/**
 * Asks a server that is not of the cluster (yet) what it is, over a connection of its own that is closed
 * afterwards, and refuses what can't be a server of a cluster.
 */
import { ShoalError, errorCodeOf, errorTextOf } from "../../base/shoal-error.ts";
import { RedisServer } from "../../redis/redis-server.ts";
import type { RedisEnv, ServerConnectionOptions } from "../../redis/server-connection.ts";
import { type ServerInfo, parseInfoFields, parseServerInfo } from "../../redis/server-info.ts";
import { parseAddress } from "../../topology/cluster-map.ts";

/** How the controller speaks to servers. */
export interface AskOptions {
  readonly credentials: ServerConnectionOptions["credentials"];
  /** For connecting and for each command. */
  readonly timeoutMs: number;
}

/** The oldest server that has what Shoal needs. */
const VERSION_MAJOR_MIN = 5;

export interface ServerFacts extends ServerInfo {
  readonly addr: string;
  /** "redis" or "valkey". */
  readonly product: string;
  readonly versionMajor: number;
}

/**
 * @throws ShoalError INVALID_ARGUMENT for no address, UNREACHABLE, TIMEOUT or SERVER_REPLY when it gives no
 * answer, CONFLICT when it is no plain Redis server; `action` ("add server h:1 to group g1") begins the
 * message
 */
export async function askServer(
  env: RedisEnv,
  options: AskOptions,
  addr: string,
  action: string,
): Promise<ServerFacts> {
  parseAddress(addr);
  return withServer(env, options, addr, async (server) => {
    let text: string;
    try {
      text = String(await server.command(["INFO"]));
    } catch (error) {
      throw unreachable(error, action);
    }
    const fields = parseInfoFields(text);
    const refuse = (why: string): never => {
      throw new ShoalError("CONFLICT", `Cannot ${action}: ${why}`);
    };
    if (fields.has("shoal_version")) refuse("it is a Shoal proxy; name a redis-server or valkey-server");
    if (fields.get("redis_mode") === "sentinel") refuse("it is a Redis Sentinel, which holds no keys");
    if (fields.get("cluster_enabled") === "1") {
      refuse("it runs in Redis Cluster mode; start it with `cluster-enabled no`");
    }
    const facts = factsOf(addr, fields, parseServerInfo(text));
    if (facts.versionMajor < VERSION_MAJOR_MIN) {
      refuse(`it is version ${facts.version}; Shoal needs ${VERSION_MAJOR_MIN}.0 or later`);
    }
    if (facts.loading) refuse("it is still loading its data; try again when it has started");
    return facts;
  });
}

/** A connection for `work`, closed after it: SELECT and long SCANs must not meet the health checks. */
export async function withServer<Result>(
  env: RedisEnv,
  options: AskOptions,
  addr: string,
  work: (server: RedisServer) => Promise<Result>,
): Promise<Result> {
  const { credentials, timeoutMs } = options;
  const server = new RedisServer(env, {
    address: addr,
    credentials,
    connectTimeoutMs: timeoutMs,
    commandTimeoutMs: timeoutMs,
  });
  try {
    return await work(server);
  } finally {
    server.close();
  }
}

function factsOf(addr: string, fields: ReadonlyMap<string, string>, info: ServerInfo): ServerFacts {
  const product = fields.get("server_name") ?? (fields.has("valkey_version") ? "valkey" : "redis");
  return { ...info, addr, product, versionMajor: Number.parseInt(info.version, 10) || 0 };
}

/** The reason without the command: a person added a server, and has not sent an INFO. */
function unreachable(error: unknown, action: string): ShoalError {
  const reason = errorTextOf(error).replace(/^Cannot send INFO to [^ ]+: (?:not sent: )?/, "");
  const next = /NOAUTH|WRONGPASS|credentials/.test(reason)
    ? "the controller signs in with server_username and server_password of its configuration"
    : "is it running, and does it listen on an address that the controllers and proxies can reach?";
  const code = errorCodeOf(error) ?? "UNREACHABLE";
  return new ShoalError(code, `Cannot ${action}: ${reason}; ${next}`, error);
}
