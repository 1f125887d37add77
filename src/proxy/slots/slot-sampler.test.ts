import { expect, test } from "bun:test";
import { SlotSampler } from "./slot-sampler.ts";

test("a sample stands for all requests since the last one", () => {
  let tick = (): void => undefined;
  let turnEnd = (): void => undefined;
  let requests = 0;
  const diverted: boolean[] = [];
  const timers = {
    after: () => ({ cancel: () => undefined }),
    every: (_ms: number, run: () => void) => ((tick = run), { cancel: () => undefined }),
  };
  const sampler = new SlotSampler(timers, {
    divert: (on) => diverted.push(on),
    requests: () => requests,
    atTurnEnd: (run) => (turnEnd = run),
  });
  expect(sampler.open).toBe(false);
  tick();
  tick();
  expect([sampler.open, diverted]).toEqual([true, [true]] as never);
  for (const slot of [7, 7, 9]) sampler.count(slot);
  requests = 3000;
  turnEnd();
  expect([sampler.open, diverted]).toEqual([false, [true, false]] as never);
  expect(sampler.take()).toEqual([7, 2000, 9, 1000]);
  expect(sampler.take()).toEqual([]);
  tick();
  for (const slot of [1, 2, 3]) sampler.count(slot);
  requests = 3002;
  turnEnd();
  // Less than one each: kept until it is one.
  expect(sampler.take()).toEqual([]);
  tick();
  sampler.count(1);
  requests = 3003;
  turnEnd();
  expect(sampler.take()).toEqual([1, 1]);
});
