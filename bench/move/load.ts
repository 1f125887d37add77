/**
 * The clients: each sends one request, waits for the answer, sends the next; four reads to one write, keys by
 * chance. They share this process: what counts is the same load before, during and after.
 */
import { readCommand, writeCommand } from "./dataset.ts";
import type { Entrance } from "./entrance.ts";

/** What clients felt over some time. Latencies in milliseconds. */
export interface Felt {
  readonly requests: number;
  readonly requestsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
  readonly errors: number;
  /** Reads that found nothing, although every key is there. */
  readonly misses: number;
}

const WRITES_OF_FIVE = 1;
const ERRORS_KEPT = 5;

export class Load {
  /** The first errors, as texts. */
  readonly errorTexts: string[] = [];
  readonly #entrances: readonly Entrance[];
  readonly #keys: number;
  #latencies: number[] = [];
  #errors = 0;
  #misses = 0;
  #sinceMs = 0;
  #stopped = false;
  #loops: Promise<void>[] = [];

  constructor(entrances: readonly Entrance[], keys: number) {
    this.#entrances = entrances;
    this.#keys = keys;
  }

  start(): void {
    this.#sinceMs = performance.now();
    this.#loops = this.#entrances.map((entrance) => this.#loop(entrance));
  }

  /** What was felt since the last call, or the start. */
  take(): Felt {
    const nowMs = performance.now();
    const latencies = Float64Array.from(this.#latencies).sort();
    const at = (share: number): number =>
      latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))];
    const felt: Felt = {
      requests: latencies.length,
      requestsPerSecond: (latencies.length * 1000) / (nowMs - this.#sinceMs),
      p50Ms: at(0.5),
      p99Ms: at(0.99),
      p999Ms: at(0.999),
      maxMs: latencies[latencies.length - 1],
      errors: this.#errors,
      misses: this.#misses,
    };
    this.#latencies = [];
    this.#errors = 0;
    this.#misses = 0;
    this.#sinceMs = performance.now();
    return felt;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#loops);
  }

  async #loop(entrance: Entrance): Promise<void> {
    while (!this.#stopped) {
      const key = Math.floor(Math.random() * this.#keys);
      const isWrite = Math.random() * 5 < WRITES_OF_FIVE;
      const startedMs = performance.now();
      const reply = await entrance.send(isWrite ? writeCommand(key) : readCommand(key));
      this.#latencies.push(performance.now() - startedMs);
      if (reply.startsWith("-")) {
        this.#errors++;
        if (this.errorTexts.length < ERRORS_KEPT) this.errorTexts.push(reply.trimEnd());
      } else if (!isWrite && /^(\$-1|_|\*0)/.test(reply)) {
        this.#misses++;
        const missed = `${readCommand(key).join(" ")} found nothing: ${reply.trimEnd()}`;
        if (this.errorTexts.length < ERRORS_KEPT) this.errorTexts.push(missed);
      }
    }
  }
}
