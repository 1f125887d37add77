/**
 * Empties the source of a job's slots: one pass of SCAN over each of its databases, for all slots at once.
 *
 *   SCAN (ahead) ─▶ keys of the slots ─▶ MEMORY USAGE ─▶ batches by cost ─▶ pace ─▶ MIGRATE ─▶ settle
 *   (behind)
 *
 * Complete when one pass has gone from beginning to end over the same process without an error: nobody adds
 * keys to the slots after the lock, and SCAN shows every key that is there all the time. Anything else (a
 * restart, a failover, a time-out) means another pass, which finds what is left; no list of keys is kept
 * anywhere.
 */
import { ShoalError } from "../../base/shoal-error.ts";
import type { MoveJob } from "../../topology/move-record.ts";
import { movesOf } from "../../topology/move-record.ts";
import type { KeyCost } from "./key-cost.ts";
import { type Batch, type Candidate, migrate, settle } from "./migrate-batch.ts";
import type { MoveLinks, TargetLink } from "./move-links.ts";
import { type MoveParts, hindrance, replicasWanted, sleep, topologyOf } from "./move-parts.ts";
import type { MoveProgress } from "./move-progress.ts";
import type { SourcePace, SpeedLimit } from "./pace.ts";
import { lookAtServer, measureKeys, scanPages } from "./scan-keys.ts";
import { SlotFilter, showKey } from "./slot-filter.ts";

export interface SweepParts {
  readonly parts: MoveParts;
  readonly job: MoveJob;
  readonly links: MoveLinks;
  readonly cost: KeyCost;
  readonly limit: SpeedLimit;
  readonly pace: SourcePace;
  readonly progress: MoveProgress;
  /** False: the job is not ours to carry out any more. */
  readonly wanted: () => boolean;
  /** Told why it does not get on, or null when it does. */
  readonly onHindrance: (why: string | null) => void;
}

/** Batches that have been moved and are not yet confirmed. */
const SETTLING_MAX = 4;
/**
 * About what is sent to the source besides a MEMORY USAGE for each key: so that it is not taken for
 * clients'.
 */
const COMMANDS_PER_PAGE = 3;
const COMMANDS_PER_BATCH = 6;
/** Keys of one call. */
const BATCH_KEYS_MAX = 1000;
/** A move that may not go on looks again after this. */
const PAUSE_LOOK_MS = 50;
/** After a replica has not confirmed in time, none is waited for until then. */
const UNCONFIRMED_MS = 5000;
/** Moved keys that took longer are told of one by one. */
const TOLD_MS = 20;

type Weighed = Candidate & { readonly costMs: number; readonly target: string };

export class Sweep {
  readonly #with: SweepParts;
  readonly #filter: SlotFilter;
  #settling: Array<Promise<void>> = [];
  #settleError: unknown = null;
  #confirmAgainMs = 0;

  constructor(parts: SweepParts) {
    this.#with = parts;
    this.#filter = new SlotFilter(topologyOf(parts.parts).slots, parts.job.spans);
  }

  /**
   * One pass. When it returns true the source has no key of the slots any more; false: the job is not wanted
   * any more. Nothing is under way when it returns or throws.
   */
  async pass(): Promise<boolean> {
    const { links } = this.#with;
    try {
      const before = await lookAtServer(links.reader);
      for (const database of before.databases) if (!(await this.#moveDatabase(database))) return false;
      await this.#settled(0);
      const after = await lookAtServer(links.reader);
      if (after.runId === before.runId) return true;
      throw new ShoalError("UNREACHABLE", `Cannot finish the pass: ${links.sourceAddr} was restarted`);
    } finally {
      await Promise.allSettled(this.#settling);
    }
  }

  async #moveDatabase(database: number): Promise<boolean> {
    const prepare = (keys: string[]): Promise<Weighed[]> => this.#weigh(database, keys);
    for await (const page of scanPages(this.#with.links.reader, database, prepare)) {
      if (!(await this.#movePage(database, page))) return false;
    }
    return true;
  }

  /** The keys of a page that are to be moved, with what each costs. */
  async #weigh(database: number, keys: string[]): Promise<Weighed[]> {
    const { links, cost, pace } = this.#with;
    const leaving = keys.filter((key) => this.#filter.targetOf(key) !== undefined);
    pace.countOwn(COMMANDS_PER_PAGE + leaving.length);
    const measured = await measureKeys(links.reader, database, leaving);
    return measured.map(({ key, bytes, type }) => {
      return { key, bytes, costMs: cost.ofKey(bytes, type), target: this.#filter.targetOf(key) as string };
    });
  }

  async #movePage(database: number, page: readonly Weighed[]): Promise<boolean> {
    for (const [group, target] of this.#with.links.targets) {
      const keys = page.filter((candidate) => candidate.target === group);
      for (const batch of this.#batches(keys)) {
        if (!(await this.#mayGoOn())) return false;
        await this.#moveBatch(database, batch, target);
      }
    }
    return true;
  }

  /** Keys in their order, cut where a call would take too long; one that alone does is alone. */
  *#batches(keys: readonly Weighed[]): Generator<Weighed[]> {
    const { parts, pace, limit } = this.#with;
    const boundMs = pace.callMs;
    const keysMax = limit.batchKeysMax(movesOf(topologyOf(parts)), BATCH_KEYS_MAX);
    let batch: Weighed[] = [];
    let sumMs = 0;
    for (const candidate of keys) {
      const full = sumMs + candidate.costMs > boundMs || batch.length >= keysMax;
      if (batch.length > 0 && full) {
        yield batch;
        batch = [];
        sumMs = 0;
      }
      batch.push(candidate);
      sumMs += candidate.costMs;
    }
    if (batch.length > 0) yield batch;
  }

  /**
   * Waits while moves are paused or a group is being switched over; false when the job is not wanted any
   * more.
   */
  async #mayGoOn(): Promise<boolean> {
    const { parts, job, links, wanted } = this.#with;
    for (;;) {
      if (!wanted()) return false;
      if (links.outdated)
        throw new ShoalError("CONFLICT", "Cannot go on with these servers: another one is primary");
      const paused = movesOf(topologyOf(parts)).paused;
      const hindrances = [job.source, ...links.targets.keys()].map((group) => hindrance(parts, group));
      const why = hindrances.find((text) => text !== null) ?? null;
      this.#with.onHindrance(why);
      const waitMs = this.#with.limit.waitMs(movesOf(topologyOf(parts)));
      const free = !paused && why === null;
      if (free && waitMs === 0) return true;
      // In short pieces: the limit may be lifted, or the move taken back, while it waits.
      await sleep(parts, free ? Math.min(waitMs, PAUSE_LOOK_MS) : PAUSE_LOOK_MS);
    }
  }

  async #moveBatch(database: number, keys: readonly Weighed[], target: TargetLink): Promise<void> {
    const { parts, job, links, cost, limit, pace, progress } = this.#with;
    const bytes = keys.reduce((sum, key) => sum + key.bytes, 0);
    const estimatedMs = keys.reduce((sum, key) => sum + key.costMs, 0);
    limit.spend(movesOf(topologyOf(parts)), keys.length, bytes);
    if (this.#settleError !== null) throw this.#settleError;
    const atTarget = replicasWanted(parts, target.group);
    const { clock } = parts.env;
    const passOver = !atTarget.strict && clock.nowMs() < this.#confirmAgainMs;
    const targetReplicas = passOver ? 0 : atTarget.count;
    const batch: Batch = { database, keys, target, estimatedMs, targetReplicas };
    const beganMs = clock.nowMs();
    pace.countOwn(COMMANDS_PER_BATCH);
    const ended = pace.begin();
    const migrated = await migrate(links, batch).finally(ended);
    const tookMs = clock.nowMs() - beganMs;
    cost.learn(estimatedMs, tookMs);
    progress.moved(target.group, keys.length, bytes, migrated.duplicates);
    if (keys.length === 1 && tookMs >= TOLD_MS) {
      const fields = { job: job.id, key: showKey(keys[0].key), bytes, ms: Math.round(tookMs) };
      parts.events.add("big-key-moved", fields);
    }
    const atSource = replicasWanted(parts, job.source);
    const sourceReplicas = passOver && !atSource.strict ? 0 : atSource.count;
    const strict = atTarget.strict || atSource.strict;
    this.#settle(settle(links, batch, migrated, sourceReplicas, strict));
    await pace.rest(tookMs);
    await this.#settled(SETTLING_MAX);
  }

  /** Keeps an eye on what is confirmed behind the move; its error ends the pass. */
  #settle(work: Promise<boolean>): void {
    const tracked: Promise<void> = work
      .then((confirmed) => {
        if (!confirmed) this.#confirmAgainMs = this.#with.parts.env.clock.nowMs() + UNCONFIRMED_MS;
      })
      .catch((error) => {
        this.#settleError ??= error;
      })
      .finally(() => {
        this.#settling = this.#settling.filter((other) => other !== tracked);
      });
    this.#settling.push(tracked);
  }

  /** Waits until at most `count` batches are unconfirmed. */
  async #settled(count: number): Promise<void> {
    while (this.#settling.length > count) await this.#settling[0];
    if (this.#settleError !== null) throw this.#settleError;
  }
}
