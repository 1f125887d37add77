/**
 * Carries one job out, from whatever phase it is stored in to its end.
 *
 *   planned, turning ─▶ prepare: survey, strays, silent proxies ─▶ store "locking" ─▶ proxies lock
 *   locking ─▶ all acknowledge in time ─▶ store "moving"      else ─▶ store "unlocked", again after a pause
 *   moving  ─▶ sweep, pass after pass ─▶ store "finished"
 *
 * Nothing here outlives the process: the next leader's run begins at the stored phase, and every step may be
 * done again. What goes wrong is shown, and the step is tried again after a pause that grows; it never gives
 * up, because a move that stopped half-way by itself would be worse than one that waits for a server to come
 * back.
 */
import { ShoalError, errorCodeOf, errorTextOf } from "../../base/shoal-error.ts";
import { type MoveJob, movesOf } from "../../topology/move-record.ts";
import { formatSlotSpans } from "../../topology/slot-ranges.ts";
import { KeyCost } from "./key-cost.ts";
import { LatencyProbe, Samples } from "./latency-probe.ts";
import { awaitAcks, fenceAt, holdersOf, silentHolders, stuckText } from "./lock-acks.ts";
import { MoveLinks } from "./move-links.ts";
import { type MoveParts, hindrance, primaryAddr, topologyOf } from "./move-parts.ts";
import { MoveProgress } from "./move-progress.ts";
import { type MoverUser, leaveServer } from "./mover-user.ts";
import { SourcePace, type SpeedLimit } from "./pace.ts";
import { deleteOutdated, deleteStrays, surveySource } from "./survey.ts";
import { Sweep } from "./sweep.ts";
import { lookAtServer } from "./scan-keys.ts";

/** Pauses between two tries of a step. */
const RETRY_MS_MIN = 250;
const RETRY_MS_MAX = 5000;
const OFTEN_MS_MAX = 1000;
/** While a person has paused the moves, or a proxy's lease is waited for. */
const LOOK_AGAIN_MS = 100;

export type RunStep = "planned" | "strays" | "locking" | "moving" | "finishing";

export interface RunContext {
  readonly parts: MoveParts;
  readonly limit: SpeedLimit;
  readonly user: MoverUser;
  /** Since when this controller leads, in milliseconds. */
  readonly ledForMs: () => number;
}

export class MoveRun {
  readonly id: string;
  readonly source: string;
  readonly progress: MoveProgress;
  step: RunStep = "planned";
  /** Why it does not get on; null while it does. */
  problem: string | null = null;
  readonly #context: RunContext;
  readonly #cost = new KeyCost();
  /** The source's latency without a move. */
  readonly #quiet = new Samples();
  #stopped = false;
  /** Ends the pause that is being made. */
  #wake: () => void = () => {};
  #failures = 0;
  /**
   * Targets that hold no stray, by the process that was looked at; the look is good until the slots are
   * theirs.
   */
  readonly #clean = new Map<string, string>();
  /** Servers that know the mover's user. */
  readonly #claimed = new Set<string>();

  constructor(context: RunContext, job: MoveJob) {
    this.#context = context;
    this.id = job.id;
    this.source = job.source;
    this.progress = new MoveProgress(context.parts.env.clock);
  }

  stop(): void {
    this.#stopped = true;
    this.#wake();
  }

  /** Resolves when the job is done, gone or not ours any more; never rejects. */
  async run(): Promise<void> {
    for (let job = this.#job(); job !== null; job = this.#job()) {
      try {
        await this.#advance(job);
        // A lock that was made is no success yet: it may have to be given up again and again.
        if (job.phase === "planned" || job.phase === "turning") continue;
        this.#failures = 0;
        this.problem = null;
      } catch (error) {
        if (this.#job() === null) break;
        await this.#failed(job, error);
      }
    }
    await this.#leave();
  }

  /** Takes the mover's user away where it has nothing to do any more; a server that is away has no users. */
  async #leave(): Promise<void> {
    const { parts, user } = this.#context;
    for (const addr of this.#claimed) {
      const server = parts.health.serverAt(addr);
      if (server !== null) await leaveServer(server, user).catch(() => {});
    }
  }

  async #open(job: MoveJob): Promise<MoveLinks> {
    for (const addr of this.#primaries(job)) this.#claimed.add(addr);
    return MoveLinks.open(this.#context.parts, job, this.#context.user);
  }

  /** As it is stored now; null when it is not to be carried out any more. */
  #job(): MoveJob | null {
    const { state } = this.#context.parts;
    if (this.#stopped || !state.leading || state.topology === null) return null;
    return movesOf(state.topology).jobs.find(({ id }) => id === this.id) ?? null;
  }

  async #failed(job: MoveJob, error: unknown): Promise<void> {
    const { parts } = this.#context;
    const text = errorTextOf(error);
    if (text !== this.problem) parts.events.add("move-problem", { job: job.id, reason: text });
    this.problem = text;
    const pauseMs = Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** this.#failures++);
    // A server's return is looked for often. A lock that was given up is not tried again so soon: each try
    // stops the clients of its slots.
    const often = errorCodeOf(error) === "CONFLICT" || errorCodeOf(error) === "UNREACHABLE";
    await this.#sleep(often ? Math.min(pauseMs, OFTEN_MS_MAX) : pauseMs);
  }

  #sleep(ms: number): Promise<void> {
    if (this.#stopped) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = this.#context.parts.env.timers.after(ms, resolve);
      this.#wake = () => {
        timer.cancel();
        resolve();
      };
    });
  }

  async #advance(job: MoveJob): Promise<void> {
    if (job.phase === "locking") return this.#finishLock(job);
    if (job.phase === "moving") return this.#move(job);
    return this.#lock(job);
  }

  /** From planned (or turning) to locking; returns early when it has to be looked at again. */
  async #lock(job: MoveJob): Promise<void> {
    const { parts } = this.#context;
    this.step = "planned";
    if (movesOf(topologyOf(parts)).paused) return this.#sleep(LOOK_AGAIN_MS);
    this.#checkServers(job);
    const links = await this.#open(job);
    const probe = new LatencyProbe(parts.env, links.prober, this.#quiet);
    try {
      probe.start();
      this.step = "strays";
      const wanted = (): boolean => this.#job()?.phase === job.phase;
      const survey = await surveySource(parts, job, links, this.#cost, wanted);
      if (survey.refused.length > 0 && job.force !== true && job.back !== true) {
        for (const refused of survey.refused) parts.events.add("slot-refused", { job: job.id, ...refused });
        return await parts.state.change({ type: "slots-refused", job: job.id, refused: survey.refused });
      }
      await this.#clearTargets(job, links, wanted);
      if (!this.#knowsProxies()) return await this.#sleep(LOOK_AGAIN_MS);
      await this.#awaitSilent(job);
      if (this.#job()?.phase !== job.phase) return;
      this.#checkServers(job);
      this.step = "locking";
      await parts.state.change({ type: "move-locked", job: job.id, keys: survey.keys, bytes: survey.bytes });
      parts.events.add("slots-locked", { job: job.id, slots: formatSlotSpans(job.spans) });
    } finally {
      probe.stop();
      links.close();
    }
  }

  async #clearTargets(job: MoveJob, links: MoveLinks, wanted: () => boolean): Promise<void> {
    const { parts } = this.#context;
    if (job.back === true) {
      // What a cancelled move has left where it came from is no stray: it has not been moved yet.
      const keys = await deleteOutdated(parts, job, links, wanted);
      if (keys > 0) parts.events.add("source-copies-deleted", { job: job.id, keys });
      return;
    }
    for (const { group, addr, server } of links.targets.values()) {
      const { runId } = await lookAtServer(server);
      if (this.#clean.get(group) === runId) continue;
      const keys = await deleteStrays(parts, job, links, group, wanted);
      if (keys > 0) parts.events.add("strays-deleted", { job: job.id, group, server: addr, keys });
      this.#clean.set(group, runId);
    }
  }

  /**
   * With logins the stored ones say who could write. Without, whoever reports does: all of them have after a
   * lease.
   */
  #knowsProxies(): boolean {
    const { parts, ledForMs } = this.#context;
    if (parts.logins.managed || ledForMs() > parts.proxies.leaseMs) return true;
    this.problem = "waiting for a lease to pass, so that every proxy has reported to this leader";
    return false;
  }

  /**
   * Waits until nobody is silent whose lease still runs: the lock would only stop the clients until it is
   * given up. Those whose lease is over are fenced here, before anybody waits.
   */
  async #awaitSilent(job: MoveJob): Promise<void> {
    const { parts, ledForMs } = this.#context;
    for (;;) {
      const silent = silentHolders(parts, ledForMs());
      const { lost, stuck } = holdersOf(parts, Number.POSITIVE_INFINITY, ledForMs());
      if (stuck.length > 0) throw new ShoalError("CONFLICT", `Cannot lock the slots: ${stuckText(stuck)}`);
      for (const proxy of lost) await fenceAt(parts, proxy, this.#primaries(job));
      if (silent.length === 0 || this.#job()?.phase !== job.phase) return;
      this.problem = `waiting for proxy ${silent.join(", ")}, which is silent, or for the end of its lease`;
      await this.#sleep(LOOK_AGAIN_MS);
    }
  }

  async #finishLock(job: MoveJob): Promise<void> {
    const { parts, ledForMs } = this.#context;
    this.step = "locking";
    const { version } = topologyOf(parts);
    const addrs = this.#primaries(job);
    const { lockTimeoutMs } = parts.options;
    const beganMs = parts.env.clock.nowMs();
    const why = this.#knowsProxies()
      ? await awaitAcks(parts, version, addrs, ledForMs, lockTimeoutMs)
      : this.problem;
    const lockedMs = Math.round(parts.env.clock.nowMs() - beganMs);
    const switched = this.#primaries(job).join() !== addrs.join();
    const reason = why ?? (switched ? "another server became primary of one of the groups" : null);
    if (reason !== null) {
      await parts.state.change({ type: "move-unlocked", job: job.id });
      parts.events.add("slots-unlocked", { job: job.id, lockedMs, reason });
      throw new ShoalError("TIMEOUT", `Cannot lock slots ${formatSlotSpans(job.spans)}: ${reason}`);
    }
    await parts.state.change({ type: "move-begun", job: job.id });
    parts.events.add("slots-moving", { job: job.id, slots: formatSlotSpans(job.spans), lockedMs });
  }

  async #move(job: MoveJob): Promise<void> {
    const { parts, limit } = this.#context;
    this.step = "moving";
    this.#checkServers(job);
    const links = await this.#open(job);
    const probe = new LatencyProbe(parts.env, links.prober, this.#quiet);
    try {
      probe.start();
      const pace = new SourcePace(parts, probe);
      const { progress } = this;
      const sweep = new Sweep({
        parts,
        job,
        links,
        cost: this.#cost,
        limit,
        pace,
        progress,
        wanted: () => this.#job()?.phase === "moving",
        onHindrance: (why) => (this.problem = why === null ? null : `waiting: ${why}`),
      });
      if (!(await sweep.pass())) return;
      this.step = "finishing";
      await parts.state.change({ type: "move-finished", job: job.id });
      this.#sayFinished(job);
    } finally {
      probe.stop();
      links.close();
    }
  }

  #sayFinished(job: MoveJob): void {
    const { events, env } = this.#context.parts;
    const { keys, bytes } = this.progress.total;
    const { duplicates, startedMs } = this.progress;
    const ms = Math.round(env.clock.nowMs() - startedMs);
    events.add("move-finished", { job: job.id, slots: formatSlotSpans(job.spans), keys, bytes, ms });
    if (duplicates > 0) events.add("source-copies-deleted", { job: job.id, keys: duplicates });
  }

  /** Of the source, then of the targets. */
  #primaries(job: MoveJob): string[] {
    return groupsOf(job).map((group) => primaryAddr(this.#context.parts, group));
  }

  #checkServers(job: MoveJob): void {
    for (const group of groupsOf(job)) {
      const why = hindrance(this.#context.parts, group);
      if (why !== null) throw new ShoalError("CONFLICT", `Cannot move slots now: ${why}`);
    }
  }
}

function groupsOf(job: MoveJob): string[] {
  return [...new Set([job.source, ...job.spans.map((span) => span.target)])];
}
