import { expect, test } from "bun:test";
import type { Timer } from "../../env/env.ts";
import type { Log } from "../../env/log.ts";
import type { ClusterMap } from "../../topology/cluster-map.ts";
import type { ProxyConfig } from "../proxy-config.ts";
import type { WorkerEnd, WorkerProcess } from "./worker-process.ts";
import { type SlotEvents, WorkerSlot } from "./worker-slot.ts";

const silent: Log = { debug() {}, info() {}, warn() {}, error() {}, with: () => silent };

/** Timers that run when the test says so. */
class ManualTimers {
  readonly #periodic = new Set<() => void>();

  after(): Timer {
    return { cancel() {} };
  }

  every(_periodMs: number, run: () => void): Timer {
    this.#periodic.add(run);
    return { cancel: () => void this.#periodic.delete(run) };
  }

  pass(): void {
    for (const run of this.#periodic) run();
  }
}

class FakeProcess implements WorkerProcess {
  readonly pid = 4711;
  readonly signals: string[] = [];
  say: (message: unknown) => void = () => {};
  readonly ended = new Promise<WorkerEnd>(() => {});

  send(): void {}

  onMessage(receive: (message: unknown) => void): void {
    this.say = receive;
  }

  kill(signal: "SIGTERM" | "SIGKILL"): void {
    this.signals.push(signal);
  }
}

const events: SlotEvents = {
  nextGeneration: () => 1,
  currentMap: () => ({ version: 1 }) as ClusterMap,
  onChange() {},
  onReady() {},
  onCrash() {},
  onAsk() {},
  onAnswer() {},
};

test("a serving worker that says nothing for a while is killed; one that reports is not", async () => {
  const timers = new ManualTimers();
  const process = new FakeProcess();
  const env = { clock: { nowMs: () => 0, wallMs: () => 0 }, timers, log: silent };
  const slot = new WorkerSlot(env, 0, {} as ProxyConfig, () => Promise.resolve(process), events);
  slot.start();
  await Promise.resolve();
  await Promise.resolve();
  process.say({ type: "ready", address: "127.0.0.1:1" });
  for (let second = 0; second < 60; second++) {
    timers.pass();
    process.say({ type: "stats", counters: {} });
  }
  expect(process.signals).toEqual([]);
  for (let second = 0; second < 14; second++) timers.pass();
  expect(process.signals).toEqual([]);
  timers.pass();
  expect(process.signals).toEqual(["SIGKILL"]);
});
