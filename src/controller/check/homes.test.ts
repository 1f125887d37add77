import { expect, test } from "bun:test";
import fc from "fast-check";
import { decodeBase64Url } from "../../contract/key-encoding.ts";
import { slotOf } from "../../routing/slot-of.ts";
import type { ClusterMap, SlotRange } from "../../topology/cluster-map.ts";
import { Homes, badSlots, encodeKey, showKey } from "./homes.ts";

function mapOf(ranges: SlotRange[]): ClusterMap {
  const groups = ["g1", "g2", "g3"].map((id, i) => ({
    id,
    number: i + 1,
    primary: `h:${i + 1}`,
    replicas: [],
  }));
  return { cluster: "c", version: 1, term: 1, hash: "crc32", slots: 1024, groups, ranges, options: {} };
}

const MOVING: SlotRange[] = [
  { from: 0, to: 511, group: "g1" },
  { from: 512, to: 700, group: "g2", move: { to: "g1", phase: "moving" } },
  { from: 701, to: 1023, group: "g2" },
];

test("a key is at home in the group of its slot, and at both ends while it moves", () => {
  const homes = new Homes(mapOf(MOVING));
  // Codis's vectors: a is in slot 579, b in 1017, big in 585, {}x in 0.
  const where = (key: string): string[] =>
    ["g1", "g2", "g3"].filter((group) => homes.fits(homes.of(key), group));
  expect([where("a"), where("b"), where("{}x")]).toEqual([["g1", "g2"], ["g2"], ["g1"]]);
  expect(homes.of("a")).toEqual({ slot: 579, group: "g2", to: "g1" });
});

test("keys are bytes, of any length", () => {
  const homes = new Homes(mapOf(MOVING));
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 5000 }), (bytes) => {
      const key = Buffer.from(bytes).toString("latin1");
      return homes.of(key).slot === slotOf(Buffer.from(bytes), 0, bytes.length, 1023);
    }),
  );
});

test("keys survive JSON, and can be read", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      const key = Buffer.from(bytes).toString("latin1");
      const encoded = encodeKey(key);
      expect(encoded).toBe(Buffer.from(bytes).toString("base64url"));
      expect(Buffer.from(decodeBase64Url(encoded))).toEqual(Buffer.from(bytes));
      return /^[!-~]*$/.test(showKey(key));
    }),
  );
  expect(showKey("a\xff \\b")).toBe("a\\xff\\x20\\x5cb");
});

test("slots that nobody serves, two serve, or a stranger does", () => {
  expect(badSlots(mapOf(MOVING))).toEqual([]);
  const broken = [
    { from: 0, to: 600, group: "g1" },
    { from: 600, to: 1022, group: "g2" },
  ];
  expect(badSlots(mapOf(broken))).toEqual([
    "slot 600 is served by g1 and g2",
    "slot 1023 is served by no group",
  ]);
  const strange = [
    { from: 0, to: 1022, group: "g1" },
    { from: 1023, to: 1023, group: "g9" },
  ];
  expect(badSlots(mapOf(strange))).toEqual(["slot 1023 belongs to g9, which does not exist"]);
});
