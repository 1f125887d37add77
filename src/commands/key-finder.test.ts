import { describe, expect, test } from "bun:test";
import { commandOf } from "./command-lookup.ts";
import { findKeys } from "./key-finder.ts";
import { FIND_MALFORMED, KeyPositions } from "./key-positions.ts";
import { findSortPatterns, isBlockingCall, patternHasOneSlot } from "./special-key-finders.ts";
import { requestOf } from "./testing/request-of.ts";

const out = new KeyPositions();

/** The keys of a call as words, or the finder's negative answer. */
function keysOf(line: string): string[] | number {
  const words = line.split(" ");
  const request = requestOf(words);
  const command = commandOf(request);
  if (command === null) throw new Error(`Cannot test ${line}: no such command`);
  const count = findKeys(command, request, out);
  return count < 0 ? count : [...out.at.subarray(0, count)].map((index) => words[index]);
}

describe("findKeys", () => {
  test.each([
    ["PFMERGE d", ["d"]],
    ["EVAL s 0 a b", []],
    ["ZUNIONSTORE d 2 a b WEIGHTS 1 2", ["d", "a", "b"]],
    ["SPUBLISH c v", []],
    ["PING", []],
    ["BLPOP a b 0", ["a", "b"]],
    ["COPY a b DB 3", ["a", "b"]],
    // COMMAND GETKEYS takes the words "STREAMS" and "STORE" where they stand first; the commands don't.
    ["XREADGROUP COUNT 1 GROUP streams streams STREAMS k >", ["k"]],
    ["XREAD COUNT streams STREAMS a 0", ["a"]],
    ["GEORADIUS k 1 1 1 m STORE a STOREDIST b", ["k", "b"]],
    ["GEORADIUS k 1 1 1 m STORE storedist", ["k", "storedist"]],
    ["GEORADIUS k 1 1 1 m STORE", ["k"]],
    ["SORT k STORE get STORE b", ["k", "b"]],
    ["SORT k GET store BY store", ["k"]],
    ["SORT k STORE", ["k"]],
    ["MIGRATE h 1 k 0 10 AUTH keys", ["k"]],
  ])("%s", (line, keys) => {
    expect(keysOf(line)).toEqual(keys);
  });

  test.each([
    "EVAL s x a",
    "EVAL s -1 a",
    "EVAL s 01 a",
    "EVAL s +1 a",
    "EVAL s 2 a",
    "EVAL s 99999999999999999999 a",
    "EVAL s 1",
    "ZUNIONSTORE d 3 a b",
    "LMPOP 9 a LEFT",
    "MSET a 1 b",
    "MSETNX a 1 b",
    "XREAD COUNT 1 BLOCK 0",
    "XREAD STREAMS a",
    "MIGRATE h 1 k 0 10 KEYS a",
  ])("malformed: %s", (line) => {
    expect(keysOf(line)).toBe(FIND_MALFORMED);
  });

  test("grows for a request with very many keys, and gives the room back", () => {
    const keys = Array.from({ length: 10_000 }, (_, i) => `k${i}`);
    expect(keysOf(`MGET ${keys.join(" ")}`)).toEqual(keys);
    expect(out.at.length).toBeGreaterThanOrEqual(10_000);
    out.trim();
    expect(out.at.length).toBeLessThan(10_000);
    expect(keysOf("GET k")).toEqual(["k"]);
  });
});

describe("SORT's patterns", () => {
  test("are those that read other keys", () => {
    const words = "SORT k BY w_*->f LIMIT 0 5 GET # GET o_* STORE by GET nosort ALPHA GET {t}*".split(" ");
    const request = requestOf(words);
    const count = findSortPatterns(request, out);
    expect([...out.at.subarray(0, count)].map((index) => words[index])).toEqual(["w_*->f", "o_*", "{t}*"]);
  });

  test.each([
    ["{t}_*", true],
    ["a{t}*->f", true],
    ["{}*", true],
    ["*", false],
    ["w_*", false],
    ["*{t}", false],
    ["{*}", false],
    ["{t*}", false],
    ["}*{t}", false],
  ])("%s stays in one slot: %p", (pattern, stays) => {
    expect(patternHasOneSlot(requestOf(["SORT", "k", "BY", pattern]), 3)).toBe(stays);
  });
});

describe("isBlockingCall", () => {
  test.each([
    ["BLPOP k 0", true],
    ["WAIT 0 0", false],
    ["GET k", false],
    ["XREAD STREAMS k 0", false],
    ["XREAD COUNT 2 STREAMS block 0", false],
    ["XREAD BLOCK 0 STREAMS k $", true],
    ["XREAD COUNT 2 block 0 STREAMS k $", true],
    ["XREADGROUP GROUP g block STREAMS k >", false],
    ["XREADGROUP GROUP g block BLOCK 1 STREAMS k >", true],
  ])("%s: %p", (line, blocking) => {
    const request = requestOf(line.split(" "));
    const command = commandOf(request);
    expect(command !== null && isBlockingCall(command, request)).toBe(blocking);
  });
});
