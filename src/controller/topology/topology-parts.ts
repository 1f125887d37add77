/** The commands on the topology, put together for the API. */
import type { RedisEnv } from "../../redis/server-connection.ts";
import type { ClusterState } from "../cluster-state.ts";
import type { EventLog } from "../events.ts";
import type { Health } from "../health.ts";
import type { ProxyRegistry } from "../proxy-registry.ts";
import type { Reconciler } from "../reconciler.ts";
import type { AskOptions } from "./ask-server.ts";
import { GroupCommands } from "./group-commands.ts";
import type { MoveStarter } from "./move-starter.ts";
import { RebalanceCommands } from "./rebalance-commands.ts";
import type { SlotRates } from "./slot-rates.ts";
import { TopologyLists } from "./topology-lists.ts";

export interface TopologyParts {
  readonly groups: GroupCommands;
  readonly rebalance: RebalanceCommands;
  readonly lists: TopologyLists;
}

/** What they need of the controller. */
export interface TopologyNeeds {
  readonly env: RedisEnv;
  readonly ask: AskOptions;
  readonly state: ClusterState;
  readonly events: EventLog;
  readonly health: Health;
  readonly reconciler: Reconciler;
  readonly proxies: ProxyRegistry;
  readonly rates: SlotRates;
  readonly mover: MoveStarter;
}

/** None of these keeps anything: there is nothing to start or to stop. */
export function createTopologyParts(needs: TopologyNeeds): TopologyParts {
  const { env, ask, state, events, health, reconciler, mover } = needs;
  const { observations } = health;
  return {
    groups: new GroupCommands({ env, ask, state, events, observations, proxies: () => needs.proxies.all() }),
    rebalance: new RebalanceCommands({ env, ask, state, mover, rates: needs.rates }),
    lists: new TopologyLists({
      state,
      observations,
      serverAt: (addr) => health.serverAt(addr),
      problems: () => reconciler.problems,
    }),
  };
}
