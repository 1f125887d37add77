import { expect, test } from "bun:test";
import { PulledKeys } from "./pulled-keys.ts";

test("keys are known by database, the oldest are forgotten, the latest never", () => {
  const pulled = new PulledKeys(10, 1000);
  for (let i = 0; i < 1000; i++) {
    pulled.add(i % 3, `key:${i}`);
    for (let back = 0; back < 10 && back <= i; back++)
      expect(pulled.has((i - back) % 3, `key:${i - back}`)).toBe(true);
    expect(pulled.has((i + 1) % 3, `key:${i}`)).toBe(false);
  }
  const known = Array.from({ length: 1000 }, (_, i) => pulled.has(i % 3, `key:${i}`)).filter((each) => each);
  expect(known.length).toBeLessThanOrEqual(20);
});

test("long names make a generation short", () => {
  const pulled = new PulledKeys(1000, 100);
  for (let i = 0; i < 10; i++) pulled.add(0, `${i}`.repeat(60));
  expect(pulled.has(0, "9".repeat(60))).toBe(true);
  expect(pulled.has(0, "5".repeat(60))).toBe(false);
});
