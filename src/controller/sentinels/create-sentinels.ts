/** The sentinels of a controller, as its configuration names them; null when it replaces primaries itself. */
import type { RedisEnv } from "../../redis/server-connection.ts";
import type { ControllerConfig } from "../controller-config.ts";
import { Sentinels, type SentinelsParts } from "./sentinels.ts";
import type { SentinelCredentials } from "./sentinel-feed.ts";

export function createSentinels(
  env: RedisEnv,
  parts: SentinelsParts,
  config: ControllerConfig,
): Sentinels | null {
  if (config.failover !== "sentinel") return null;
  const majority = Math.floor(config.sentinels.length / 2) + 1;
  return new Sentinels(env, parts, {
    addresses: config.sentinels,
    credentials: credentialsOf(config.sentinels_username, config.sentinels_password),
    settings: {
      quorum: config.sentinels_quorum === 0 ? majority : config.sentinels_quorum,
      downAfterMs: config.down_after_ms,
      failoverTimeoutMs: config.sentinels_failover_timeout_ms,
      credentials: credentialsOf(config.server_username, config.server_password),
    },
  });
}

function credentialsOf(user: string, password: string): SentinelCredentials | null {
  return password === "" ? null : { user: user === "" ? null : user, password };
}
