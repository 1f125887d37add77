import { describe, expect, test } from "bun:test";
import { type FleetView, type Vote, agreeOnDown, proxiesReach, safeModeReasons } from "./agreement.ts";

/** "c" and "p" are a controller and a proxy; "+", "-" and "?" what they see. */
const votes = (text: string): Vote[] =>
  text.split(" ").map((word, i) => ({
    observer: `${word[0]}${i}`,
    kind: word[0] === "c" ? "controller" : "proxy",
    view: word[1] === "+" ? "up" : word[1] === "-" ? "down" : "silent",
  }));

test.each<[string, number, boolean]>([
  ["c-", 0, true],
  ["c- p+", 0, false],
  ["c- p-", 0, true],
  ["c- p- p+", 0, true],
  ["c- p? p?", 0, false],
  ["c- c- c?", 0, true],
  ["c- c? c?", 0, false],
  ["c-", 2, false],
  ["c- p- p- p+", 3, true],
  ["c- p- p+ p+ p+", 1, true],
])("%s with quorum %d: agreed is %p", (text, quorum, agreed) => {
  expect(agreeOnDown(votes(text), quorum).agreed).toBe(agreed);
});

test.each<[string, boolean]>([
  ["c-", false],
  ["c- p-", false],
  ["c- p+", true],
  ["c- p+ p-", true],
  ["c- p+ p- p-", false],
  ["c- p+ p? p?", true],
])("%s: the proxies reach it is %p", (text, reach) => {
  expect(proxiesReach(votes(text))).toBe(reach);
});

describe("safe mode", () => {
  const view = (more: Partial<FleetView>): FleetView => ({
    groups: 4,
    silentGroups: 0,
    safeModeGroups: 0,
    proxiesServing: 0,
    proxiesLost: 0,
    ...more,
  });

  test.each<[number, number, number, boolean]>([
    [1, 1, 0, false],
    [2, 2, 0, false],
    [3, 1, 0, false],
    [3, 2, 0, true],
    [4, 2, 0, false],
    [4, 3, 0, true],
    [10, 3, 2, true],
    [10, 9, 9, false],
  ])("%d groups, %d silent, bound %d: %p", (groups, silentGroups, safeModeGroups, on) => {
    expect(safeModeReasons(view({ groups, silentGroups, safeModeGroups })).length > 0).toBe(on);
  });

  test("most proxies lost: this controller may be the one that is cut off", () => {
    expect(safeModeReasons(view({ proxiesServing: 1, proxiesLost: 1 }))).toEqual([]);
    expect(safeModeReasons(view({ proxiesServing: 1, proxiesLost: 2 }))[0]).toContain(
      "2 of 3 proxies are lost",
    );
    expect(safeModeReasons(view({ proxiesServing: 0, proxiesLost: 1 }))).toHaveLength(1);
  });
});
