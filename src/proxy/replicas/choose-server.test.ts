import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type Bounds, type Candidate, chooseServer, unfitFor } from "./choose-server.ts";
import { Freshness, NEVER } from "./freshness.ts";
import { effectivePolicy, type ReadFrom } from "./read-policy.ts";

const replica = (address: string, more: Partial<Candidate> = {}): Candidate => ({
  address,
  isPrimary: false,
  usable: true,
  asOfMs: 1000,
  sameZone: false,
  roundTripMs: 1,
  ...more,
});
const PRIMARY = replica("p", { isPrimary: true, asOfMs: NEVER });
const BOUNDS: Bounds = {
  nowMs: 1010,
  maxStalenessMs: 0,
  groupFloorMs: NEVER,
  seenMs: NEVER,
  current: "",
  salt: 0,
};

describe("chooseServer", () => {
  test.each<[string, ReadFrom, Candidate[], Partial<Bounds>, string | null]>([
    ["a replica before the primary", "prefer-replica", [PRIMARY, replica("a")], {}, "a"],
    ["spreads sessions", "replica", [PRIMARY, replica("a"), replica("b")], { salt: 3 }, "b"],
    ["stays where it is", "replica", [replica("a"), replica("b")], { salt: 0, current: "b" }, "b"],
    ["none that is down", "replica", [replica("a", { usable: false }), replica("b")], {}, "b"],
    ["none that is too old", "replica", [replica("a", { asOfMs: 900 })], { maxStalenessMs: 100 }, null],
    ["one that is just new enough", "replica", [replica("a", { asOfMs: 910 })], { maxStalenessMs: 100 }, "a"],
    ["none that lacks what was seen", "replica", [replica("a")], { seenMs: 1001 }, null],
    ["the current one all the same", "replica", [replica("a")], { seenMs: 1001, current: "a" }, "a"],
    [
      "none beside the current one",
      "replica",
      [replica("a", { usable: false }), replica("b")],
      { current: "a" },
      null,
    ],
    ["none from before a move", "replica", [replica("a")], { groupFloorMs: 1005, current: "a" }, null],
    ["never the primary for replica", "replica", [PRIMARY], {}, null],
    ["the nearest", "nearest", [PRIMARY, replica("a", { roundTripMs: 0.2 })], {}, "a"],
    [
      "the own zone first",
      "nearest",
      [replica("a", { roundTripMs: 0 }), { ...PRIMARY, sameZone: true }],
      {},
      "p",
    ],
    ["the primary when nothing else is fit", "nearest", [PRIMARY, replica("a")], { seenMs: 1001 }, "p"],
  ])("%s", (_, from, candidates, bounds, expected) => {
    expect(chooseServer(from, candidates, { ...BOUNDS, ...bounds })?.address ?? null).toBe(expected);
  });

  test("says why a replica can't be read", () => {
    expect(unfitFor(replica("a", { usable: false }), BOUNDS)).toBe("down");
    expect(unfitFor(replica("a"), { ...BOUNDS, maxStalenessMs: 5 })).toBe("stale");
    expect(unfitFor(replica("a"), { ...BOUNDS, seenMs: 1005 })).toBe("behind");
  });
});

test("READONLY asks for replicas where the cluster does not, READWRITE for the primary", () => {
  const primary = { from: "primary", maxStalenessMs: 7 } as const;
  expect(effectivePolicy(primary, "readonly")).toEqual({ from: "prefer-replica", maxStalenessMs: 7 });
  expect(effectivePolicy({ ...primary, from: "nearest" }, "readonly").from).toBe("nearest");
  expect(effectivePolicy({ ...primary, from: "replica" }, "readwrite").from).toBe("primary");
  expect(effectivePolicy(primary, null)).toEqual(primary);
});

describe("Freshness", () => {
  test("is the last sample that the replica has reached", () => {
    const freshness = new Freshness();
    freshness.takePrimary(10, 500);
    freshness.takePrimary(20, 900);
    expect(freshness.takeReplica("a", 499)).toBe(NEVER);
    expect(freshness.takeReplica("a", 500)).toBe(10);
    expect(freshness.takeReplica("a", 899)).toBe(10);
    expect(freshness.takeReplica("a", 900)).toBe(20);
    expect(freshness.asOfMs("b")).toBe(NEVER);
  });

  test("forgets another history", () => {
    const freshness = new Freshness();
    freshness.takePrimary(10, 500);
    freshness.takeReplica("a", 500);
    freshness.takePrimary(20, 3);
    expect(freshness.asOfMs("a")).toBe(NEVER);
  });

  test("L13: whatever was acknowledged before the moment that it names is at the replica", () => {
    // A primary that writes now and then, a replica that applies with any delay, samples at any time.
    const step = fc.record({ kind: fc.constantFrom("write", "apply", "primary", "replica"), by: fc.nat(3) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const freshness = new Freshness();
        const writes: number[] = [];
        let [offset, applied] = [0, 0];
        steps.forEach(({ kind, by }, now) => {
          if (kind === "write") writes[now] = ++offset;
          else if (kind === "apply") applied = Math.min(offset, applied + by);
          else if (kind === "primary") freshness.takePrimary(now, offset);
          else {
            const asOf = freshness.takeReplica("a", applied);
            const missing = writes.some((written, at) => at < asOf && written > applied);
            expect(missing).toBe(false);
          }
        });
      }),
    );
  });
});
