/**
 * How often each slot was called lately, over all proxies: what `rebalance --by ops` weighs slots by.
 *
 *   report (totals since the proxy's start) ─ ─ totals before ─▶ calls since then ─▶ added up, fading away
 *
 * A sum that loses a tenth every ten seconds remembers about two minutes, in one number per slot. Rejected:
 * the totals themselves (last month's load would outweigh this hour's), and a ring of old reports (a copy of
 * every proxy's table for each of its places).
 */
import type { Env, Timer } from "../../env/env.ts";
import type { KnownProxy, ProxyRegistry } from "../proxy-registry.ts";
import type { Service } from "../service.ts";

const LOOK_PERIOD_MS = 10_000;
/** What is left of the sum after each look. */
const KEPT_SHARE = 0.9;

type SlotCalls = NonNullable<KnownProxy["report"]["slotCalls"]>;

export class SlotRates implements Service {
  readonly #env: Pick<Env, "timers">;
  readonly #proxies: Pick<ProxyRegistry, "all">;
  /** Totals of each proxy's process as of the last look. */
  #last = new Map<string, { readonly pid: number; readonly calls: SlotCalls }>();
  #sum = new Float64Array(0);
  #timer: Timer | null = null;

  constructor(env: Pick<Env, "timers">, proxies: Pick<ProxyRegistry, "all">) {
    this.#env = env;
    this.#proxies = proxies;
  }

  async run(): Promise<void> {
    this.#timer = this.#env.timers.every(LOOK_PERIOD_MS, () => this.look());
  }

  async drain(): Promise<void> {}

  async stop(): Promise<void> {
    this.#timer?.cancel();
  }

  /** Takes the reports in that have come since the last look. */
  look(): void {
    this.#sum = this.#sum.map((calls) => calls * KEPT_SHARE);
    this.#addNew();
  }

  /** Calls by slot, those of long ago counted less; null when no living proxy reports any. */
  calls(slots: number): Float64Array | null {
    this.#addNew();
    if (this.#last.size === 0) return null;
    const calls = new Float64Array(slots);
    calls.set(this.#sum.subarray(0, slots));
    return calls;
  }

  #addNew(): void {
    const seen = new Map<string, { readonly pid: number; readonly calls: SlotCalls }>();
    for (const { id, state, report } of this.#proxies.all()) {
      const { slotCalls, pid } = report;
      if (slotCalls === undefined || state === "lost") continue;
      const before = this.#last.get(id);
      // Another process has begun to count from nothing.
      this.#add(slotCalls, before?.pid === pid ? before.calls : {});
      seen.set(id, { pid, calls: slotCalls });
    }
    this.#last = seen;
  }

  #add(now: SlotCalls, before: SlotCalls): void {
    for (const [name, calls] of Object.entries(now)) {
      const slot = Number(name);
      if (slot >= this.#sum.length) this.#grow(slot + 1);
      this.#sum[slot] += Math.max(0, calls - (before[name] ?? 0));
    }
  }

  #grow(slots: number): void {
    const sum = new Float64Array(slots);
    sum.set(this.#sum);
    this.#sum = sum;
  }
}
