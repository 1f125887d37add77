/**
 * Brings the servers to where the topology wants them: desired − observed = effects, carried out one per
 * server at a time.
 *
 *   observations ──▶ planWiring (pure) ──▶ follow effects ──▶ look again, plan again ──▶ REPLICAOF
 *                                    └──▶ synced, away ──▶ topology   └──▶ problems ──▶ status, events
 *
 * The second look right before REPLICAOF is there because the first may be a second old: the decision to wipe
 * a server is taken on what it is now. Only the leader acts.
 */
import { errorTextOf } from "../base/shoal-error.ts";
import type { Env } from "../env/env.ts";
import type { ClusterTopology } from "../topology/cluster-topology.ts";
import {
  type FollowEffect,
  type SyncedReplicas,
  type WiringPlan,
  type WiringProblem,
  planWiring,
} from "../topology/wire-replicas.ts";
import type { ClusterState } from "./cluster-state.ts";
import type { EventLog } from "./events.ts";
import type { ReplicationLogins } from "./failover/replication-logins.ts";
import type { Health } from "./health.ts";
import type { Sentinels } from "./sentinels/sentinels.ts";
import type { Service } from "./service.ts";

/** Pause after an effect on a server that has failed. */
const RETRY_MS = 2000;

/** A replica that has been told to follow has so long to come: a full copy can make it wait for its turn. */
const COMING_MS = 30_000;

export class Reconciler implements Service {
  /** What somebody has to look at, as of the last plan. */
  problems: readonly WiringProblem[] = [];
  /** Where others promote: asked before a server is made a replica, because it may be their new primary. */
  sentinels: Pick<Sentinels, "confirmReplica"> | null = null;
  readonly #env: Pick<Env, "clock" | "log">;
  readonly #state: ClusterState;
  readonly #health: Health;
  readonly #events: EventLog;
  /** Servers that an effect is under way on. */
  readonly #busy = new Map<string, Promise<void>>();
  readonly #retryAtMs = new Map<string, number>();
  /** Since when a replica has been away from its living primary. */
  readonly #awaySinceMs = new Map<string, number>();
  readonly #logins: ReplicationLogins;
  readonly #awayAfterMs: number;
  #marking: Promise<void> | null = null;
  #running = false;

  /** `awayAfterMs`: after so long a replica that is away counts as a copy no more. */
  constructor(
    env: Pick<Env, "clock" | "log">,
    state: ClusterState,
    health: Health,
    events: EventLog,
    logins: ReplicationLogins,
    awayAfterMs: number,
  ) {
    this.#logins = logins;
    this.#awayAfterMs = awayAfterMs;
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
    await Promise.all([...this.#busy.values(), this.#marking]);
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
    const away = this.#awayForLong(plan);
    if (plan.synced.length + away.length > 0 && this.#marking === null) {
      this.#marking = this.#mark(topology, plan.synced, away).finally(() => (this.#marking = null));
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
    await this.sentinels?.confirmReplica(effect.group, effect.addr);
    const { link } = topology.groups.find((group) => group.id === effect.group) ?? {};
    const login = await this.#logins.admit(effect.primary, link);
    if (login === null) await this.#logins.withdraw(server);
    if (!(await this.#logins.letIn(effect.group, effect.addr))) return;
    // A leader of the past that wakes up here would have the primary of today follow the one of its time.
    await server.replicaOf(effect.primary, login, () => this.#state.confirmLeading());
    this.#events.add("replica-wired", { group: effect.group, server: effect.addr, primary: effect.primary });
    await this.#health.look(effect.addr);
  }

  /** A primary can count a replica as gone for a moment when their connection is renewed. */
  #awayForLong(plan: WiringPlan): string[] {
    const nowMs = this.#env.clock.nowMs();
    for (const addr of this.#awaySinceMs.keys()) {
      if (!plan.away.includes(addr)) this.#awaySinceMs.delete(addr);
    }
    return plan.away.filter((addr) => {
      const sinceMs = this.#awaySinceMs.get(addr) ?? nowMs;
      this.#awaySinceMs.set(addr, sinceMs);
      const afterMs = plan.awayCopies.includes(addr) ? this.#awayAfterMs : COMING_MS;
      return nowMs - sinceMs >= Math.max(afterMs, this.#awayAfterMs);
    });
  }

  /** Who is a copy and who is none any more: kept, because a later leader has to choose by it. */
  async #mark(
    topology: ClusterTopology,
    synced: readonly SyncedReplicas[],
    away: readonly string[],
  ): Promise<void> {
    try {
      for (const { group, addrs, id, runId } of synced) {
        await this.#state.change({ type: "synced", group, addrs, id, runId });
        for (const addr of addrs) {
          const known = topology.groups.some((one) =>
            one.servers.some((server) => server.addr === addr && server.joined),
          );
          this.#events.add(known ? "replica-in-sync" : "replica-joined", { group, server: addr });
        }
      }
      for (const addr of away) {
        const group = topology.groups.find((one) => one.servers.some((server) => server.addr === addr));
        if (group === undefined) continue;
        const shutOut = await this.#logins.shutOut(group.id, addr);
        this.#awaySinceMs.delete(addr);
        const counted = group.servers.some((server) => server.addr === addr && server.syncedTo !== undefined);
        if (counted || shutOut) this.#events.add("replica-away", { server: addr });
      }
    } catch (error) {
      // Seen so again at the next look, so it is noted then.
      this.#env.log.warn("copies-not-stored", { reason: errorTextOf(error) });
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
