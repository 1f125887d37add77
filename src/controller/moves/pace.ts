/**
 * How fast keys are moved: bounded by what a person wants, and by how the source does.
 *
 *   before a batch   SpeedLimit: the limits of all moves together (keys/s, bytes/s)
 *   after a call     SourcePace.rest: a pause in proportion to the call, while the source's latency is too
 *   high
 *
 * The pause grows by half each time that the latency is looked at and found too high, and shrinks by a fifth
 * when it is not: the move backs off within tenths of a second and comes back within seconds. The pauses
 * show how slow the source is by itself; the bound is never lower than that. A source that serves clients
 * gets most of its time for them in any case: their throughput suffers long before a percentile says so, and
 * a key that is in use moves when it is asked for. Rejected: a fixed share of the source's time (wastes an
 * idle source, and is too much for a busy one).
 */
import type { Clock } from "../../env/env.ts";
import type { MovesRecord } from "../../topology/move-record.ts";
import type { LatencyProbe } from "./latency-probe.ts";
import { type MoveParts, sleep } from "./move-parts.ts";

/** How far behind its limit a move may be and catch up at once. */
const BURST_MS = 100;
/** A batch is at most what a limit allows in this time, so that a low one is not met by rare bursts. */
const BATCH_OF_MS = 100;

export class SpeedLimit {
  readonly #clock: Clock;
  /** When what has been taken so far is paid for, by the monotonic clock. */
  #keysPaidMs = 0;
  #bytesPaidMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Milliseconds until the next batch may go; limits may change meanwhile, so ask again. */
  waitMs(limits: MovesRecord): number {
    const nowMs = this.#clock.nowMs();
    const forKeys = limits.keysPerSecond === null ? 0 : this.#keysPaidMs - nowMs;
    const forBytes = limits.bytesPerSecond === null ? 0 : this.#bytesPaidMs - nowMs;
    return Math.max(0, forKeys, forBytes);
  }

  /** Keys that one batch may have. */
  batchKeysMax(limits: MovesRecord, otherwise: number): number {
    const { keysPerSecond } = limits;
    return keysPerSecond === null
      ? otherwise
      : Math.min(otherwise, Math.max(1, Math.floor((keysPerSecond * BATCH_OF_MS) / 1000)));
  }

  /** A batch goes. */
  spend(limits: MovesRecord, keys: number, bytes: number): void {
    const nowMs = this.#clock.nowMs();
    this.#keysPaidMs = paid(this.#keysPaidMs, nowMs, keys, limits.keysPerSecond);
    this.#bytesPaidMs = paid(this.#bytesPaidMs, nowMs, bytes, limits.bytesPerSecond);
  }
}

function paid(beforeMs: number, nowMs: number, amount: number, perSecond: number | null): number {
  return perSecond === null ? 0 : Math.max(beforeMs, nowMs - BURST_MS) + (amount * 1000) / perSecond;
}

/** How often the latency is looked at. */
const LOOK_PERIOD_MS = 100;
/** Pause per time of call: at most, and below what it is none. */
const REST_MAX = 30;
const REST_MIN = 0.25;
/** With more than this for others, per second, a server is in use: at least BUSY_REST is given to them. */
const OTHERS_PER_SECOND_MIN = 500;
const BUSY_REST = 20;
/** Short calls cost more per key, but what others wait for grows with the length of a call. */
const BUSY_CALL_MS = 1;
/** With less than this it serves nobody but those who watch it: there is nobody to slow down for. */
const IDLE_PER_SECOND_MAX = 20;
/** A server that is slow by itself may become so much slower. */
const SLOWER_MAX = 1.5;

export class SourcePace {
  readonly #parts: MoveParts;
  readonly #probe: LatencyProbe;
  #rest = 0;
  #lookedMs = 0;

  constructor(parts: MoveParts, probe: LatencyProbe) {
    this.#parts = parts;
    this.#probe = probe;
  }

  /** Milliseconds that a call may take: so that calls alone do not bring the latency over its bound. */
  get callMs(): number {
    const { callMs, latencyBoundMs } = this.#parts.options;
    return Math.min(callMs, latencyBoundMs * 0.6, this.#busy ? BUSY_CALL_MS : callMs);
  }

  /** So many commands of the move have gone to the source. */
  countOwn(commands: number): void {
    this.#probe.countOwn(commands);
  }

  /** A call begins; what comes back is to be called at its end. */
  begin(): () => void {
    this.#probe.callBegins();
    return () => this.#probe.callEnds();
  }

  /** A call took `tookMs`: lets the source serve others, for as long as it seems to need it. */
  async rest(tookMs: number): Promise<void> {
    this.#look();
    const rest = this.#busy ? Math.max(BUSY_REST, this.#rest) : this.#rest;
    if (rest > 0) await sleep(this.#parts, Math.max(1, tookMs * rest));
  }

  get #busy(): boolean {
    return this.#probe.othersPerSecond > OTHERS_PER_SECOND_MIN;
  }

  #look(): void {
    const nowMs = this.#parts.env.clock.nowMs();
    if (nowMs - this.#lookedMs < LOOK_PERIOD_MS) return;
    this.#lookedMs = nowMs;
    const p99Ms = this.#probe.p99Ms;
    if (p99Ms === null) return;
    if (this.#probe.othersPerSecond < IDLE_PER_SECOND_MAX) {
      this.#rest = 0;
      return;
    }
    const boundMs = Math.max(this.#parts.options.latencyBoundMs, SLOWER_MAX * (this.#probe.quietP99Ms ?? 0));
    if (p99Ms > boundMs) {
      this.#rest = Math.min(REST_MAX, Math.max(REST_MIN, this.#rest * 1.5));
    } else {
      this.#rest = this.#rest * 0.8 < REST_MIN ? 0 : this.#rest * 0.8;
    }
  }
}
