/**
 * Questions of one worker to all others, through the master: a client's CLIENT LIST has to show the clients
 * of every worker, CLIENT KILL has to find the one that is meant.
 *
 *   worker 0 ── ask 7 ──▶ master ── ask 41 ──▶ worker 1, worker 2
 *            ◀─ answers 7 ──┘ ◀── answer 41 ──┘   all there, or time is up, or the missing ones died
 */
import type { Timer } from "../../env/env.ts";
import type { MasterEnv } from "./worker-process.ts";
import type { WorkerSlot } from "./worker-slot.ts";

/**
 * Whoever has not answered by then is left out: one stuck worker must not hold up a client of another one.
 */
const ANSWER_TIMEOUT_MS = 500;
/** Open questions per asking worker; one more is answered with nobody's answer at once. */
const OPEN_QUESTIONS_MAX = 1024;

interface OpenQuestion {
  readonly asker: WorkerSlot;
  readonly askerId: number;
  /** By worker number; `undefined` until it has answered. */
  readonly answers: Map<number, unknown>;
  readonly waitingFor: Set<number>;
  readonly timer: Timer;
}

export class WorkerQuestions {
  readonly #env: MasterEnv;
  readonly #slots: readonly WorkerSlot[];
  readonly #open = new Map<number, OpenQuestion>();
  #nextId = 1;

  constructor(env: MasterEnv, slots: readonly WorkerSlot[]) {
    this.#env = env;
    this.#slots = slots;
  }

  ask(asker: WorkerSlot, askerId: number, question: unknown): void {
    const others = this.#slots.filter((slot) => slot !== asker && slot.state === "serving");
    const mine = [...this.#open.values()].filter((open) => open.asker === asker).length;
    if (others.length === 0 || mine >= OPEN_QUESTIONS_MAX) {
      const missing = others.map((slot) => slot.index);
      asker.send({ type: "answers", id: askerId, answers: [], missing });
      return;
    }
    const id = this.#nextId++;
    this.#open.set(id, {
      asker,
      askerId,
      answers: new Map(),
      waitingFor: new Set(others.map((slot) => slot.index)),
      timer: this.#env.timers.after(ANSWER_TIMEOUT_MS, () => this.#finish(id)),
    });
    for (const slot of others) slot.send({ type: "ask", id, question });
  }

  answer(from: WorkerSlot, id: number, answer: unknown): void {
    const open = this.#open.get(id);
    if (open === undefined || !open.waitingFor.delete(from.index)) return;
    open.answers.set(from.index, answer);
    if (open.waitingFor.size === 0) this.#finish(id);
  }

  /** Nobody waits for a worker that has died, and a dead asker wants no answer. */
  forget(slot: WorkerSlot): void {
    for (const [id, open] of this.#open) {
      if (open.asker === slot) {
        open.timer.cancel();
        this.#open.delete(id);
      } else if (open.waitingFor.has(slot.index) && open.waitingFor.size === 1) {
        this.#finish(id);
      }
    }
  }

  #finish(id: number): void {
    const open = this.#open.get(id);
    if (open === undefined) return;
    this.#open.delete(id);
    open.timer.cancel();
    const byNumber = [...open.answers.entries()].toSorted((a, b) => a[0] - b[0]);
    const answers = byNumber.map(([, answer]) => answer);
    open.asker.send({ type: "answers", id: open.askerId, answers, missing: [...open.waitingFor] });
  }
}
