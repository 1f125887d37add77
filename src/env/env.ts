/**
 * What a layer may ask of the world. Everything that depends on the machine (time, chance, sockets, files)
 * comes through here, so that a test can hand in its own.
 */
import type { Disk } from "./disk.ts";
import type { Log } from "./log.ts";
import type { Net } from "./net.ts";

export interface Clock {
  /** Milliseconds since some fixed moment, never going back. For durations. */
  nowMs(): number;
  /** Milliseconds since 1970-01-01 UTC. For showing, never for durations. */
  wallMs(): number;
}

export interface Timer {
  cancel(): void;
}

export interface Timers {
  /** Calls `run` once, after `delayMs`. */
  after(delayMs: number, run: () => void): Timer;
  /** Calls `run` again and again, `periodMs` apart. */
  every(periodMs: number, run: () => void): Timer;
}

export interface Random {
  /** 0 <= x < 1. */
  fraction(): number;
  /** `count` hexadecimal digits, for ids. */
  hex(count: number): string;
}

export interface Env {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly net: Net;
  readonly disk: Disk;
  readonly log: Log;
}
