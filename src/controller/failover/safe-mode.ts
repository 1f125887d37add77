/**
 * Whether this controller trusts its own eyes: when too much looks dead at once, it is more likely the one
 * that is cut off, and no primary is replaced by itself.
 *
 *   every turn ──▶ states of all primaries, leases of all proxies ──▶ safeModeReasons (pure) ──▶ events
 *   a primary shall be replaced ──▶ surveyed()? ──no──▶ look at all that seem to live, up to SURVEY_MS
 *
 * Primaries are looked at one by one, each on its own schedule, so those that fall silent together are down
 * one after the other: the first would be replaced before the next one is even suspect. Hence the survey,
 * right before anything is done. Rejected: a pause after the first death, to see what follows. It would have
 * to be as long as a look may take, and every failover would wait for it; a survey of living servers takes
 * milliseconds.
 */
import type { Env } from "../../env/env.ts";
import { withTimeLimit } from "../../env/time-limit.ts";
import { type FleetView, safeModeReasons } from "../../topology/agreement.ts";
import { type TopologyGroup, primaryOf } from "../../topology/cluster-topology.ts";
import { type ServerObservation, observationOf } from "../../topology/group-health.ts";
import type { ClusterState } from "../cluster-state.ts";
import type { EventLog } from "../events.ts";
import type { Health } from "../health.ts";
import type { ProxyRegistry } from "../proxy-registry.ts";

/** A primary that needs longer for an answer counts as silent for the decision at hand. */
export const SURVEY_MS = 500;

/** What a survey has found is true for so long: groups that are dead together share one. */
const SURVEY_FRESH_MS = 200;

export interface SafeModeParts {
  readonly state: ClusterState;
  readonly health: Health;
  readonly events: EventLog;
  readonly proxies: ProxyRegistry;
}

export class SafeMode {
  readonly #env: Pick<Env, "clock" | "timers">;
  readonly #parts: SafeModeParts;
  readonly #groupsMax: number;
  #reasons: readonly string[] = [];
  /** What was known of those that did not answer the survey; anything newer replaces its finding. */
  #silent: ReadonlyMap<string, ServerObservation> = new Map();
  #surveyedMs = -Infinity;
  #surveying = false;

  /** `groupsMax`: see {@link FleetView.safeModeGroups}. */
  constructor(env: Pick<Env, "clock" | "timers">, parts: SafeModeParts, groupsMax: number) {
    this.#env = env;
    this.#parts = parts;
    this.#groupsMax = groupsMax;
  }

  /** Why nobody is replaced by itself; empty: they are. */
  get reasons(): readonly string[] {
    if (this.#parts.state.leading) return this.#reasons;
    const { leader } = this.#parts.state;
    return leader === null ? ["no controller leads, so nobody replaces a primary: look at the store"] : [];
  }

  /** A leader judges anew; an event when it begins or ends. */
  judge(groups: readonly TopologyGroup[]): void {
    const before = this.#reasons;
    this.#reasons = this.#judged(groups);
    if (before.length === 0 && this.#reasons.length > 0) {
      this.#parts.events.add("safe-mode", { reason: this.#reasons.join("; ") });
    } else if (before.length > 0 && this.#reasons.length === 0) {
      this.#parts.events.add("safe-mode-over");
    }
  }

  /**
   * Whether all primaries have just been looked at. If not, that begins: to be asked again at the next turn.
   */
  surveyed(groups: readonly TopologyGroup[]): boolean {
    if (this.#env.clock.nowMs() - this.#surveyedMs <= SURVEY_FRESH_MS) return true;
    if (!this.#surveying) void this.#survey(groups);
    return false;
  }

  async #survey(groups: readonly TopologyGroup[]): Promise<void> {
    this.#surveying = true;
    const { health } = this.#parts;
    const living = groups
      .map((group) => primaryOf(group).addr)
      .filter((addr) => observationOf(health.observations, addr).state === "up");
    const silent = new Map<string, ServerObservation>();
    const looks = living.map(async (addr) => {
      const look = health.look(addr).then(({ state }) => state === "up");
      if (await withTimeLimit(this.#env.timers, SURVEY_MS, look, false)) return;
      silent.set(addr, observationOf(health.observations, addr));
    });
    await Promise.all(looks);
    this.#silent = silent;
    this.#surveyedMs = this.#env.clock.nowMs();
    this.#surveying = false;
  }

  #judged(groups: readonly TopologyGroup[]): string[] {
    const { health, proxies } = this.#parts;
    const seen = groups.map((group) => {
      const { addr } = primaryOf(group);
      return { addr, observation: observationOf(health.observations, addr) };
    });
    // A moment of silence everywhere is no reason to alarm anybody.
    if (!seen.some(({ observation }) => observation.state === "down")) return [];
    const silent = seen.filter(({ addr, observation }) => {
      const { state } = observation;
      return state === "down" || state === "suspect" || this.#silent.get(addr) === observation;
    });
    const all = proxies.all();
    const fleet: FleetView = {
      groups: groups.length,
      silentGroups: silent.length,
      safeModeGroups: this.#groupsMax,
      proxiesServing: all.filter((proxy) => proxy.state === "serving").length,
      proxiesLost: all.filter((proxy) => proxy.state === "lost").length,
    };
    return safeModeReasons(fleet);
  }
}
