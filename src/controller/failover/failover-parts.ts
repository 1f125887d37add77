/** The parts of failover, put together: services in their order, and what the API asks of them. */
import type { HttpClient } from "../../env/http.ts";
import type { ScriptRunner } from "../../env/script-runner.ts";
import type { RedisEnv } from "../../redis/server-connection.ts";
import type { Store } from "../../store/store.ts";
import type { ClusterState } from "../cluster-state.ts";
import type { ControllerConfig } from "../controller-config.ts";
import type { EventLog } from "../events.ts";
import type { Health } from "../health.ts";
import type { ProxyRegistry } from "../proxy-registry.ts";
import { createSentinels } from "../sentinels/create-sentinels.ts";
import type { Sentinels } from "../sentinels/sentinels.ts";
import type { Service } from "../service.ts";
import { EventStreams } from "./event-streams.ts";
import { Failover } from "./failover.ts";
import { Notifier } from "./notifier.ts";
import { Observers } from "./observers.ts";
import type { ReplicationLogins } from "./replication-logins.ts";
import { SightReporter } from "./sight-reporter.ts";
import { SwitchNews } from "./switch-news.ts";
import { Switcher } from "./switcher.ts";

/** What it needs of the controller. */
export interface FailoverNeeds {
  readonly env: RedisEnv & {
    readonly http?: HttpClient | null;
    readonly scripts?: ScriptRunner | null;
  };
  readonly config: ControllerConfig;
  /** Where this controller runs. */
  readonly machine: string;
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
  /** Null: primaries are replaced by ourselves. */
  readonly sentinels: Sentinels | null;
}

export function createFailoverParts(needs: FailoverNeeds): FailoverParts {
  const { env, config, machine, store, state, events, health, proxies, logins } = needs;
  const { id, token } = config;
  const http = env.http ?? null;
  const observers = new Observers(env, { id, machine, state, store, health, proxies });
  const shown = { id, machine, token: token === "" ? null : token };
  const reporter = new SightReporter(env, http, state, health, shown);
  const notifier = new Notifier(env, { http, scripts: env.scripts ?? null }, events, {
    cluster: config["cluster.name"],
    controller: id,
    webhook: config.notify_webhook,
    script: config.notify_script,
    timeoutMs: config.notify_timeout_ms,
    leading: () => state.leading,
  });
  const streams = new EventStreams(env, events);
  const sentinels = createSentinels(env, { state, health, events }, config);
  const switcher = new Switcher(env, { id, state, health, events, logins });
  const news = new SwitchNews(env, { id, state, events, retell: (event) => notifier.retell(event) });
  const failover = new Failover(
    env,
    { id, state, health, events, proxies, observers, switcher, news, sentinels },
    {
      automatic: config.failover !== "manual",
      quorum: config.quorum,
      safeModeGroups: config.safe_mode_groups,
    },
  );
  const services: Service[] = [notifier, streams, observers, reporter, failover];
  if (sentinels !== null) services.push(sentinels);
  return { services, failover, observers, streams, sentinels };
}
