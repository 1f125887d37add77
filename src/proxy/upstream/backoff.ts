/**
 * When to try a server again: at once is a storm, never is an outage. The pause doubles up to a bound, and
 * half of it is drawn by lot, so that the workers of a fleet don't come back in step.
 */
import type { Env, Timer } from "../../env/env.ts";
import type { ProxyConfig } from "../proxy-config.ts";

export class Backoff {
  readonly #env: Env;
  readonly #config: ProxyConfig;
  #pauseMs = 0;
  #timer: Timer | null = null;

  constructor(env: Env, config: ProxyConfig) {
    this.#env = env;
    this.#config = config;
  }

  /** Calls `run` after the present pause and doubles it. */
  schedule(run: () => void): void {
    const { reconnect_backoff_ms_min, reconnect_backoff_ms_max } = this.#config;
    this.#pauseMs = Math.min(reconnect_backoff_ms_max, Math.max(reconnect_backoff_ms_min, this.#pauseMs * 2));
    const pauseMs = this.#pauseMs / 2 + (this.#env.random.fraction() * this.#pauseMs) / 2;
    this.#timer?.cancel();
    this.#timer = this.#env.timers.after(pauseMs, run);
  }

  /** It worked: the next failure starts from the shortest pause. */
  reset(): void {
    this.#pauseMs = 0;
  }

  cancel(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }
}
