/**
 * One run of the checker:
 *
 *   workers write and read ─▶ time is up ─▶ what is in doubt is settled ─▶ a last look at every key
 *        ─▶ deleted keys have stayed away? ─▶ everything of the run is deleted ─▶ report
 *
 * The end of a run waits for a target that is away, up to `settleSeconds`: what could not be read then is
 * reported as unverified and fails the run.
 */
import { ShoalError } from "../base/shoal-error.ts";
import type { Driver, Session } from "./driver.ts";
import { KEY_PREFIX, type KeySlot, type Tag, dealSlots, makeSlots, plainTags } from "./key-slots.ts";
import { popLoop, pushLoop } from "./queue-loops.ts";
import { QueueModel } from "./queue-model.ts";
import type { ServiceGap } from "./service-gaps.ts";
import { SeededRandom } from "./seeded-random.ts";
import { Tally, type VerifyReport } from "./tally.ts";
import { type RunState, type VerifyEnv, Worker, pause } from "./worker.ts";

export interface VerifyOptions {
  readonly seconds: number;
  /** Places for keys; each holds one key after the other. */
  readonly keys: number;
  /** Sessions that write and read. */
  readonly workers: number;
  /** Lists with a session that pushes and one that waits in BLPOP; 0 for none. */
  readonly queues: number;
  /** Chooses keys and operations; null: by chance. */
  readonly seed: number | null;
  /** How long the end of the run may wait for a target that is away. */
  readonly settleSeconds: number;
  /** Hash tags with their labels, instead of `keys` tags by chance. */
  readonly tags?: readonly Tag[];
}

export const VERIFY_DEFAULTS = { seconds: 10, keys: 240, workers: 16, queues: 2, settleSeconds: 30 } as const;

/** Counts since the run began, for a line each second. */
export interface LiveCounts {
  readonly seconds: number;
  readonly reads: number;
  readonly acknowledged: number;
  readonly errors: number;
  readonly inDoubt: number;
  readonly lost: number;
  readonly wrong: number;
  /** Milliseconds without a successful operation, the longest of all labels, the open ones included. */
  readonly longestGapMs: number;
}

/** How often a waiting run looks whether it shall end. */
const STOP_CHECK_MS = 50;
const LIVE_PERIOD_MS = 1000;

export class Verifier {
  /** Chooses keys and operations; in the report. */
  readonly seed: number;
  readonly #env: VerifyEnv;
  readonly #driver: Driver;
  readonly #options: VerifyOptions;
  readonly #slots: readonly KeySlot[];
  readonly #run: RunState;
  readonly #startMs: number;
  readonly #queues: readonly QueueModel[];
  #stopAsked = false;
  /** When the writing was over: what comes after it is not service. */
  #endGaps: readonly ServiceGap[] | null = null;
  #open: Session[] = [];

  /** @throws ShoalError INVALID_ARGUMENT */
  constructor(env: VerifyEnv, driver: Driver, options: VerifyOptions) {
    if (options.keys < options.workers) {
      const { keys, workers } = options;
      throw new ShoalError(
        "INVALID_ARGUMENT",
        `Cannot verify ${keys} keys with ${workers} workers: too few keys`,
      );
    }
    this.#env = env;
    this.#driver = driver;
    this.#options = options;
    this.seed = options.seed ?? Math.floor(env.random.fraction() * 2 ** 32);
    // Two runs at once, or a run after one that was killed, must not meet: the name is not the seed's.
    const name = env.random.hex(8);
    this.#slots = makeSlots(options.tags ?? plainTags(name, options.keys));
    this.#queues = Array.from({ length: options.queues }, (_, i) => {
      return new QueueModel(`${KEY_PREFIX}{${name}.q${i}}:queue`);
    });
    this.#startMs = env.clock.nowMs();
    this.#run = {
      env,
      tally: new Tally(
        this.#slots.map((slot) => slot.label),
        this.#startMs,
      ),
      random: new SeededRandom(this.seed),
      slots: byLabel(this.#slots),
      retired: [],
      deleted: [],
      suspects: new Map(),
      stopping: false,
      giveUpMs: Number.POSITIVE_INFINITY,
    };
  }

  /** Ends the run early; its report still comes. */
  stop(): void {
    this.#stopAsked = true;
  }

  live(): LiveCounts {
    const { tally } = this.#run;
    const nowMs = this.#env.clock.nowMs();
    return {
      seconds: (nowMs - this.#startMs) / 1000,
      reads: tally.reads,
      acknowledged: tally.acknowledged,
      errors: tally.errors,
      inDoubt: tally.inDoubt,
      lost: tally.lost,
      wrong: tally.wrong,
      longestGapMs: Math.max(0, ...(this.#endGaps ?? tally.gaps.all(nowMs)).map((gap) => gap.longestMs)),
    };
  }

  /** Runs to the end. `onSecond` is called each second with the counts so far. */
  async run(onSecond: (counts: LiveCounts) => void = () => {}): Promise<VerifyReport> {
    const { timers, clock } = this.#env;
    const ticker = timers.every(LIVE_PERIOD_MS, () => onSecond(this.live()));
    try {
      const workers = dealSlots(this.#slots, this.#options.workers).map((own) => {
        return new Worker(this.#run, this.#session(), own);
      });
      const work = [...workers.map((worker) => worker.work()), ...this.#queueLoops()];
      const endMs = this.#startMs + this.#options.seconds * 1000;
      while (!this.#stopAsked && clock.nowMs() < endMs) await pause(timers, STOP_CHECK_MS);
      const report = this.#reporter();
      this.#run.stopping = true;
      this.#run.giveUpMs = clock.nowMs() + this.#options.settleSeconds * 1000;
      await Promise.all(work);
      await this.#lastLooks(workers);
      await this.#cleanUp(workers);
      return report();
    } finally {
      ticker.cancel();
      this.#open.forEach((session) => session.close());
    }
  }

  #session(): Session {
    const session = this.#driver.open();
    this.#open.push(session);
    return session;
  }

  #queueLoops(): Promise<void>[] {
    return this.#queues.flatMap((queue) => [
      pushLoop(this.#run, this.#session(), queue),
      popLoop(this.#run, this.#session(), queue),
    ]);
  }

  /** Every key that was not deleted, then every one that was. */
  async #lastLooks(workers: readonly Worker[]): Promise<void> {
    const { retired, deleted, tally } = this.#run;
    const kept = [...retired, ...this.#slots.map(({ key, label }) => ({ key, label }))];
    await inParallel(workers, kept, (worker, { key, label }) => worker.lastLook(key, label));
    await inParallel(workers, deleted, (worker, { key, label }) => worker.lookForDeleted(key, label));
    for (const queue of this.#queues) queue.close().forEach((finding) => tally.find(finding));
  }

  /** As much as the time allows: a target that is away keeps the keys. */
  async #cleanUp(workers: readonly Worker[]): Promise<void> {
    const keys = [...this.#run.retired.map(({ key }) => key), ...this.#slots.map(({ key }) => key)];
    const giveUpMs = this.#env.clock.nowMs() + this.#options.settleSeconds * 1000;
    await inParallel(workers, keys, async (worker, key) => {
      if (this.#env.clock.nowMs() < giveUpMs) await worker.remove(key);
    });
    const session = this.#session();
    for (const queue of this.#queues) await session.run([["DEL", queue.key]]);
  }

  #reporter(): () => VerifyReport {
    const { tally } = this.#run;
    const endedMs = this.#env.clock.nowMs();
    const gaps = (this.#endGaps = tally.gaps.all(endedMs));
    return () => {
      const run = {
        target: this.#driver.name,
        seed: this.seed,
        seconds: Math.round((endedMs - this.#startMs) / 100) / 10,
        keys: this.#slots.length,
        workers: this.#options.workers,
      };
      return { ...tally.report(run, endedMs), gaps };
    };
  }
}

function byLabel(slots: readonly KeySlot[]): Map<string, KeySlot[]> {
  const lists = new Map<string, KeySlot[]>();
  for (const slot of slots) lists.set(slot.label, [...(lists.get(slot.label) ?? []), slot]);
  return lists;
}

/** Each worker takes the next item when it has done one. */
async function inParallel<Item>(
  workers: readonly Worker[],
  items: readonly Item[],
  work: (worker: Worker, item: Item) => Promise<void>,
): Promise<void> {
  let next = 0;
  await Promise.all(
    workers.map(async (worker) => {
      while (next < items.length) await work(worker, items[next++]);
    }),
  );
}
