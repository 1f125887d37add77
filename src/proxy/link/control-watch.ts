/**
 * Whether this proxy still has a lease, as far as it can know.
 *
 *   report sent at t ─▶ answered ─▶ held until t + lease ─▶ lost ─▶ (a later report is answered) ─▶ held
 *
 * Counted from the sending: the controller counts from when it came, so the proxy is never the later one to
 * call the lease over. A proxy that starts without any controller has the first lease to find one.
 */
import type { Env, Timer } from "../../env/env.ts";

/** Before the first answer has said how long a lease is. */
const LEASE_MS_DEFAULT = 5000;
const CHECK_MS = 100;

export class ControlWatch {
  lost = false;
  readonly #env: Pick<Env, "clock" | "timers">;
  readonly #onChange: (lost: boolean) => void;
  readonly #timer: Timer;
  #leaseMs = LEASE_MS_DEFAULT;
  #renewedMs: number;

  constructor(env: Pick<Env, "clock" | "timers">, onChange: (lost: boolean) => void) {
    this.#env = env;
    this.#onChange = onChange;
    this.#renewedMs = env.clock.nowMs();
    this.#timer = env.timers.every(CHECK_MS, () => this.#check());
  }

  /** A report that was sent at `sentMs` was answered: it has renewed the lease. */
  renewed(sentMs: number, leaseMs: number): void {
    this.#renewedMs = Math.max(this.#renewedMs, sentMs);
    this.#leaseMs = leaseMs;
    this.#check();
  }

  stop(): void {
    this.#timer.cancel();
  }

  #check(): void {
    const lost = this.#env.clock.nowMs() - this.#renewedMs > this.#leaseMs;
    if (lost === this.lost) return;
    this.lost = lost;
    this.#onChange(lost);
  }
}
