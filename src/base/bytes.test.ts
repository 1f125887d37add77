import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { copyBytes, equalsIgnoreCase, readLatin1, writeLatin1 } from "./bytes.ts";

describe("copyBytes", () => {
  test("copies that range and nothing else, short or long", () => {
    fc.assert(
      fc.property(fc.nat(60), fc.nat(30), fc.nat(30), (size, from, to) => {
        const source = Buffer.from(Array.from({ length: from + size + 5 }, (_, i) => i + 1));
        const target = Buffer.alloc(to + size + 5, 0xaa);
        copyBytes(target, to, source, from, from + size);
        expect(target.subarray(to, to + size)).toEqual(source.subarray(from, from + size));
        expect(target.subarray(0, to).every((byte) => byte === 0xaa)).toBe(true);
        expect(target.subarray(to + size).every((byte) => byte === 0xaa)).toBe(true);
      }),
    );
  });

  test("downwards within one array, overlapping", () => {
    for (const size of [5, 20, 21, 50]) {
      const bytes = Buffer.from(Array.from({ length: 100 }, (_, i) => i));
      copyBytes(bytes, 3, bytes, 10, 10 + size);
      expect([...bytes.subarray(3, 3 + size)]).toEqual(Array.from({ length: size }, (_, i) => i + 10));
    }
  });
});

test("Latin-1 keeps every byte", () => {
  const all = String.fromCharCode(...Array.from({ length: 256 }, (_, i) => i));
  const bytes = new Uint8Array(300);
  expect(writeLatin1(bytes, 10, all)).toBe(266);
  expect(readLatin1(bytes, 10, 266)).toBe(all);
});

describe("equalsIgnoreCase", () => {
  test.each([
    ["GET", "get", true],
    ["gEt", "get", true],
    ["get", "get", true],
    ["gets", "get", false],
    ["ge", "get", false],
    ["", "", true],
    ["client|ID", "client|id", true],
    ["G\xc5T", "g\xe5t", false],
    ["@[", "`{", false],
  ])("%j is %j: %p", (text, word, equal) => {
    const bytes = Buffer.from(`x${text}y`, "latin1");
    expect(equalsIgnoreCase(bytes, 1, 1 + text.length, word)).toBe(equal);
  });
});
