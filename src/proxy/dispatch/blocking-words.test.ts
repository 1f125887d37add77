import { describe, expect, test } from "bun:test";
import { timeoutMsOf, withTimeoutMs } from "./blocking-words.ts";

const CALLS: readonly (readonly [string, number, string])[] = [
  ["BLPOP a b 1.5", 1500, "BLPOP a b 0.251"],
  ["BRPOPLPUSH a b 2", 2000, "BRPOPLPUSH a b 0.251"],
  ["BLMPOP 0.5 2 1 2 LEFT", 500, "BLMPOP 0.251 2 1 2 LEFT"],
  ["BZMPOP 3 1 z MIN", 3000, "BZMPOP 0.251 1 z MIN"],
  ["XREAD COUNT 7 block 900 STREAMS block 0", 900, "XREAD COUNT 7 block 251 STREAMS block 0"],
  [
    "XREADGROUP GROUP block block BLOCK 800 STREAMS s >",
    800,
    "XREADGROUP GROUP block block BLOCK 251 STREAMS s >",
  ],
];

describe("the time in a blocking call", () => {
  test.each(CALLS)("%s", (text, timeoutMs, left) => {
    const words = text.split(" ");
    const name = words[0].toLowerCase();
    expect(timeoutMsOf(name, words)).toBe(timeoutMs);
    expect(withTimeoutMs(name, words, 250.2).join(" ")).toBe(left);
  });

  test("0 is for ever, and stays so; a moment that is left is never 0", () => {
    const words = ["BLPOP", "a", "0"];
    expect(timeoutMsOf("blpop", words)).toBe(Number.POSITIVE_INFINITY);
    expect(withTimeoutMs("blpop", words, Number.POSITIVE_INFINITY)).toEqual(words);
    expect(withTimeoutMs("blpop", words, 0.01)).toEqual(["BLPOP", "a", "0.001"]);
  });
});
