/**
 * A following controller tells the leader what it sees of the servers: at once when it changes, and
 * regularly.
 */
import type { ControllerTarget } from "../../contract/client.ts";
import { sendSights } from "../../contract/failover-client.ts";
import type { Env, Timer } from "../../env/env.ts";
import type { HttpClient } from "../../env/http.ts";
import { errorTextOf } from "../../base/shoal-error.ts";
import type { ServerObservation } from "../../topology/group-health.ts";
import type { ClusterState } from "../cluster-state.ts";
import type { Health } from "../health.ts";
import type { Service } from "../service.ts";
import type { Sight } from "./observers.ts";

/** Well within the time that a sight holds. */
const PERIOD_MS = 500;

/** The next report replaces a lost one, so waiting for long is of no use. */
const TIMEOUT_MS = 1000;

const DETAIL_CHARS_MAX = 200;

export interface ReporterOptions {
  /** This controller's name. */
  readonly id: string;
  /** Where it runs; see Vote.machine of topology/agreement.ts. */
  readonly machine: string;
  /** Null when the API asks for none. */
  readonly token: string | null;
}

export class SightReporter implements Service {
  readonly #env: Pick<Env, "clock" | "timers" | "log">;
  readonly #http: HttpClient | null;
  readonly #state: ClusterState;
  readonly #health: Health;
  readonly #options: ReporterOptions;
  #timer: Timer | null = null;
  #sending = false;
  #sentStates = "";

  constructor(
    env: Pick<Env, "clock" | "timers" | "log">,
    http: HttpClient | null,
    state: ClusterState,
    health: Health,
    options: ReporterOptions,
  ) {
    this.#env = env;
    this.#http = http;
    this.#state = state;
    this.#health = health;
    this.#options = options;
    health.onObserved(() => this.#onObserved());
  }

  async run(): Promise<void> {
    if (this.#http !== null) this.#timer = this.#env.timers.every(PERIOD_MS, () => void this.#send());
  }

  async drain(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = null;
  }

  async stop(): Promise<void> {
    await this.drain();
  }

  #onObserved(): void {
    if (this.#timer !== null && statesOf(this.#health.observations) !== this.#sentStates) void this.#send();
  }

  async #send(): Promise<void> {
    const { leader, leading } = this.#state;
    if (leading || leader === null || this.#sending || this.#http === null) return;
    this.#sending = true;
    this.#sentStates = statesOf(this.#health.observations);
    const target: ControllerTarget = {
      url: `http://${leader.addr}`,
      token: this.#options.token,
      timeoutMs: TIMEOUT_MS,
    };
    const nowMs = this.#env.clock.nowMs();
    const sights = [...this.#health.observations].map(([addr, seen]) => toSight(addr, seen, nowMs));
    try {
      const { id, machine } = this.#options;
      await sendSights(this.#http, target, id, { sights, machine });
    } catch (error) {
      this.#env.log.debug("sights-not-sent", { leader: leader.id, reason: errorTextOf(error) });
    } finally {
      this.#sending = false;
    }
  }
}

/**
 * A suspect may be slow: it is down when it has been silent for as long as the leader would want it to be.
 */
function toSight(addr: string, seen: ServerObservation, nowMs: number): Sight {
  if (seen.state === "up") return { addr, state: "up", sinceMs: 0, detail: "" };
  if (seen.state !== "down") return { addr, state: "unknown", sinceMs: 0, detail: "" };
  const sinceMs = Math.max(0, Math.round(nowMs - seen.sinceMs));
  return { addr, state: "down", sinceMs, detail: seen.reason.slice(0, DETAIL_CHARS_MAX) };
}

function statesOf(observations: ReadonlyMap<string, ServerObservation>): string {
  return [...observations].map(([addr, { state }]) => `${addr} ${state}`).join(",");
}
