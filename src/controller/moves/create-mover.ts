/** The mover and the proxies' logins, put together from what the controller has. */
import type { RedisEnv, ServerConnectionOptions } from "../../redis/server-connection.ts";
import type { ClusterState } from "../cluster-state.ts";
import type { ControllerConfig } from "../controller-config.ts";
import type { EventLog } from "../events.ts";
import type { Health } from "../health.ts";
import { ProxyLogins } from "../logins/proxy-logins.ts";
import type { MapHub } from "../map-hub.ts";
import type { ProxyRegistry } from "../proxy-registry.ts";
import { Mover } from "./mover.ts";

export interface MoverNeeds {
  readonly env: RedisEnv;
  readonly config: ControllerConfig;
  readonly state: ClusterState;
  readonly health: Health;
  readonly events: EventLog;
  readonly proxies: ProxyRegistry;
  readonly hub: MapHub;
  /** Who the controller is at the servers. */
  readonly credentials: ServerConnectionOptions["credentials"];
}

/** The logins come first: they run before the mover does, and stop after it. */
export function createMover(needs: MoverNeeds): { readonly logins: ProxyLogins; readonly mover: Mover } {
  const { config } = needs;
  const logins = new ProxyLogins({ ...needs, managed: config.proxy_logins === "managed" });
  const options = {
    lockTimeoutMs: config.lock_timeout_ms,
    callMs: config.move_call_ms,
    blockLimitMs: config.move_block_limit_ms,
    latencyBoundMs: config.move_latency_bound_ms,
    serverTimeoutMs: config.server_timeout_ms,
    credentials: needs.credentials,
  };
  return { logins, mover: new Mover({ ...needs, logins, options }) };
}
