import { expect, test } from "bun:test";
import type { ServerSight } from "../upstream/server-sights.ts";
import { worstSights } from "./worst-sights.ts";

function sight(addr: string, state: ServerSight["state"], sinceMs: number, detail = ""): ServerSight {
  return { addr, state, sinceMs, detail };
}

test("down beats up, up beats unknown; durations grow with time", () => {
  const first = { toldMs: 1000, sights: [sight("a:1", "up", 500), sight("b:1", "unknown", 10)] };
  const second = { toldMs: 2000, sights: [sight("a:1", "down", 100, "refused"), sight("b:1", "up", 5)] };
  expect(worstSights([first, second], 3000)).toEqual([
    sight("a:1", "down", 1100, "refused"),
    sight("b:1", "up", 1005),
  ]);
});

test("of two that see it down, the one that has seen it first", () => {
  const late = { toldMs: 100, sights: [sight("a:1", "down", 10, "late")] };
  const early = { toldMs: 100, sights: [sight("a:1", "down", 90, "early")] };
  expect(worstSights([late, early], 100)[0].detail).toBe("early");
  expect(worstSights([early, late], 100)[0].detail).toBe("early");
});

test("nobody has told: nothing is seen", () => {
  expect(worstSights([], 5)).toEqual([]);
});
