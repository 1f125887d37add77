import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { createTopology } from "./change-topology.ts";
import type { ClusterTopology } from "./cluster-topology.ts";
import { type RebalanceWish, planRebalance, slotOwners } from "./rebalance-plan.ts";
import { assignSlots, joinRanges } from "./slot-ranges.ts";

const NO_WEIGHTS: RebalanceWish = { by: "slots", slotWeights: [], shares: {}, donors: null };

/** A cluster of `owners.length / 1024`-th slots: slot s belongs to group number `owners[s % …]`. */
function clusterOf(groups: number, ownerOf: (slot: number) => number): ClusterTopology {
  const specs = Array.from({ length: groups }, (_, i) => ({
    id: `g${i + 1}`,
    primary: `h:${i + 1}`,
    replicas: [],
  }));
  const topology = createTopology({ name: "c", slots: 1024, groups: specs, options: {} }, 1);
  const ranges = Array.from({ length: 1024 }, (_, slot) => ({
    from: slot,
    to: slot,
    group: `g${ownerOf(slot) + 1}`,
  }));
  return { ...topology, ranges: joinRanges(ranges) };
}

/** Owners after the moves; fails when a move does not begin at the slot's owner. */
function carryOut(topology: ClusterTopology, moves: ReturnType<typeof planRebalance>["moves"]): string[] {
  const owners = slotOwners(topology);
  for (const { from, to, source, target } of moves) {
    for (let slot = from; slot <= to; slot++) {
      expect(owners[slot]).toBe(source);
      expect(target).not.toBe(source);
      owners[slot] = target;
    }
  }
  return owners;
}

function countOf(owners: readonly string[], groups: number): number[] {
  return Array.from({ length: groups }, (_, i) => owners.filter((owner) => owner === `g${i + 1}`).length);
}

/** A random cluster: a few groups, slots in runs of random length, as a life of moves leaves them. */
const clusters = fc
  .record({
    groups: fc.integer({ min: 1, max: 7 }),
    runs: fc.array(fc.tuple(fc.nat(1023), fc.nat(6)), { maxLength: 40 }),
  })
  .map(({ groups, runs }) => {
    let topology = clusterOf(groups, () => 0);
    for (const [from, owner] of runs) {
      const to = Math.min(1023, from + 100);
      topology = {
        ...topology,
        ranges: assignSlots(topology.ranges, { from, to }, `g${(owner % groups) + 1}`),
      };
    }
    return { groups, topology };
  });

describe("planRebalance by slots", () => {
  test("a third, empty group gets a third, and nothing else moves", () => {
    const plan = planRebalance(
      clusterOf(3, (slot) => (slot < 512 ? 0 : 1)),
      NO_WEIGHTS,
    );
    expect(plan.moves).toEqual([
      { from: 342, to: 511, source: "g1", target: "g3" },
      { from: 853, to: 1023, source: "g2", target: "g3" },
    ]);
    expect(plan.after.map((one) => one.slots)).toEqual([342, 341, 341]);
    expect(plan.spreadBefore).toMatchObject({ min: 0, max: 512 });
    expect(plan.spreadAfter).toMatchObject({ min: 341, max: 342 });
  });

  test("property: every slot stays covered, the moves are as few as can be, a second plan is empty", () => {
    const check = ({ groups, topology }: { groups: number; topology: ClusterTopology }): void => {
      const plan = planRebalance(topology, NO_WEIGHTS);
      const owners = carryOut(topology, plan.moves);
      const before = countOf(slotOwners(topology), groups);
      const after = countOf(owners, groups);
      expect(after.reduce((a, b) => a + b)).toBe(1024);
      expect(Math.max(...after) - Math.min(...after)).toBeLessThanOrEqual(1);
      expect(plan.after.map((one) => one.slots)).toEqual(after);
      // The fewest: everything above the floor must go, but one slot for each that may keep the remainder.
      const floor = Math.floor(1024 / groups);
      const above = before.reduce((sum, count) => sum + Math.max(0, count - floor), 0);
      const keep = Math.min(1024 % groups, before.filter((count) => count > floor).length);
      const moved = plan.moves.reduce((sum, move) => sum + move.to - move.from + 1, 0);
      expect(moved).toBe(above - keep);
      const next = { ...topology, ranges: joinRanges(rangesOf(owners)) };
      expect(planRebalance(next, NO_WEIGHTS).moves).toEqual([]);
      expect(planRebalance(topology, NO_WEIGHTS)).toEqual(plan);
    };
    fc.assert(fc.property(clusters, check));
  });

  test("property: shares are honoured within one slot; who has none ends empty", () => {
    const shares = fc.array(fc.nat(5), { minLength: 7, maxLength: 7 });
    const check = (
      { groups, topology }: { groups: number; topology: ClusterTopology },
      list: number[],
    ): void => {
      const wanted = Object.fromEntries(list.map((share, i) => [`g${i + 1}`, share]));
      const sum = list.slice(0, groups).reduce((a, b) => a + b);
      fc.pre(sum > 0);
      const plan = planRebalance(topology, { ...NO_WEIGHTS, shares: wanted });
      const after = countOf(carryOut(topology, plan.moves), groups);
      after.forEach((count, i) => expect(Math.abs(count - (1024 * list[i]) / sum)).toBeLessThan(1));
      after.forEach((count, i) => expect(list[i] > 0 || count === 0).toBe(true));
    };
    fc.assert(fc.property(clusters, shares, check));
  });

  test("a drain takes from the drained group only, and slots that are moving count at their target", () => {
    const topology = clusterOf(3, (slot) => (slot < 600 ? 0 : slot < 900 ? 1 : 2));
    const plan = planRebalance(topology, { ...NO_WEIGHTS, shares: { g3: 0 }, donors: ["g3"] });
    expect(plan.moves).toEqual([{ from: 900, to: 1023, source: "g3", target: "g2" }]);
    const moving = {
      ...topology,
      ranges: topology.ranges.map((range) =>
        range.group === "g3" ? { ...range, move: { to: "g1", phase: "locked" as const } } : range,
      ),
    };
    expect(planRebalance(moving, { ...NO_WEIGHTS, shares: { g3: 0 }, donors: ["g3"] }).moves).toEqual([]);
  });

  test("no group with a share is refused with what to do", () => {
    expect(() =>
      planRebalance(
        clusterOf(1, () => 0),
        { ...NO_WEIGHTS, shares: { g1: 0 } },
      ),
    ).toThrow("every group has weight 0; `shoal group add` adds one");
  });
});

describe("planRebalance by measured weights", () => {
  test("property: the heaviest slot bounds what is left, drained groups end empty", () => {
    const weights = fc.array(fc.nat(1000), { minLength: 1024, maxLength: 1024 });
    const check = (
      { groups, topology }: { groups: number; topology: ClusterTopology },
      list: number[],
      drain: boolean,
    ): void => {
      const shares: Record<string, number> = drain && groups > 1 ? { g1: 0 } : {};
      const plan = planRebalance(topology, { by: "memory", slotWeights: list, shares, donors: null });
      const owners = carryOut(topology, plan.moves);
      if (drain && groups > 1) expect(owners).not.toContain("g1");
      const heaviest = Math.max(...list) + 1;
      const { min, max, mean } = plan.spreadAfter;
      // Each donor keeps at most what fitted no receiver, each receiver lacks at most one slot.
      expect(max - mean).toBeLessThanOrEqual(heaviest * groups);
      expect(mean - min).toBeLessThanOrEqual(heaviest * groups);
    };
    fc.assert(fc.property(clusters, weights, fc.boolean(), check), { numRuns: 30 });
  });

  test("a slot that is hotter than what it would repair stays where it is", () => {
    const weights = Array.from({ length: 1024 }, (_, slot) => (slot === 10 ? 1000 : 1));
    const topology = clusterOf(2, (slot) => (slot < 512 ? 0 : 1));
    const plan = planRebalance(topology, { by: "ops", slotWeights: weights, shares: {}, donors: null });
    const owners = carryOut(topology, plan.moves);
    expect(owners[10]).toBe("g1");
    expect(plan.after.map((one) => Math.round(one.load))).toEqual([1012, 1011]);
  });

  test("idle slots do not move: a busy slot mends more than all of them", () => {
    const weights = Array.from({ length: 1024 }, (_, slot) => (slot < 10 ? 1000 : 0));
    const topology = clusterOf(2, (slot) => (slot < 512 ? 0 : 1));
    const plan = planRebalance(topology, { by: "ops", slotWeights: weights, shares: {}, donors: null });
    expect(plan.moves).toEqual([{ from: 5, to: 9, source: "g1", target: "g2" }]);
  });

  test("nothing measured: dealt out by slots", () => {
    const topology = clusterOf(2, () => 0);
    const plan = planRebalance(topology, { by: "memory", slotWeights: [], shares: {}, donors: null });
    expect(plan.after.map((one) => one.slots)).toEqual([512, 512]);
  });
});

function rangesOf(owners: readonly string[]): Array<{ from: number; to: number; group: string }> {
  return owners.map((group, slot) => ({ from: slot, to: slot, group }));
}
