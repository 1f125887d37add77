/**
 * Who sees which server how: this controller by its own looks, the others and the proxies by their reports.
 *
 *   health ─────────────────────▶ ┐
 *   followers ──POST …/sights──▶  ├─▶ votesOn(addr) ──▶ topology/agreement.ts
 *   proxies ──report.servers──▶   ┘
 *
 * A sight holds for SIGHT_FRESH_MS. Who is silent for longer although it is alive counts as an observer that
 * agrees with nobody: a leader that is cut off must not become the majority of itself. It is alive as long as
 * its lease says so; where there are three machines or more nobody has to wait for that, because observers
 * count by machine.
 */
import type { Env, Timer } from "../../env/env.ts";
import type { SightsBody } from "../../contract/failover-routes.ts";
import type { ProxyReport } from "../../contract/schemas.ts";
import type { Store } from "../../store/store.ts";
import type { Vote } from "../../topology/agreement.ts";
import { observationOf } from "../../topology/group-health.ts";
import type { ClusterState } from "../cluster-state.ts";
import type { Health } from "../health.ts";
import type { ProxyRegistry } from "../proxy-registry.ts";
import type { Service } from "../service.ts";

export type Sight = ProxyReport["servers"][number];

/** Reports come every second; a sight is good for three of them. */
export const SIGHT_FRESH_MS = 3000;

/** How late the end of a controller may be noticed; the store is local, or reads are cheap. */
const MEMBERS_PERIOD_MS = 250;

interface Told {
  readonly atMs: number;
  readonly machine: string;
  readonly sights: ReadonlyMap<string, Sight>;
}

export interface ObserverParts {
  readonly id: string;
  /** Where this controller runs; see {@link Vote.machine}. */
  readonly machine: string;
  readonly state: ClusterState;
  readonly store: Store;
  readonly health: Health;
  readonly proxies: ProxyRegistry;
}

export class Observers implements Service {
  readonly #env: Pick<Env, "clock" | "timers" | "log">;
  readonly #parts: ObserverParts;
  readonly #told = new Map<string, Told>();
  /** Ids of the controllers that are alive. */
  #members: readonly string[] = [];
  #timer: Timer | null = null;

  constructor(env: Pick<Env, "clock" | "timers" | "log">, parts: ObserverParts) {
    this.#env = env;
    this.#parts = parts;
  }

  async run(): Promise<void> {
    this.#timer = this.#env.timers.every(MEMBERS_PERIOD_MS, () => void this.#readMembers());
    await this.#readMembers();
  }

  async drain(): Promise<void> {}

  async stop(): Promise<void> {
    this.#timer?.cancel();
  }

  /** What another controller sees. */
  accept(controllerId: string, { sights, machine }: SightsBody): void {
    const byAddr = new Map(sights.map((sight) => [sight.addr, sight]));
    const atMs = this.#env.clock.nowMs();
    this.#told.set(controllerId, { atMs, machine: machine ?? alone(controllerId), sights: byAddr });
  }

  votesOn(addr: string): Vote[] {
    const { id, machine, health, proxies } = this.#parts;
    const own = observationOf(health.observations, addr).state;
    const view = own === "up" ? "up" : own === "down" ? "down" : "silent";
    const votes: Vote[] = [{ observer: id, kind: "controller", machine, view }];
    for (const member of this.#members) {
      if (member === id) continue;
      const there = this.#told.get(member)?.machine ?? alone(member);
      votes.push({
        observer: member,
        kind: "controller",
        machine: there,
        view: this.#viewOf(member, addr),
      });
    }
    for (const proxy of proxies.all()) {
      if (proxy.state !== "serving") continue;
      const fresh = (proxies.silentMs(proxy.id) ?? Infinity) <= SIGHT_FRESH_MS;
      const sight = proxy.report.servers.find((one) => one.addr === addr);
      // It has not asked the server lately, so it has nothing to say.
      if (fresh && (sight === undefined || sight.state === "unknown")) continue;
      const seen = fresh && sight !== undefined && sight.state !== "unknown" ? sight.state : "silent";
      const there = proxy.report.machine ?? alone(proxy.id);
      votes.push({ observer: proxy.id, kind: "proxy", machine: there, view: seen });
    }
    return votes;
  }

  #viewOf(member: string, addr: string): Vote["view"] {
    const told = this.#told.get(member);
    if (told === undefined || this.#env.clock.nowMs() - told.atMs > SIGHT_FRESH_MS) return "silent";
    const state = told.sights.get(addr)?.state ?? "unknown";
    return state === "unknown" ? "silent" : state;
  }

  async #readMembers(): Promise<void> {
    // Only a leader counts votes.
    if (!this.#parts.state.leading) return;
    try {
      this.#members = (await this.#parts.store.readMembers()).map((member) => member.id);
      for (const id of this.#told.keys()) if (!this.#members.includes(id)) this.#told.delete(id);
    } catch (error) {
      // The last list stands; without a store nobody is promoted anyway.
      this.#env.log.debug("members-not-read", { reason: String(error) });
    }
  }
}

/** One that does not say where it runs (an older version) stands for itself. */
function alone(observer: string): string {
  return `?${observer}`;
}
