import { describe, expect, test } from "bun:test";
import { type FleetView, type Vote, agreeOnDown, proxiesReach, safeModeReasons } from "./agreement.ts";

/** "c" and "p" are a controller and a proxy; "+", "-" and "?" what they see; after "@" their machine. */
const votes = (text: string): Vote[] =>
  text.split(" ").map((word, i) => ({
    observer: `${word[0]}${i}`,
    kind: word[0] === "c" ? "controller" : "proxy",
    machine: word.split("@")[1] ?? "m",
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

test.each<[string, number, boolean, number]>([
  // A machine is dead, with more observers on it than all others have.
  ["c-@a p-@a c?@b p?@b p?@b p?@b p-@c", 0, true, 3],
  // A leader that is cut off with its own proxies is one voice.
  ["c-@a p-@a p-@a p-@a c?@b c?@c", 0, false, 3],
  // Two machines can't tell which of them is cut off.
  ["c-@a p-@a c?@b p?@b", 0, false, 2],
  // Who is silent where others speak has died alone.
  ["c-@a p?@a p-@b p?@b", 0, true, 2],
  // A machine that is of two minds reaches it.
  ["c-@a p-@b p+@b", 0, false, 2],
  ["c-@a p-@b p-@b p+@b", 0, true, 2],
  ["c-@a p-@a p-@b p+@c p+@d", 2, true, 4],
  ["c-@a p-@a p-@a p+@b", 2, false, 2],
])("by machine: %s with quorum %d: agreed is %p", (text, quorum, agreed, voices) => {
  expect(agreeOnDown(votes(text), quorum)).toMatchObject({ agreed, voices, counted: "machines" });
});

test.each<[string, boolean]>([
  ["c-", false],
  ["c- p-", false],
  ["c- p+", true],
  ["c- p+ p-", true],
  ["c- p+ p- p-", false],
  ["c- p+ p? p?", true],
  ["p+@a p+@a p+@a p-@b p-@c", false],
  ["p+@a p-@b p-@b p-@b", true],
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
