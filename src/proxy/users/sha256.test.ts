import { expect, test } from "bun:test";
import { equalHashes, sha256Hex } from "./sha256.ts";

test("the standard's examples", () => {
  expect(sha256Hex("")).toBe("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  expect(sha256Hex("abc")).toBe("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  expect(sha256Hex("a".repeat(1_000_000))).toBe(
    "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
  );
});

test("every length around a block's end, against the runtime's own", () => {
  for (let length = 0; length < 200; length++) {
    const text = "\xe9".repeat(length);
    const hasher = new Bun.CryptoHasher("sha256");
    expect(sha256Hex(text)).toBe(hasher.update(Buffer.from(text, "latin1")).digest("hex"));
  }
});

test("hashes are equal, or differ at the first, the last or in length", () => {
  const hash = sha256Hex("x");
  expect(equalHashes(hash, sha256Hex("x"))).toBe(true);
  for (const other of [`0${hash.slice(1)}`, `${hash.slice(0, -1)}0`, hash.slice(1), `${hash}0`, ""])
    expect(other === hash || !equalHashes(hash, other)).toBe(true);
});
