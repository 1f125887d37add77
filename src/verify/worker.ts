/**
 * One client of the run: writes its own keys, reads those of others, one request after the other.
 *
 *   suspects? ─▶ look (read own key, nothing under way)           what a reader found odd: lost, or read
 *   wrongly? by chance ─▶ read one key of the same label
 *   else      ─▶ write own key ─ reply ─▶ as expected? ── no ─▶ look
 *                      ├─ refused ─▶ pause
 *                      └─ doubt ──▶ look, again and again until a read succeeds
 */
import type { Env, Timers } from "../env/env.ts";
import type { Reply } from "../redis/reply-decoder.ts";
import type { Outcome, Session, Words } from "./driver.ts";
import { type KeySlot, REMEMBERED_KEYS_MAX } from "./key-slots.ts";
import type { Finding } from "./kinds/kind.ts";
import type { SeededRandom } from "./seeded-random.ts";
import type { Tally } from "./tally.ts";
import type { TrackedKey } from "./tracked-key.ts";

export type VerifyEnv = Pick<Env, "clock" | "timers" | "random" | "net">;

/** After an error, so that an outage is not filled with tries. */
const ERROR_PAUSE_MS = 20;
/** Of a hundred operations, so many are reads. */
const READS_PERCENT = 35;
/** Places that are tried for one whose key does not rest. */
const PICKS_MAX = 4;

/** What all workers of a run have in common. */
export interface RunState {
  readonly env: Pick<Env, "clock" | "timers">;
  readonly tally: Tally;
  readonly random: SeededRandom;
  /** By label: what reads choose from. */
  readonly slots: ReadonlyMap<string, readonly KeySlot[]>;
  /** Keys in doubt, or with a finding: looked at in the end, then deleted. */
  readonly retired: Array<{ readonly key: TrackedKey; readonly label: string }>;
  /** Deleted keys, with the acknowledgement: must not come back. */
  readonly deleted: Array<{ readonly key: TrackedKey; readonly label: string }>;
  /** A reader found something odd in the key: its writer looks, and knows whose fault it is. */
  readonly suspects: Map<KeySlot, { readonly key: TrackedKey; readonly finding: Finding }>;
  stopping: boolean;
  /** No read is tried again after this moment. */
  giveUpMs: number;
}

export class Worker {
  readonly #run: RunState;
  readonly #session: Session;
  readonly #own: readonly KeySlot[];
  readonly #readable: readonly KeySlot[];

  constructor(run: RunState, session: Session, own: readonly KeySlot[]) {
    this.#run = run;
    this.#session = session;
    this.#own = own;
    this.#readable = run.slots.get(own[0].label) ?? own;
  }

  /** Works until the run stops; what was under way is settled then, if the target answers. */
  async work(): Promise<void> {
    const { random } = this.#run;
    while (!this.#run.stopping) {
      const suspect = this.#own.find((slot) => this.#run.suspects.has(slot));
      if (suspect !== undefined) await this.#clear(suspect);
      else if (random.int(100) < READS_PERCENT) await this.#read(random.pick(this.#readable));
      else await this.#write();
    }
    for (const slot of this.#own) if (this.#run.suspects.has(slot)) await this.#clear(slot);
  }

  /** The last look at a key: null when it could not be read in time. */
  async lastLook(key: TrackedKey, label: string): Promise<void> {
    const found = await this.#look(key, label);
    if (found === null) this.#run.tally.unverified++;
    // Seen for the first time, long after the client had given it up.
    else if (found.applied === true) this.#run.tally.appliedUnacknowledged++;
  }

  /** A key that was deleted must not be there. */
  async lookForDeleted(key: TrackedKey, label: string): Promise<void> {
    const outcome = await this.#readUntilAnswered(key.kind.read(key.key), label);
    if (outcome === null) this.#run.tally.unverified++;
    else if (!key.kind.matches(key.key, 0, outcome.reply, null) && !isEmpty(outcome.reply)) {
      const text = `lost: ${key.kind.name} ${key.key}: it was deleted, and is there again`;
      this.#run.tally.find({ fault: "lost", count: 1, text });
    }
  }

  /** Deletes without caring for the answer. */
  async remove(key: TrackedKey): Promise<void> {
    for (const name of key.kind.names(key.key)) await this.#session.run([["DEL", name]]);
  }

  async #write(): Promise<void> {
    const { env, tally } = this.#run;
    const slot = this.#pick();
    if (slot === null) {
      await this.#read(this.#run.random.pick(this.#readable));
      return;
    }
    const { key } = slot;
    tally.writes++;
    const outcome = await this.#session.run(key.begin(env.clock.nowMs()));
    const nowMs = env.clock.nowMs();
    if (outcome.kind === "reply") {
      tally.acknowledged++;
      tally.gaps.success(slot.label, nowMs);
      const expected = key.acknowledge(outcome.reply, nowMs);
      key.takeBackwards().forEach((finding) => tally.find(finding));
      slot.restsUntilMs = nowMs + (key.kind.restMs?.(key.key, key.done) ?? 0);
      if (!expected) await this.#examine(slot, outcome.reply);
      else if (key.full) await this.#finish(slot);
      return;
    }
    tally.errorText(outcome.text);
    if (outcome.kind === "refused") {
      tally.refused++;
      tally.dirtyReads += key.takeDirty();
      key.refuse().forEach((finding) => tally.find(finding));
      if (key.retired) await this.#retire(slot);
      await pause(env.timers, ERROR_PAUSE_MS);
      return;
    }
    tally.inDoubt++;
    key.doubt();
    tally.dirtyReads += key.takeDirty();
    await this.#examine(slot, null);
    await pause(env.timers, ERROR_PAUSE_MS);
  }

  /** A place whose key may be written now; null when all that were tried rest. */
  #pick(): KeySlot | null {
    const nowMs = this.#run.env.clock.nowMs();
    for (let i = 0; i < PICKS_MAX; i++) {
      const slot = this.#run.random.pick(this.#own);
      if (slot.restsUntilMs <= nowMs) return slot;
    }
    return null;
  }

  /** Looks at an own key after something odd: `answer` is a reply that did not fit, or null. */
  async #examine(slot: KeySlot, answer: Reply): Promise<void> {
    const { tally } = this.#run;
    const { key } = slot;
    const found = await this.#look(key, slot.label);
    if (found !== null && found.applied === true) tally.appliedUnacknowledged++;
    if (found !== null && found.clean && answer !== null) {
      const shown = JSON.stringify(answer).slice(0, 100);
      const fault = key.kind.oddAnswer?.(key.key, key.done, answer) ?? "reply";
      const text = `${fault}: ${key.kind.name} ${key.key}: write ${key.done} was answered with ${shown}`;
      tally.find({ fault, count: 1, text });
    }
    // Not read in time: the look at the end will tell.
    if (key.retired || found === null) await this.#retire(slot);
  }

  /** What another session found odd: if the key is as it should be, the reading was wrong. */
  async #clear(slot: KeySlot): Promise<void> {
    const { suspects, tally } = this.#run;
    const suspect = suspects.get(slot);
    suspects.delete(slot);
    if (suspect === undefined) return;
    if (suspect.key !== slot.key) {
      // It was retired or finished meanwhile: a retired key has had its own finding.
      if (!suspect.key.retired) tally.find(asMisread(suspect.finding));
      return;
    }
    const found = await this.#look(slot.key, slot.label);
    if (found !== null && found.clean) tally.find(asMisread(suspect.finding));
    if (slot.key.retired || found === null) await this.#retire(slot);
  }

  /** Reads an own key with nothing under way, until an answer comes; null when none came in time. */
  async #look(
    key: TrackedKey,
    label: string,
  ): Promise<{ readonly applied: boolean | null; readonly clean: boolean } | null> {
    const { tally } = this.#run;
    const first = await this.#settle(key, label);
    if (first === null) return null;
    if (first.finding === null) return { applied: first.applied, clean: true };
    // Once more: what is there now was not lost, the reading of it was wrong.
    const second = await this.#settle(key, label);
    tally.find(second?.finding ?? (second === null ? first.finding : asMisread(first.finding)));
    return { applied: null, clean: false };
  }

  async #settle(key: TrackedKey, label: string): Promise<ReturnType<TrackedKey["settle"]> | null> {
    const { clock } = this.#run.env;
    let mark = key.mark(clock.nowMs());
    const outcome = await this.#readUntilAnswered(key.kind.read(key.key), label, () => {
      mark = key.mark(clock.nowMs());
    });
    return outcome === null ? null : key.settle(mark, outcome.reply, clock.nowMs());
  }

  async #readUntilAnswered(
    words: Words,
    label: string,
    onTry: () => void = () => {},
  ): Promise<Extract<Outcome, { kind: "reply" }> | null> {
    const { env, tally } = this.#run;
    while (env.clock.nowMs() < this.#run.giveUpMs) {
      onTry();
      tally.reads++;
      const outcome = await this.#session.run([words]);
      if (outcome.kind === "reply") {
        tally.gaps.success(label, env.clock.nowMs());
        return outcome;
      }
      tally.readErrors++;
      tally.errorText(outcome.text);
      await pause(env.timers, ERROR_PAUSE_MS);
    }
    return null;
  }

  /** A read beside the writer. */
  async #read(slot: KeySlot): Promise<void> {
    const { env, tally } = this.#run;
    const { key } = slot;
    const mark = key.mark(env.clock.nowMs());
    tally.reads++;
    const outcome = await this.#session.run([key.kind.read(key.key)]);
    const nowMs = env.clock.nowMs();
    if (outcome.kind !== "reply") {
      tally.readErrors++;
      tally.errorText(outcome.text);
      await pause(env.timers, ERROR_PAUSE_MS);
      return;
    }
    tally.gaps.success(slot.label, nowMs);
    // Deleted or retired while it was read: nothing is to be said about it here.
    if (slot.key !== key || key.retired || key.full) return;
    const finding = key.observe(mark, outcome.reply, nowMs);
    if (finding !== null && !this.#run.suspects.has(slot)) this.#run.suspects.set(slot, { key, finding });
  }

  /** A full key is looked at, deleted, and followed by a fresh one. */
  async #finish(slot: KeySlot): Promise<void> {
    const found = await this.#look(slot.key, slot.label);
    if (found === null || slot.key.retired) {
      await this.#retire(slot);
      return;
    }
    const key = slot.replace();
    let sure = true;
    for (const name of key.kind.names(key.key)) {
      const outcome = await this.#session.run([["DEL", name]]);
      if (outcome.kind !== "reply") sure = false;
    }
    if (!sure) {
      await this.remove(key);
      return;
    }
    remember(this.#run.deleted, { key, label: slot.label });
  }

  /** What does not fit into memory any more gets its last look now. */
  async #retire(slot: KeySlot): Promise<void> {
    slot.key.retired = true;
    const forgotten = remember(this.#run.retired, { key: slot.key, label: slot.label });
    slot.replace();
    if (forgotten === undefined) return;
    await this.lastLook(forgotten.key, forgotten.label);
    await this.remove(forgotten.key);
  }
}

/** What was not there for one reader, and is there: nothing is lost, but the read was wrong. */
function asMisread(finding: Finding): Finding {
  if (finding.fault !== "lost") return finding;
  return { fault: "order", count: 1, text: finding.text.replace(/^lost/, "order (read only)") };
}

function isEmpty(reply: Reply): boolean {
  return reply === null || (Array.isArray(reply) && reply.every((one) => one === null));
}

/** The item that had to make room comes back. */
function remember<Item>(list: Item[], item: Item): Item | undefined {
  list.push(item);
  return list.length > REMEMBERED_KEYS_MAX ? list.shift() : undefined;
}

export function pause(timers: Timers, ms: number): Promise<void> {
  return new Promise((resolve) => void timers.after(ms, () => resolve()));
}
