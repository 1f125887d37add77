/**
 * Brings the servers to where the topology wants them: desired − observed = effects, carried out one per
 * server at a time.
 *
 *   observations ──▶ planWiring (pure) ──▶ follow effects ──▶ look again, plan again ──▶ REPLICAOF
 *                                    └──▶ joined ──▶ topology    └──▶ problems ──▶ status, events
 *
 * The second look right before REPLICAOF is there because the first may be a second old: the decision to wipe
 * a server is taken on what it is now. Only the leader acts.
 */
import { errorTextOf } from "../base/shoal-error.ts";
import type { Env } from "../env/env.ts";
import { type FollowEffect, type WiringProblem, planWiring } from "../topology/wire-replicas.ts";
import type { ClusterState } from "./cluster-state.ts";
import type { EventLog } from "./events.ts";
import type { Health } from "./health.ts";
import type { Service } from "./service.ts";

/** Pause after an effect on a server that has failed. */
const RETRY_MS = 2000;

export class Reconciler implements Service {
  /** What somebody has to look at, as of the last plan. */
  problems: readonly WiringProblem[] = [];
  readonly #env: Pick<Env, "clock" | "log">;
  readonly #state: ClusterState;
  readonly #health: Health;
  readonly #events: EventLog;
  /** Servers that an effect is under way on. */
  readonly #busy = new Map<string, Promise<void>>();
  readonly #retryAtMs = new Map<string, number>();
  #joining: Promise<void> | null = null;
  #running = false;

  constructor(env: Pick<Env, "clock" | "log">, state: ClusterState, health: Health, events: EventLog) {
    this.#env = env;
    this.#state = state;
    this.#health = health;
    this.#events = events;
    health.onObserved(() => this.#turn());
  }

  async run(): Promise<void> {
    this.#running = true;
  }

  async drain(): Promise<void> {
    this.#running = false;
    await Promise.all([...this.#busy.values(), this.#joining]);
  }

  async stop(): Promise<void> {
    this.#running = false;
  }

  /** Cheap enough to be done after every look: the plan is pure, and most plans are empty. */
  #turn(): void {
    const { topology } = this.#state;
    if (!this.#running || !this.#state.leading || topology === null) return;
    const plan = planWiring(topology, this.#health.observations);
    this.#takeProblems(plan.problems);
    for (const effect of plan.effects) this.#begin(effect);
    if (plan.joined.length > 0 && this.#joining === null) {
      this.#joining = this.#noteJoined(plan.joined).finally(() => (this.#joining = null));
    }
  }

  /** One effect per server at a time, and not again at once when it has failed. */
  #begin(effect: FollowEffect): void {
    const { addr } = effect;
    if (this.#busy.has(addr) || this.#env.clock.nowMs() < (this.#retryAtMs.get(addr) ?? 0)) return;
    const work = this.#follow(effect)
      .catch((error) => {
        this.#retryAtMs.set(addr, this.#env.clock.nowMs() + RETRY_MS);
        this.#env.log.warn("wiring-failed", {
          server: addr,
          primary: effect.primary,
          reason: errorTextOf(error),
        });
      })
      .finally(() => this.#busy.delete(addr));
    this.#busy.set(addr, work);
  }

  async #follow(effect: FollowEffect): Promise<void> {
    await Promise.all([this.#health.look(effect.primary), this.#health.look(effect.addr)]);
    const { topology } = this.#state;
    if (topology === null || !this.#state.leading) return;
    const { effects } = planWiring(topology, this.#health.observations);
    const still = effects.some((other) => other.addr === effect.addr && other.primary === effect.primary);
    const server = this.#health.serverAt(effect.addr);
    if (!still || server === null) return;
    await server.replicaOf(effect.primary);
    this.#events.add("replica-wired", { group: effect.group, server: effect.addr, primary: effect.primary });
    await this.#health.look(effect.addr);
  }

  /** From now on the server's data is known to be the group's, also after its restart. */
  async #noteJoined(addrs: readonly string[]): Promise<void> {
    try {
      for (const addr of addrs) {
        await this.#state.change({ type: "joined", addr });
        this.#events.add("replica-joined", { server: addr });
      }
    } catch (error) {
      // Seen in sync again at the next look, so it is noted then.
      this.#env.log.warn("join-not-stored", { reason: errorTextOf(error) });
    }
  }

  /** An event when a problem appears, not every second while it lasts. */
  #takeProblems(problems: readonly WiringProblem[]): void {
    for (const problem of problems) {
      if (this.problems.some((known) => known.message === problem.message)) continue;
      this.#events.add("wiring-problem", {
        group: problem.group,
        server: problem.addr,
        message: problem.message,
      });
    }
    this.problems = problems;
  }
}
