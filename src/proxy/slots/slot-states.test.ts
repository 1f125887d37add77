import { describe, expect, test } from "bun:test";
import type { ClusterMap, MapGroup, SlotRange } from "../../topology/cluster-map.ts";
import { SLOT_LOCKED, SLOT_MOVING, SLOT_SERVING, SlotStates } from "./slot-states.ts";

const GROUPS: MapGroup[] = ["g1", "g2", "g3"].map((id, i) => {
  return { id, number: i + 1, primary: `h:${i + 1}`, replicas: [] };
});

function map(groups: readonly MapGroup[], ...ranges: SlotRange[]): ClusterMap {
  return { cluster: "c", version: 1, term: 1, hash: "crc32", slots: 1024, groups, ranges, options: {} };
}

const MOVES: SlotRange[] = [
  { from: 0, to: 9, group: "g1", move: { to: "g2", phase: "locked" } },
  { from: 10, to: 19, group: "g1", move: { to: "g2", phase: "moving" } },
  { from: 20, to: 29, group: "g1", move: { to: "g3", phase: "moving" } },
  { from: 30, to: 1023, group: "g3" },
];

describe("SlotStates", () => {
  test("nothing moves", () => {
    const states = new SlotStates(map(GROUPS, { from: 0, to: 1023, group: "g1" }));
    expect([states.unsettled, states.moves.length, states.sources.size]).toEqual([false, 0, 0]);
  });

  test("locked and moving slots, each pair of groups once", () => {
    const states = new SlotStates(map(GROUPS, ...MOVES));
    expect([5, 15, 25, 35].map((slot) => states.of(slot))).toEqual([
      SLOT_LOCKED,
      SLOT_MOVING,
      SLOT_MOVING,
      SLOT_SERVING,
    ]);
    expect(states.moves.map(({ source, target }) => source.id + target.id)).toEqual(["g1g2", "g1g3"]);
    expect(states.moveOf(10)).toBe(states.moveOf(19));
    expect(states.moveOf(5)).toBeNull();
    expect([...states.sources]).toEqual(["g1"]);
  });

  test("a held group locks what it serves, and what is pulled from it", () => {
    const hold = (held: string) => GROUPS.map((group) => ({ ...group, held: group.id === held }));
    const stateWith = (held: string) => {
      const states = new SlotStates(map(hold(held), ...MOVES));
      return [5, 15, 25, 35].map((slot) => states.of(slot) === SLOT_LOCKED);
    };
    expect(stateWith("g1")).toEqual([true, true, true, false]);
    expect(stateWith("g2")).toEqual([true, true, false, false]);
    expect(stateWith("g3")).toEqual([true, false, true, true]);
  });
});
