import { expect, test } from "bun:test";
import { crc32 as zlibCrc32 } from "node:zlib";
import fc from "fast-check";
import { crc32, slotOf } from "./slot-of.ts";

function slotOfText(key: string, slots = 1024): number {
  const bytes = Buffer.from(key);
  return slotOf(bytes, 0, bytes.length, slots - 1);
}

test("the vectors of Codis's rule for 1024 slots", () => {
  const vectors: [string, number][] = [
    ["a", 579],
    ["b", 1017],
    ["c", 879],
    ["{t}a", 680],
    ["mm", 752],
    ["big", 585],
    ["{}x", 0],
    ["", 0],
  ];
  for (const [key, slot] of vectors) expect([key, slotOfText(key)]).toEqual([key, slot]);
});

test("a tag is what stands between the first { and the first } after it", () => {
  expect(slotOfText("x{user}.y")).toBe(slotOfText("user"));
  expect(slotOfText("}{user}{other}")).toBe(slotOfText("user"));
  expect(slotOfText("{{user}}")).toBe(slotOfText("{user"));
  expect(slotOfText("x{user")).toBe(zlibCrc32("x{user") & 1023);
  expect(slotOfText("x}user")).toBe(zlibCrc32("x}user") & 1023);
});

test("the hash is the IEEE CRC32, anywhere in a buffer and for every slot count", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 300 }),
      fc.nat(20),
      fc.constantFrom(1024, 2048, 16384),
      (key, offset, slots) => {
        const bytes = Buffer.alloc(key.length + offset + 5, 125);
        bytes.set(key, offset);
        const expected = zlibCrc32(key);
        if (crc32(bytes, offset, offset + key.length) !== expected) return false;
        return (
          key.includes(123) || slotOf(bytes, offset, offset + key.length, slots - 1) === expected % slots
        );
      },
    ),
  );
});

test("a tag is found wherever it stands, and whatever stands around it", () => {
  const piece = fc.string({ unit: fc.constantFrom("a", "b", "{", "}"), maxLength: 14 });
  fc.assert(
    fc.property(piece, fc.nat(9), (key, offset) => {
      const open = key.indexOf("{");
      const close = open < 0 ? -1 : key.indexOf("}", open);
      const hashed = close < 0 ? key : key.slice(open + 1, close);
      const bytes = Buffer.alloc(key.length + offset + 5, "{");
      bytes.write(key, offset);
      return slotOf(bytes, offset, offset + key.length, 1023) === (zlibCrc32(hashed) & 1023);
    }),
    { numRuns: 1000 },
  );
});
