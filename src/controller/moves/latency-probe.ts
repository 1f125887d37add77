/**
 * A server's latency as a client feels it: PING every 10 ms over a connection of its own. What moves keys
 * looks at the 99th percentile of the last second.
 *
 * Probes that no call of ours was near to are counted by themselves: what they say is how slow the server is
 * anyway. A move that slowed down for that would slow down for nothing.
 */
import { errorTextOf } from "../../base/shoal-error.ts";
import type { Timer } from "../../env/env.ts";
import type { RedisServer } from "../../redis/redis-server.ts";
import { parseInfoFields } from "../../redis/server-info.ts";
import type { MoveParts } from "./move-parts.ts";

const PROBE_PERIOD_MS = 10;
const SAMPLES_KEPT = 100;
/** With fewer than this nothing is said. */
const SAMPLES_MIN = 10;
/** Every so many probes it is looked at how many commands the server processes. */
const COUNT_EVERY = 30;
/** So long after a call nothing waits because of it any more. */
const QUIET_AFTER_MS = 1;

export class LatencyProbe {
  readonly #env: MoveParts["env"];
  readonly #server: RedisServer;
  readonly #all = new Samples();
  readonly #quiet: Samples;
  /** Calls of ours that are under way, and when the last one ended. */
  #calls = 0;
  #callEndedMs = 0;
  #asking = false;
  #asked = 0;
  #timer: Timer | null = null;
  /** What the server had processed, and we had sent, when it was last counted. */
  #counted: { readonly atMs: number; readonly processed: number; readonly sent: number } | null = null;
  #sent = 0;
  #othersPerSecond = 0;

  /**
   * `server` is used for nothing else, and closed by {@link stop}. `quiet`: what is known from an earlier
   * probe of the same server.
   */
  constructor(env: MoveParts["env"], server: RedisServer, quiet: Samples) {
    this.#env = env;
    this.#server = server;
    this.#quiet = quiet;
  }

  start(): void {
    this.#timer = this.#env.timers.every(PROBE_PERIOD_MS, () => void this.#ask());
  }

  stop(): void {
    this.#timer?.cancel();
    this.#server.close();
  }

  /** Of all probes; null while too little is known. Milliseconds. */
  get p99Ms(): number | null {
    return this.#all.p99;
  }

  /** Of those that no call was near to. */
  get quietP99Ms(): number | null {
    return this.#quiet.p99;
  }

  /** Commands per second that the server processes for others than the move. */
  get othersPerSecond(): number {
    return this.#othersPerSecond;
  }

  callBegins(): void {
    this.#calls++;
  }

  callEnds(): void {
    this.#calls--;
    this.#callEndedMs = this.#env.clock.nowMs();
  }

  /** So many commands of the move have been sent to the server. */
  countOwn(commands: number): void {
    this.#sent += commands;
  }

  async #ask(): Promise<void> {
    if (this.#asking) return;
    this.#asking = true;
    try {
      if (++this.#asked % COUNT_EVERY === 0) await this.#countOthers();
      await this.#probe();
    } catch (error) {
      // A server that does not answer is noticed by those who move its keys.
      this.#env.log.debug("latency-probe-failed", { reason: errorTextOf(error) });
    } finally {
      this.#asking = false;
    }
  }

  async #probe(): Promise<void> {
    const { clock } = this.#env;
    const beganMs = clock.nowMs();
    const endedBefore = this.#callEndedMs;
    const quiet = this.#calls === 0 && beganMs - endedBefore >= QUIET_AFTER_MS;
    await this.#server.ping();
    const tookMs = clock.nowMs() - beganMs;
    this.#sent++;
    this.#all.add(tookMs);
    if (quiet && this.#calls === 0 && this.#callEndedMs === endedBefore) this.#quiet.add(tookMs);
  }

  async #countOthers(): Promise<void> {
    const fields = parseInfoFields(String(await this.#server.command(["INFO", "stats"])));
    this.#sent++;
    const now = {
      atMs: this.#env.clock.nowMs(),
      processed: Number(fields.get("total_commands_processed") ?? 0),
      sent: this.#sent,
    };
    const before = this.#counted;
    this.#counted = now;
    // A restarted server counts from the beginning.
    if (before === null || now.processed < before.processed) return;
    const others = now.processed - before.processed - (now.sent - before.sent);
    this.#othersPerSecond = Math.max(0, (others * 1000) / Math.max(1, now.atMs - before.atMs));
  }
}

/** The last so many milliseconds: a ring, the oldest is overwritten. */
export class Samples {
  readonly #ring: number[] = [];
  #next = 0;

  add(value: number): void {
    this.#ring[this.#next] = value;
    this.#next = (this.#next + 1) % SAMPLES_KEPT;
  }

  /** Null while too little is known. */
  get p99(): number | null {
    if (this.#ring.length < SAMPLES_MIN) return null;
    const sorted = this.#ring.toSorted((a, b) => a - b);
    return sorted[Math.floor((sorted.length - 1) * 0.99)];
  }
}
