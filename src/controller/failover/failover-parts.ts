/** The parts of failover, put together: services in their order, and what the API asks of them. */
import type { Env } from "../../env/env.ts";
import type { HttpClient } from "../../env/http.ts";
import type { ScriptRunner } from "../../env/script-runner.ts";
import type { Store } from "../../store/store.ts";
import type { ClusterState } from "../cluster-state.ts";
import type { ControllerConfig } from "../controller-config.ts";
import type { EventLog } from "../events.ts";
import type { Health } from "../health.ts";
import type { ProxyRegistry } from "../proxy-registry.ts";
import type { Service } from "../service.ts";
import { EventStreams } from "./event-streams.ts";
import { Failover } from "./failover.ts";
import { Notifier } from "./notifier.ts";
import { Observers } from "./observers.ts";
import type { ReplicationLogins } from "./replication-logins.ts";
import { SightReporter } from "./sight-reporter.ts";
import { Switcher } from "./switcher.ts";

/** What it needs of the controller. */
export interface FailoverNeeds {
  readonly env: Pick<Env, "clock" | "timers" | "log"> & {
    readonly http?: HttpClient | null;
    readonly scripts?: ScriptRunner | null;
  };
  readonly config: ControllerConfig;
  readonly store: Store;
  readonly state: ClusterState;
  readonly events: EventLog;
  readonly health: Health;
  readonly proxies: ProxyRegistry;
  readonly logins: ReplicationLogins;
}

export interface FailoverParts {
  readonly services: readonly Service[];
  readonly failover: Failover;
  readonly observers: Observers;
  readonly streams: EventStreams;
}

export function createFailoverParts(needs: FailoverNeeds): FailoverParts {
  const { env, config, store, state, events, health, proxies, logins } = needs;
  const { id, token } = config;
  const http = env.http ?? null;
  const observers = new Observers(env, { id, state, store, health, proxies });
  const reporter = new SightReporter(env, http, state, health, { id, token: token === "" ? null : token });
  const notifier = new Notifier(env, { http, scripts: env.scripts ?? null }, events, {
    cluster: config["cluster.name"],
    controller: id,
    webhook: config.notify_webhook,
    script: config.notify_script,
    timeoutMs: config.notify_timeout_ms,
    leading: () => state.leading,
  });
  const streams = new EventStreams(env, events);
  const switcher = new Switcher(env, { state, health, events, logins });
  const failover = new Failover(
    env,
    { id, state, health, events, proxies, observers, switcher },
    {
      automatic: config.failover === "automatic",
      quorum: config.quorum,
      safeModeGroups: config.safe_mode_groups,
    },
  );
  return { services: [notifier, streams, observers, reporter, failover], failover, observers, streams };
}
