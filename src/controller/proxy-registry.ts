/**
 * The proxies, by their reports. A report renews the proxy's lease; who does not report for a whole lease is
 * lost.
 *
 *   (new) ──report──▶ serving | draining ──lease over──▶ lost ──report──▶ serving
 *                        └─ draining, lease over ──▶ forgotten: it has drained and gone
 *
 * In memory only: after a restart of the controller every living proxy has reported again within a second.
 */
import { ShoalError } from "../base/shoal-error.ts";
import type { ProxyReport, ProxyState } from "../contract/schemas.ts";
import type { Env, Timer } from "../env/env.ts";
import type { EventLog } from "./events.ts";
import type { Service } from "./service.ts";

/** A proxy as status and metrics show it. */
export interface KnownProxy {
  readonly id: string;
  readonly state: ProxyState;
  readonly report: ProxyReport;
}

/** Proxies that are kept; one more is refused. */
export const PROXIES_MAX = 4096;

/** A lost proxy is shown for so long: somebody should see that it is missing. */
const LOST_SHOWN_MS = 15 * 60_000;

/** How late a lost lease may be noticed. */
const CHECK_PERIOD_MS = 250;

interface Entry {
  report: ProxyReport;
  /** By the monotonic clock: a lease must not end because somebody set the time. */
  reportedMs: number;
  lost: boolean;
}

export class ProxyRegistry implements Service {
  readonly #env: Pick<Env, "clock" | "timers">;
  readonly #events: EventLog;
  readonly #leaseMs: number;
  readonly #entries = new Map<string, Entry>();
  readonly #listeners = new Set<(proxy: KnownProxy) => void>();
  #timer: Timer | null = null;

  constructor(env: Pick<Env, "clock" | "timers">, events: EventLog, leaseMs: number) {
    this.#env = env;
    this.#events = events;
    this.#leaseMs = leaseMs;
  }

  get leaseMs(): number {
    return this.#leaseMs;
  }

  /** Called after each report; what comes back ends that. */
  onReport(listener: (proxy: KnownProxy) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Milliseconds since its last report; null for one that has never reported here. */
  silentMs(id: string): number | null {
    const entry = this.#entries.get(id);
    return entry === undefined ? null : this.#env.clock.nowMs() - entry.reportedMs;
  }

  /** A person says that it is gone for good. Whether it was known comes back. */
  forget(id: string): boolean {
    return this.#entries.delete(id);
  }

  async run(): Promise<void> {
    this.#timer = this.#env.timers.every(CHECK_PERIOD_MS, () => this.#check());
  }

  async drain(): Promise<void> {}

  async stop(): Promise<void> {
    this.#timer?.cancel();
  }

  /** @throws ShoalError INVALID_ARGUMENT for an id that is none, LIMIT */
  accept(id: string, report: ProxyReport): void {
    if (!/^[A-Za-z0-9._-]{1,64}$/.test(id)) {
      throw new ShoalError(
        "INVALID_ARGUMENT",
        `Cannot take the report of proxy ${JSON.stringify(id)}: no valid id`,
      );
    }
    const known = this.#entries.get(id);
    if (known === undefined && this.#entries.size >= PROXIES_MAX) {
      throw new ShoalError(
        "LIMIT",
        `Cannot take the report of proxy ${id}: ${PROXIES_MAX} proxies are known already`,
      );
    }
    // Another pid under the same id is a restart, whether or not the lease of the first one has run out.
    const again = known === undefined || known.lost || known.report.pid !== report.pid;
    this.#entries.set(id, { report, reportedMs: this.#env.clock.nowMs(), lost: false });
    if (again) this.#events.add("proxy-joined", { proxy: id, addr: report.addr, pid: report.pid });
    for (const listener of this.#listeners) listener({ id, report, state: report.state });
  }

  /** In the order of their ids. */
  all(): KnownProxy[] {
    const proxies: KnownProxy[] = [];
    for (const [id, { report, lost }] of this.#entries) {
      proxies.push({ id, report, state: lost ? "lost" : report.state });
    }
    return proxies.sort((a, b) => a.id.localeCompare(b.id, "en", { numeric: true }));
  }

  #check(): void {
    const nowMs = this.#env.clock.nowMs();
    for (const [id, entry] of this.#entries) {
      const silentMs = nowMs - entry.reportedMs;
      if (silentMs <= this.#leaseMs) continue;
      // Who said that it drains and is silent has ended as it should: nobody has to look for it.
      if (entry.report.state === "draining") {
        this.#entries.delete(id);
        this.#events.add("proxy-left", { proxy: id });
      } else if (silentMs > LOST_SHOWN_MS && (entry.report.login ?? null) !== null) {
        // One without a login can't be shut out: it is kept until a person says that it is dead (`forget`).
        this.#entries.delete(id);
      } else if (!entry.lost) {
        entry.lost = true;
        this.#events.add("proxy-lost", {
          proxy: id,
          addr: entry.report.addr,
          silentMs: Math.round(silentMs),
        });
      }
    }
  }
}
