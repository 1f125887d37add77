import { describe, expect, test } from "bun:test";
import type { ClusterMap, SlotRange } from "../../topology/cluster-map.ts";
import { MoveHistory } from "./move-history.ts";

function map(version: number, ...ranges: SlotRange[]): ClusterMap {
  const groups = ["g1", "g2", "g3"].map((id, i) => ({
    id,
    number: i + 1,
    primary: `h:${i + 1}`,
    replicas: [],
  }));
  return { cluster: "c", version, term: 1, hash: "crc32", slots: 1024, groups, ranges, options: {} };
}

const HALF: SlotRange = { from: 0, to: 511, group: "g1" };
const REST: SlotRange = { from: 512, to: 1023, group: "g3" };

describe("MoveHistory", () => {
  test("a move counts from its lock to its end", () => {
    const history = new MoveHistory();
    history.apply(map(5, HALF, REST));
    expect(history.gainedSince(5).size).toBe(0);
    expect(history.begunSince(5)).toBe(false);
    history.apply(map(6, { ...HALF, move: { to: "g2", phase: "locked" } }, REST));
    expect([...history.gainedSince(6)]).toEqual(["g2"]);
    expect([history.begunSince(5), history.begunSince(6)]).toEqual([true, false]);
    history.apply(map(7, { ...HALF, move: { to: "g2", phase: "moving" } }, REST));
    expect(history.begunSince(6)).toBe(false);
    history.apply(map(9, { ...HALF, group: "g2" }, REST));
    expect([...history.gainedSince(8)]).toEqual(["g2"]);
    expect(history.gainedSince(9).size).toBe(0);
    expect(history.begunSince(6)).toBe(false);
  });

  test("what was before the first map is not known; what was missed is seen by its end", () => {
    const history = new MoveHistory();
    history.apply(map(5, HALF, REST));
    expect([...history.gainedSince(4)].toSorted()).toEqual(["g1", "g2", "g3"]);
    expect(history.begunSince(4)).toBe(true);
    history.apply(map(9, { ...HALF, group: "g3" }, REST));
    expect([...history.gainedSince(5)]).toEqual(["g3"]);
    expect([history.begunSince(8), history.begunSince(9)]).toEqual([true, false]);
  });
});
