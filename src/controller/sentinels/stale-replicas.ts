/**
 * Has sentinels forget replicas that must not take over (toForget of sentinel-view.ts), while the primary
 * lives.
 *
 * SENTINEL RESET is the only way: the sentinel drops all replicas and all other sentinels of the group and
 * finds those again that its primary knows, within two seconds or so. In that time it is of no use, so one is
 * reset at a time, and only while all the others are complete.
 */
import type { Env } from "../../env/env.ts";
import { type ClusterTopology, type TopologyGroup, primaryOf } from "../../topology/cluster-topology.ts";
import { observationOf } from "../../topology/group-health.ts";
import { isTrustedPrimary } from "../../topology/promotion.ts";
import type { ClusterState } from "../cluster-state.ts";
import type { EventLog } from "../events.ts";
import type { Health } from "../health.ts";
import type { SentinelLink } from "./sentinel-link.ts";
import { monitorName, serverMeant, toForget } from "./sentinel-view.ts";

/** Pause between two looks for replicas that must be forgotten. */
const FORGET_PERIOD_MS = 1000;

/** The same address is not forgotten again before: something attaches it again and again. */
const FORGET_AGAIN_MS = 60_000;

export interface StaleReplicasParts {
  readonly state: ClusterState;
  readonly health: Health;
  readonly events: EventLog;
}

export class StaleReplicas {
  readonly #env: Pick<Env, "clock">;
  readonly #parts: StaleReplicasParts;
  readonly #links: readonly SentinelLink[];
  /** "sentinel name addr", by the monotonic clock. */
  readonly #forgottenAtMs = new Map<string, number>();
  #dueAtMs = 0;

  constructor(env: Pick<Env, "clock">, parts: StaleReplicasParts, links: readonly SentinelLink[]) {
    this.#env = env;
    this.#parts = parts;
    this.#links = links;
  }

  /** Right after all sentinels were asked. `aside`: groups that are let alone. */
  async turn(topology: ClusterTopology, aside: ReadonlySet<string>): Promise<void> {
    const nowMs = this.#env.clock.nowMs();
    if (nowMs < this.#dueAtMs) return;
    this.#dueAtMs = nowMs + FORGET_PERIOD_MS;
    for (const group of topology.groups) {
      if (group.switch !== undefined || aside.has(group.id)) continue;
      const name = monitorName(topology.cluster, group.id);
      if (this.#serves(group) && this.#complete(group, name)) await this.#forget(group, name);
    }
  }

  #serves(group: TopologyGroup): boolean {
    const seen = observationOf(this.#parts.health.observations, primaryOf(group).addr);
    return seen.state === "up" && seen.role === "primary" && isTrustedPrimary(group, seen);
  }

  #complete(group: TopologyGroup, name: string): boolean {
    return this.#links.every(({ sight }) => {
      const view = sight?.get(name);
      if (view === undefined || view.failoverUnderWay) return false;
      if (serverMeant(group, view.addr) !== primaryOf(group).addr) return false;
      return view.otherSentinels >= this.#links.length - 1;
    });
  }

  async #forget(group: TopologyGroup, name: string): Promise<void> {
    for (const link of this.#links) {
      const listed = await link.replicas(name);
      const unfit = toForget(group, this.#parts.health.observations, listed);
      const fit = listed.filter((one) => !unfit.includes(one));
      if (!this.#due(`${link.address} ${name}`, unfit, fit)) continue;
      await this.#parts.state.confirmLeading();
      await link.reset(name);
      const replicas = unfit.join(", ");
      this.#parts.events.add("sentinel-reset", { sentinel: link.address, group: group.id, replicas });
      return;
    }
  }

  /** Whether there is one that was not forgotten a moment ago. */
  #due(where: string, unfit: readonly string[], fit: readonly string[]): boolean {
    const nowMs = this.#env.clock.nowMs();
    for (const addr of fit) this.#forgottenAtMs.delete(`${where} ${addr}`);
    const due = unfit.filter((addr) => {
      const atMs = this.#forgottenAtMs.get(`${where} ${addr}`);
      return atMs === undefined || nowMs - atMs > FORGET_AGAIN_MS;
    });
    for (const addr of due) this.#forgottenAtMs.set(`${where} ${addr}`, nowMs);
    return due.length > 0;
  }
}
