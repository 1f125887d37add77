import { expect, test } from "bun:test";
import { ControlWatch } from "./control-watch.ts";

/** A clock that is moved by hand; its one timer runs at each move. */
class Hand {
  ms = 0;
  #run: () => void = () => undefined;
  readonly clock = { nowMs: () => this.ms, wallMs: () => this.ms };
  readonly timers = {
    after: () => ({ cancel: () => undefined }),
    every: (_periodMs: number, run: () => void) => {
      this.#run = run;
      return { cancel: () => (this.#run = () => undefined) };
    },
  };

  to(ms: number): void {
    this.ms = ms;
    this.#run();
  }
}

test("lost a lease after the last renewal was sent; found by the next", () => {
  const hand = new Hand();
  const told: boolean[] = [];
  const watch = new ControlWatch(hand, (lost) => told.push(lost));
  hand.to(1000);
  watch.renewed(900, 2000);
  hand.to(2900);
  expect(told).toEqual([]);
  hand.to(2901);
  expect(told).toEqual([true]);
  // An answer that comes late renews from when its report was sent.
  hand.to(5000);
  watch.renewed(2950, 2000);
  expect(told).toEqual([true]);
  watch.renewed(4900, 2000);
  expect(told).toEqual([true, false]);
  watch.stop();
  hand.to(99_000);
  expect(told).toEqual([true, false]);
});

test("a proxy that starts without a controller has one lease to find one", () => {
  const hand = new Hand();
  const told: boolean[] = [];
  const watch = new ControlWatch(hand, (lost) => told.push(lost));
  hand.to(5000);
  expect(watch.lost).toBe(false);
  hand.to(5001);
  expect(told).toEqual([true]);
});
