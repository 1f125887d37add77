import { describe, expect, test } from "bun:test";
import { Progress, formatDuration, formatProgress } from "./progress.ts";

/** A terminal or a log, and a clock that is set by hand. */
function rig(
  interactive: boolean,
  options = {},
): { lines: string[]; at: (ms: number) => void; bar: Progress } {
  const lines: string[] = [];
  let nowMs = 0;
  const world = {
    interactive,
    printError: (text: string) => void lines.push(text),
    redraw: (text: string) => void lines.push(`~${text}`),
  };
  const bar = new Progress(world, "moving", options, () => nowMs);
  return { lines, bar, at: (ms) => (nowMs = ms) };
}

const keys = (done: number) => ({ done, total: 1000, unit: "keys" });

describe("Progress", () => {
  test("at a terminal one line is drawn over, and taken away at the end", () => {
    const { lines, at, bar } = rig(true);
    bar.update(keys(0));
    at(1000);
    bar.update(keys(100));
    bar.end();
    expect(lines).toEqual([
      "~moving  [##----------------------]  10%  100 of 1,000 keys  100 keys/s  9 s left",
      "~",
    ]);
  });

  test("what is over at once draws nothing", () => {
    const { lines, at, bar } = rig(true);
    at(400);
    bar.update(keys(1000));
    bar.end();
    expect(lines).toEqual([]);
  });

  test("in a log a plain line every three seconds, none before two", () => {
    const { lines, at, bar } = rig(false);
    for (let ms = 0; ms <= 6000; ms += 500) {
      at(ms);
      bar.update(keys(ms / 10));
    }
    bar.end();
    expect(lines).toEqual([
      "moving  20%  200 of 1,000 keys  100 keys/s  8 s left",
      "moving  50%  500 of 1,000 keys  100 keys/s  5 s left",
    ]);
  });

  test("with --json nothing", () => {
    const { lines, at, bar } = rig(true, { json: true });
    at(9000);
    bar.update(keys(5));
    bar.note("a note");
    bar.end();
    expect(lines).toEqual([]);
  });

  test("the rate is that of the last seconds", () => {
    const { lines, at, bar } = rig(true);
    bar.update(keys(0));
    at(20_000);
    bar.update(keys(900));
    for (let ms = 21_000; ms <= 30_000; ms += 1000) {
      at(ms);
      bar.update(keys(900));
    }
    expect(lines.at(-1)).not.toContain("/s");
  });
});

test("bytes, durations, an unknown total", () => {
  expect(formatProgress("x", { done: 2048, total: null, unit: "bytes", rate: 1024 }, true)).toBe(
    "x  2.0 KiB  1.0 KiB/s",
  );
  expect([0.2, 59, 75, 3700].map(formatDuration)).toEqual(["1 s", "59 s", "1 min 15 s", "1 h 1 min"]);
});
