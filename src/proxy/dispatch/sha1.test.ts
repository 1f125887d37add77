import { expect, test } from "bun:test";
import { createHash } from "node:crypto";
import fc from "fast-check";
import { sha1Hex } from "./sha1.ts";

test("is what the runtime's crypto says, for every length around the blocks' ends", () => {
  for (let length = 0; length < 200; length++) {
    const bytes = Buffer.from(Array.from({ length: length + 7 }, (_, i) => (i * 31) % 256));
    const expected = createHash("sha1")
      .update(bytes.subarray(3, 3 + length))
      .digest("hex");
    expect(`${length} ${sha1Hex(bytes, 3, 3 + length)}`).toBe(`${length} ${expected}`);
  }
});

test("random bytes", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 2000 }), (bytes) => {
      expect(sha1Hex(bytes, 0, bytes.length)).toBe(createHash("sha1").update(bytes).digest("hex"));
    }),
  );
});
