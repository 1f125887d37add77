/**
 * Moves slots: takes plans, gives each job a run, shows how they do.
 *
 *   start(moves) ─▶ stored as jobs ─▶ #turn ─▶ one MoveRun per source, a few at a time ─▶ the job is gone
 *   a new leader ─▶ #turn ─▶ a MoveRun for each stored job, in its phase
 *
 * Invariants: what is to be done is in the store before anything is done; a job has at most one run in this
 * process, and a source too; a run ends with leadership, and another controller's run fences it at the
 * servers (mover-user.ts).
 */
import type { Moves } from "../../contract/move-routes.ts";
import type { Timer } from "../../env/env.ts";
import { ShoalError } from "../../base/shoal-error.ts";
import { type PlannedMove, nextPlanId } from "../../topology/move-changes.ts";
import { type MoveJob, movesOf } from "../../topology/move-record.ts";
import { formatSlotSpans } from "../../topology/slot-ranges.ts";
import type { Service } from "../service.ts";
import { type MoveParts, topologyOf } from "./move-parts.ts";
import { MoveRun } from "./move-run.ts";
import { showMoves } from "./move-view.ts";
import { moverUser } from "./mover-user.ts";
import { SpeedLimit } from "./pace.ts";

/** Sources that are emptied at the same time; the others wait. */
export const SOURCES_AT_ONCE_MAX = 4;
const TURN_PERIOD_MS = 200;
const PASSWORD_HEX_DIGITS = 48;

export class Mover implements Service {
  readonly #parts: MoveParts;
  readonly #runs = new Map<string, MoveRun>();
  readonly #ends = new Set<Promise<void>>();
  readonly #limit: SpeedLimit;
  /** What runs that have ended have moved. */
  readonly #ended = { keys: 0, bytes: 0 };
  #timer: Timer | null = null;
  #running = false;
  /** The term that is led, since when, and the password of its movers. */
  #reign: { readonly term: number; readonly sinceMs: number; readonly password: string } | null = null;
  /** Plans one after another, so that each knows its id. */
  #planning: Promise<unknown> = Promise.resolve();

  constructor(parts: MoveParts) {
    this.#parts = parts;
    this.#limit = new SpeedLimit(parts.env.clock);
    parts.state.onChange(() => this.#turn());
  }

  async run(): Promise<void> {
    this.#running = true;
    this.#timer = this.#parts.env.timers.every(TURN_PERIOD_MS, () => this.#turn());
    this.#turn();
  }

  /** Batches that are under way end; what is left is the next leader's. */
  async drain(): Promise<void> {
    this.#running = false;
    for (const run of this.#runs.values()) run.stop();
    await Promise.all(this.#ends);
  }

  async stop(): Promise<void> {
    this.#running = false;
    this.#timer?.cancel();
    for (const run of this.#runs.values()) run.stop();
  }

  /**
   * Stores the moves and begins them. The id is that of the plan; empty when every slot is where it shall be.
   * @throws ShoalError CONFLICT, NOT_FOUND, INVALID_ARGUMENT, LIMIT, NOT_LEADER
   */
  start(moves: readonly PlannedMove[], force = false): Promise<{ readonly id: string }> {
    const planned = this.#planning.then(async () => {
      const { state, env, events } = this.#parts;
      const before = topologyOf(this.#parts);
      const id = nextPlanId(before);
      await state.change({ type: "move-planned", moves, force, atMs: env.clock.wallMs() });
      const jobs = movesOf(topologyOf(this.#parts)).jobs.filter((job) => job.id.startsWith(`${id}.`));
      for (const job of jobs) {
        const targets = [...new Set(job.spans.map((span) => span.target))].join(" ");
        events.add("move-planned", { job: job.id, slots: formatSlotSpans(job.spans), to: targets, force });
      }
      return { id: jobs.length === 0 ? "" : id };
    });
    this.#planning = planned.catch(() => {});
    return planned;
  }

  async setPaused(paused: boolean): Promise<void> {
    await this.#parts.state.change({ type: "moves-paused", paused });
    this.#parts.events.add(paused ? "moves-paused" : "moves-resumed");
  }

  /** A plan ("m3"), a job of it, or a row that is shown for it; null: all. @throws ShoalError NOT_FOUND */
  async cancel(id: string | null): Promise<void> {
    const { jobs } = movesOf(topologyOf(this.#parts));
    const shown = jobs.find((job) => id !== null && id.startsWith(`${job.id}.`));
    await this.#parts.state.change({ type: "move-cancelled", id: shown?.id ?? id });
    this.#parts.events.add("move-cancelled", { id: id ?? "all" });
  }

  /** Undefined leaves a limit as it is, null takes it away. */
  async setLimits(keysPerSecond?: number | null, bytesPerSecond?: number | null): Promise<void> {
    const now = movesOf(topologyOf(this.#parts));
    const limits = {
      keysPerSecond: keysPerSecond === undefined ? now.keysPerSecond : keysPerSecond,
      bytesPerSecond: bytesPerSecond === undefined ? now.bytesPerSecond : bytesPerSecond,
    };
    await this.#parts.state.change({ type: "moves-limited", ...limits });
    this.#parts.events.add("moves-limited", limits);
  }

  /**
   * A person vouches for a silent proxy. Whether it was known comes back.
   * @throws ShoalError CONFLICT for one that is not silent: requests of its clients may still be on their way
   */
  forgetProxy(id: string): boolean {
    const { proxies, events } = this.#parts;
    const silentMs = proxies.silentMs(id);
    if (silentMs !== null && silentMs < proxies.leaseMs) {
      throw new ShoalError(
        "CONFLICT",
        `Cannot forget proxy ${id}: it reported ${Math.round(silentMs)} ms ago; stop it first`,
      );
    }
    const forgotten = proxies.forget(id);
    if (forgotten) events.add("proxy-forgotten", { proxy: id });
    return forgotten;
  }

  /** Since this controller started; for metrics. */
  get totals(): { readonly keys: number; readonly bytes: number } {
    const running = [...this.#runs.values()].map((run) => run.progress.total);
    return {
      keys: running.reduce((sum, { keys }) => sum + keys, this.#ended.keys),
      bytes: running.reduce((sum, { bytes }) => sum + bytes, this.#ended.bytes),
    };
  }

  view(): Moves {
    return showMoves(movesOf(topologyOf(this.#parts)), this.#runs);
  }

  /** What a person should look at, one sentence each. */
  get problems(): readonly string[] {
    const { topology } = this.#parts.state;
    if (topology === null) return [];
    const stuck = [...this.#runs.values()].flatMap((run) =>
      run.problem === null ? [] : [`Move ${run.id} does not get on: ${run.problem}`],
    );
    const refused = movesOf(topology).refused.map(
      ({ slot, target, key, bytes, blocksMs }) =>
        `Slot ${slot} was not moved to ${target}: key "${key}" of ${bytes} bytes would block its servers ` +
        `for about ${blocksMs} ms (move_block_limit_ms); move it with --force`,
    );
    return [...stuck, ...refused];
  }

  #turn(): void {
    const { state, env } = this.#parts;
    const term = state.leading ? (state.leader?.term ?? null) : null;
    if (term === null || state.topology === null || !this.#running) {
      this.#reign = null;
      for (const run of this.#runs.values()) run.stop();
      return;
    }
    if (this.#reign?.term !== term) {
      const password = env.random.hex(PASSWORD_HEX_DIGITS);
      this.#reign = { term, sinceMs: env.clock.nowMs(), password };
    }
    for (const job of this.#startable(movesOf(state.topology).jobs)) this.#begin(job);
  }

  /** What has begun comes first: clients are waiting for it. */
  #startable(jobs: readonly MoveJob[]): MoveJob[] {
    const begun = jobs.filter((job) => job.phase !== "planned");
    const busy = new Set([...this.#runs.values()].map((run) => run.source));
    const sources = new Set(begun.map((job) => job.source));
    const targets = new Set(begun.flatMap(targetsOf));
    const chosen: MoveJob[] = [];
    for (const job of [...begun, ...jobs.filter((each) => each.phase === "planned")]) {
      const full = this.#runs.size + chosen.length >= SOURCES_AT_ONCE_MAX;
      // What turns back begins when the run that has carried it there has let go of its last batch.
      const cameFrom = [...this.#runs.keys()].some((id) => job.id.startsWith(`${id}.`));
      // Two servers that migrate to each other, directly or in a ring, both stand still until MIGRATE's
      // timeout.
      const crosses = targets.has(job.source) || targetsOf(job).some((target) => sources.has(target));
      if (job.phase === "planned" && crosses) continue;
      if (full || cameFrom || busy.has(job.source) || this.#runs.has(job.id)) continue;
      sources.add(job.source);
      for (const target of targetsOf(job)) targets.add(target);
      busy.add(job.source);
      chosen.push(job);
    }
    return chosen;
  }

  #begin(job: MoveJob): void {
    const reign = this.#reign;
    if (reign === null) return;
    const run = new MoveRun(
      {
        parts: this.#parts,
        limit: this.#limit,
        user: moverUser(reign.term, job.source, reign.password),
        ledForMs: () => this.#parts.env.clock.nowMs() - reign.sinceMs,
      },
      job,
    );
    this.#runs.set(job.id, run);
    const end = run.run().finally(() => {
      const { keys, bytes } = run.progress.total;
      this.#ended.keys += keys;
      this.#ended.bytes += bytes;
      this.#runs.delete(job.id);
      this.#ends.delete(end);
      this.#turn();
    });
    this.#ends.add(end);
  }
}

function targetsOf(job: MoveJob): string[] {
  return job.spans.map((span) => span.target);
}
