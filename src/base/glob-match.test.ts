import { describe, expect, test } from "bun:test";
import { globMatches } from "./glob-match.ts";

describe("globMatches", () => {
  test.each([
    ["*", "anything", true],
    ["*", "", false],
    ["", "", true],
    ["", "a", false],
    ["news.*", "news.", true],
    ["news.*", "news", false],
    ["a?c", "abc", true],
    ["a?c", "ac", false],
    ["a**c", "abbbc", true],
    ["*abc*", "xxababcxx", true],
    ["*a*b*c", "1a2b3c", true],
    ["*a*b*c", "1a2b3d", false],
    ["*[xy]", "ax", true],
    ["*[xy]", "tx:3", false],
    ["[xy][xy]", "yx", true],
    ["[^xy]", "z", true],
    ["[^xy]", "x", false],
    ["[a-c]z", "bz", true],
    ["[c-a]z", "bz", true],
    ["[a-c]z", "dz", false],
    ["[\\]]", "]", true],
    ["[abc", "b", true],
    ["[abc", "bc", false],
    ["a\\*b", "a*b", true],
    ["a\\*b", "axb", false],
    ["\\", "\\", true],
    ["h[]llo", "hllo", false],
    ["__key*__:*", "__keyspace@0__:k", true],
  ])("%j on %j: %p", (pattern, text, expected) => {
    expect(globMatches(pattern, text)).toBe(expected);
  });

  test("a pattern that makes recursion slow is quick", () => {
    expect(globMatches("a*".repeat(50) + "b", "a".repeat(2000))).toBe(false);
  });
});
