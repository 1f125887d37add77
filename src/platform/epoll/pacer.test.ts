import { expect, test } from "bun:test";
import { Pacer } from "./pacer.ts";

const POLL_US = 100;
const BURST_MS = 10;
const REST_BURSTS = 50;

/** A pacer, its work, and a clock that goes on by 20 µs with each look at it. */
function rig(pollUs = POLL_US) {
  const work = { begun: 0, ended: 0, parts: 0 };
  let ms = 0;
  const clock = { nowMs: () => (ms += 0.02), wallMs: () => 0 };
  const pacer = new Pacer(work, pollUs);
  return { work, clock, pacer };
}

/** One burst in which `clients` requests are under way at a time, `turns` times, each of `parts` parts. */
function burst({ work, pacer }: ReturnType<typeof rig>, clients: number, turns = 100, parts = 0): void {
  for (let turn = 0; turn < turns; turn++) {
    work.begun += clients * (1 + parts);
    work.parts += clients * parts;
    pacer.beforeTurn();
    work.ended += clients * (1 + parts);
    work.parts -= clients * parts;
  }
  pacer.afterBurst(BURST_MS);
}

test("polls for a lone client that sends one request after the other", () => {
  const lone = rig();
  expect(lone.pacer.polling).toBe(false);
  burst(lone, 1);
  expect(lone.pacer.polling).toBe(true);
});

test("the parts of a split request are no clients", () => {
  const split = rig();
  burst(split, 1, 100, 8);
  expect(split.pacer.polling).toBe(true);
});

test("does not poll with two clients, at a low rate, or when told never to", () => {
  const two = rig();
  burst(two, 2);
  expect(two.pacer.polling).toBe(false);
  const slow = rig();
  burst(slow, 1, 10);
  expect(slow.pacer.polling).toBe(false);
  const never = rig(0);
  burst(never, 1);
  expect(never.pacer.polling).toBe(false);
});

test("stops polling in the burst after the one in which nothing happened", () => {
  const idle = rig();
  burst(idle, 1);
  idle.pacer.afterBurst(BURST_MS);
  expect(idle.pacer.polling).toBe(false);
});

test("a poll ends with the first events, or after its time", () => {
  const { pacer, clock } = rig();
  let looks = 0;
  expect(pacer.poll(() => (++looks === 3 ? 2 : 0), clock)).toBe(2);
  expect(looks).toBe(3);
  looks = 0;
  expect(pacer.poll(() => (looks++, 0), clock)).toBe(0);
  expect(looks).toBeGreaterThan(2);
  expect(looks).toBeLessThan(7);
});

test("rests after a burst in which most polls found nothing, then tries again", () => {
  const far = rig();
  burst(far, 1);
  for (const found of [1, 0, 0]) far.pacer.poll(() => found, far.clock);
  burst(far, 1);
  expect(far.pacer.polling).toBe(false);
  for (let bursts = 1; bursts < REST_BURSTS; bursts++) burst(far, 1);
  expect(far.pacer.polling).toBe(false);
  burst(far, 1);
  expect(far.pacer.polling).toBe(true);
  for (const found of [1, 0]) far.pacer.poll(() => found, far.clock);
  burst(far, 1);
  expect(far.pacer.polling).toBe(true);
});
