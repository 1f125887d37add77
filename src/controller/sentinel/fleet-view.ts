/**
 * The proxies, as far as this controller knows. They report to the leader only, so a controller that follows
 * asks the leader again and again.
 *
 *   leads:   registry ────────────┐
 *   follows: leader's /status ────┴─▶ proxies ──▶ pick-proxy
 *
 * A new leader has heard of no proxy yet, and an answer that leaves one out is no news of its death: clients
 * that were sent elsewhere for a second would drop their connections twice. So whoever is not mentioned stays
 * what it was for a lease. The one that said it would go has then left; the others are lost.
 */
import { errorTextOf } from "../../base/shoal-error.ts";
import { fetchStatus } from "../../contract/client.ts";
import type { Env, Timer } from "../../env/env.ts";
import type { HttpClient } from "../../env/http.ts";
import type { ClusterState } from "../cluster-state.ts";
import { PROXIES_MAX, type ProxyRegistry } from "../proxy-registry.ts";
import type { Service } from "../service.ts";
import type { FleetProxy, FleetProxyState } from "./pick-proxy.ts";

/** As often as the registry itself looks for leases that have run out. */
const LEADING_PERIOD_MS = 250;
/** As often as proxies report. */
const FOLLOWING_PERIOD_MS = 1000;
const TIMEOUT_MS = 1000;

/** How long one that has gone is remembered. */
const FORGET_AFTER_MS = 15 * 60_000;

interface Known {
  readonly addr: string;
  readonly state: FleetProxyState;
  /** By the monotonic clock. */
  readonly mentionedMs: number;
}

export interface FleetParts {
  readonly http: HttpClient | null;
  readonly token: string | null;
  readonly state: ClusterState;
  readonly registry: ProxyRegistry;
}

export class FleetView implements Service {
  readonly #env: Pick<Env, "clock" | "timers" | "log">;
  readonly #parts: FleetParts;
  readonly #onChange: () => void;
  readonly #known = new Map<string, Known>();
  #proxies: readonly FleetProxy[] = [];
  #timer: Timer | null = null;
  #askedMs = -Infinity;
  #asking = false;

  constructor(env: Pick<Env, "clock" | "timers" | "log">, parts: FleetParts, onChange: () => void) {
    this.#env = env;
    this.#parts = parts;
    this.#onChange = onChange;
  }

  get proxies(): readonly FleetProxy[] {
    return this.#proxies;
  }

  async run(): Promise<void> {
    this.#timer = this.#env.timers.every(LEADING_PERIOD_MS, () => this.#turn());
  }

  async drain(): Promise<void> {}

  async stop(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = null;
  }

  #turn(): void {
    const { state, registry } = this.#parts;
    if (state.leading) {
      this.#take(registry.all().map(({ id, report, state: now }) => ({ id, addr: report.addr, state: now })));
    } else if (this.#env.clock.nowMs() - this.#askedMs >= FOLLOWING_PERIOD_MS) void this.#ask();
  }

  async #ask(): Promise<void> {
    const { http, token, state } = this.#parts;
    const { leader } = state;
    if (this.#asking || http === null || leader === null) return;
    this.#asking = true;
    this.#askedMs = this.#env.clock.nowMs();
    try {
      const url = `http://${leader.addr}`;
      const { proxies } = await fetchStatus(http, { url, token, timeoutMs: TIMEOUT_MS });
      if (this.#timer !== null && !state.leading) this.#take(proxies);
    } catch (error) {
      // What was known before stands.
      this.#env.log.debug("fleet-not-read", { leader: leader.id, reason: errorTextOf(error) });
    } finally {
      this.#asking = false;
    }
  }

  #take(mentioned: readonly FleetProxy[]): void {
    const nowMs = this.#env.clock.nowMs();
    for (const { id, addr, state } of mentioned.slice(0, PROXIES_MAX))
      this.#known.set(id, { addr, state, mentionedMs: nowMs });
    for (const [id, known] of this.#known) {
      const silentMs = nowMs - known.mentionedMs;
      if (silentMs > FORGET_AFTER_MS) this.#known.delete(id);
      else if (silentMs > this.#parts.registry.leaseMs) {
        const state = known.state === "draining" || known.state === "left" ? "left" : "lost";
        this.#known.set(id, { ...known, state });
      }
    }
    const before = JSON.stringify(this.#proxies);
    this.#proxies = [...this.#known].map(([id, { addr, state }]) => ({ id, addr, state }));
    if (JSON.stringify(this.#proxies) !== before) this.#onChange();
  }
}
