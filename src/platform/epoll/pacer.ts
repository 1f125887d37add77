/**
 * When the loop lets events gather for a moment instead of taking them one by one.
 *
 *   turn ─▶ begun + ended: has it done much? ─ yes ─▶ the next one at once
 *                                            └ no, under a load of many clients ─▶ sleep PAUSE_US ─▶ the next
 *                                              one finds several
 *
 * A turn that serves one request takes as much kernel time as one that serves five: a wake-up here, one at
 * the server, one at the client. Under a load that leaves this process just fast enough to be woken for each
 * request, pauses save about a quarter of its CPU time, and of the servers'; with that the requests go
 * through no later than without them (measured: bench/README.md).
 *
 * Where it would only cost, there is none: not with a few clients that wait for each reply, not at a low
 * rate, not with pipelines, of which each turn does enough. A request is late by two pauses at the most.
 *
 * Rejected: a time-out of epoll_wait (it ends with the first event), and SCHED_BATCH or sched_yield (they
 * help only while this process shares its core with those that it serves).
 */
import type { Work } from "../../env/net.ts";
import { libc, PR_SET_TIMERSLACK } from "./libc.ts";

/** How long events gather. */
const PAUSE_US = 50;
/** The kernel's default is as long as the pause. */
const TIMER_SLACK_NS = 1000;
/** Requests begun or ended in one turn: with so many it was worth its wake-up. */
const TURN_WORK_ENOUGH = 16;
/** Requests under way at some time of a burst: with so many the next burst may have pauses. */
const CROWD_MIN = 24;
/** Requests under way at the moment: with so many there is a pause. */
const UNDER_WAY_MIN = 4;
/**
 * Requests begun or ended per millisecond of a burst: with so many the next burst may have pauses, because
 * they gather something. Keeps calls that wait long at their server (BLPOP) from looking like a load.
 */
const WORK_PER_MS_MIN = 30;

export class Pacer {
  readonly #work: Work;
  #turnStart = 0;
  #burstStart = 0;
  /** The most requests that were under way at a time, in this burst. */
  #crowd = 0;
  /** Whether there may be pauses in this burst. */
  #paced = false;

  /** `work` is what the turns are judged by; the proxy counts it. */
  constructor(work: Work) {
    this.#work = work;
    libc.prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS);
  }

  /** Called when a turn begins: sleeps, or not. */
  beforeTurn(): void {
    const { begun, ended } = this.#work;
    const underWay = begun - ended;
    if (underWay > this.#crowd) this.#crowd = underWay;
    const sparse = begun + ended - this.#turnStart < TURN_WORK_ENOUGH;
    this.#turnStart = begun + ended;
    if (sparse && this.#paced && underWay >= UNDER_WAY_MIN) libc.usleep(PAUSE_US);
  }

  /** Called when turns have followed each other for `ms`: decides about the next burst. */
  afterBurst(ms: number): void {
    const done = this.#work.begun + this.#work.ended;
    const busy = done - this.#burstStart >= ms * WORK_PER_MS_MIN;
    this.#paced = busy && this.#crowd >= CROWD_MIN;
    this.#burstStart = done;
    this.#crowd = 0;
  }
}
