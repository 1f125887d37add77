/**
 * How the loop waits for events: asleep, or else in one of two ways that save wake-ups.
 *
 *   crowd: turn ─▶ begun + ended: has it done much? ─ yes ─▶ the next one at once
 *                                                   └ no ─▶ sleep PAUSE_US ─▶ the next one finds several
 *   lone:  turn ─▶ look again and again, for busyPollUs at the most ─▶ an event, or epoll_wait asleep
 *
 * A crowd of clients: a turn that serves one request takes as much kernel time as one that serves five: a
 * wake-up here, one at the server, one at the client. Under a load that leaves this process just fast enough
 * to be woken for each request, pauses save about a quarter of its CPU time, and of the servers'; with that
 * the requests go through no later than without them (measured: bench/README.md). Not at a low rate, not with
 * pipelines, of which each turn does enough. A request is late by two pauses at the most.
 *
 * A lone client that waits for each reply: what it waits for is mostly processes being woken one behind the
 * other. Whoever looks instead of sleeping is there at once, and the kernel keeps the others off its core:
 * a third of the time saved (bench/README.md). It costs CPU time that would else be idle, so it is given up
 * for a while where it mostly finds nothing: with servers that are far away, or that need this very core. It
 * never begins at a low rate.
 *
 * Rejected: a time-out of epoll_wait for the pauses (it ends with the first event), and SCHED_BATCH or
 * sched_yield (they help only while this process shares its core with those that it serves).
 */
import type { Clock } from "../../env/env.ts";
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

/** Clients' requests under way at any time of a burst: with no more the next may poll. Two gain nothing. */
const LONE_MAX = 1;
/** As WORK_PER_MS_MIN, for polling: with less to do the process may as well sleep. */
const POLL_WORK_PER_MS_MIN = 4;
/** Bursts without polling after one in which most of it found nothing: half a second. */
const REST_BURSTS = 50;

export class Pacer {
  /** Whether the loop looks for a while before it sleeps, in this burst. */
  polling = false;
  readonly #work: Work;
  readonly #busyPollMs: number;
  #turnStart = 0;
  #burstStart = 0;
  /** The most requests that were under way at a time, in this burst; with parts, and without. */
  #crowd = 0;
  #clients = 0;
  /** Whether there may be pauses in this burst. */
  #paced = false;
  /** Polls of this burst, and those of them that found something. */
  #polls = 0;
  #found = 0;
  /** Bursts until polling may be tried again. */
  #rest = 0;

  /**
   * `work` is what the turns are judged by; the proxy counts it. `busyPollUs`: how long to look before
   * sleeping, with a lone client; 0: never.
   */
  constructor(work: Work, busyPollUs: number) {
    this.#work = work;
    this.#busyPollMs = busyPollUs / 1000;
    libc.prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS);
  }

  /** Called when a turn begins: sleeps, or not. */
  beforeTurn(): void {
    const { begun, ended, parts } = this.#work;
    const underWay = begun - ended;
    if (underWay > this.#crowd) this.#crowd = underWay;
    if (underWay - parts > this.#clients) this.#clients = underWay - parts;
    const sparse = begun + ended - this.#turnStart < TURN_WORK_ENOUGH;
    this.#turnStart = begun + ended;
    if (sparse && this.#paced && underWay >= UNDER_WAY_MIN) libc.usleep(PAUSE_US);
  }

  /** Calls `look` until it finds events or the time for it is over. Returns how many it found. */
  poll(look: () => number, clock: Clock): number {
    this.#polls++;
    const end = clock.nowMs() + this.#busyPollMs;
    do {
      const count = look();
      if (count > 0) {
        this.#found++;
        return count;
      }
    } while (clock.nowMs() < end);
    return 0;
  }

  /** Called when turns have followed each other for `ms`: decides about the next burst. */
  afterBurst(ms: number): void {
    const done = this.#work.begun + this.#work.ended;
    const perMs = ms > 0 ? (done - this.#burstStart) / ms : 0;
    this.#paced = perMs >= WORK_PER_MS_MIN && this.#crowd >= CROWD_MIN;
    this.polling = this.#mayPoll(perMs);
    this.#burstStart = done;
    this.#crowd = 0;
    this.#clients = 0;
    this.#polls = 0;
    this.#found = 0;
  }

  #mayPoll(workPerMs: number): boolean {
    if (this.#found * 2 < this.#polls) this.#rest = REST_BURSTS;
    else if (this.#rest > 0) this.#rest--;
    const lone = this.#clients <= LONE_MAX && workPerMs >= POLL_WORK_PER_MS_MIN;
    return lone && this.#rest === 0 && this.#busyPollMs > 0;
  }
}
