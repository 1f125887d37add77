import { expect, test } from "bun:test";
import { systemTimers } from "../../platform/timers.ts";
import type { KnownProxy } from "../proxy-registry.ts";
import { SlotRates } from "./slot-rates.ts";

/** A proxy with these totals. */
function proxy(id: string, pid: number, slotCalls?: Record<string, number>): KnownProxy {
  const report = { addr: "h:1", pid, state: "serving", workers: [], map: null, servers: [], counters: {} };
  return { id, state: "serving", report: { ...report, slotCalls } as KnownProxy["report"] };
}

test("counts what has come since the last look, over all proxies, and forgets slowly", () => {
  let proxies: KnownProxy[] = [];
  const rates = new SlotRates({ timers: systemTimers }, { all: () => proxies });
  expect(rates.calls(4)).toBeNull();
  proxies = [proxy("p1", 1, { 0: 100 }), proxy("p2", 2, { 0: 10, 3: 5 })];
  expect([...(rates.calls(4) ?? [])]).toEqual([110, 0, 0, 5]);
  expect([...(rates.calls(4) ?? [])]).toEqual([110, 0, 0, 5]);
  proxies = [proxy("p1", 1, { 0: 130 }), proxy("p2", 2, { 0: 10, 3: 5 })];
  rates.look();
  expect([...(rates.calls(4) ?? [])]).toEqual([129, 0, 0, 4.5]);
});

test("a proxy that was started again counts from nothing; one that reports none is left out", () => {
  let proxies: KnownProxy[] = [proxy("p1", 1, { 1: 1000 })];
  const rates = new SlotRates({ timers: systemTimers }, { all: () => proxies });
  rates.calls(4);
  proxies = [proxy("p1", 9, { 1: 7 })];
  expect([...(rates.calls(4) ?? [])]).toEqual([0, 1007, 0, 0]);
  proxies = [proxy("p1", 9)];
  expect(rates.calls(4)).toBeNull();
});
