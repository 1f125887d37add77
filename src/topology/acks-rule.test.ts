import { describe, expect, test } from "bun:test";
import { ShoalError } from "../base/shoal-error.ts";
import { needOf, parseAcks, stricter, strictest } from "./acks-rule.ts";

describe("acks", () => {
  test("one rule for all keys", () => {
    expect(needOf(parseAcks("async"), "k")).toBeNull();
    expect(needOf(parseAcks("replica"), "k")).toEqual({ replicas: 1, timeoutMs: 1000 });
    expect(needOf(parseAcks(" replica 2 "), "k")).toEqual({ replicas: 2, timeoutMs: 1000 });
    expect(needOf(parseAcks("replica 2 500ms"), "k")).toEqual({ replicas: 2, timeoutMs: 500 });
    expect(needOf(parseAcks("replica 1 500"), "k")).toEqual({ replicas: 1, timeoutMs: 500 });
  });

  test("by key: the first rule that fits", () => {
    const rules = parseAcks("orders:*=replica 1 500, orders:big:*=replica 3, one=replica 2,*=async");
    expect(needOf(rules, "orders:big:1")).toEqual({ replicas: 1, timeoutMs: 500 });
    expect(needOf(rules, "one")).toEqual({ replicas: 2, timeoutMs: 1000 });
    expect(needOf(rules, "one1")).toBeNull();
    expect(needOf(rules, "")).toBeNull();
    expect(needOf(parseAcks("a=b*=replica"), "a=bc")).toEqual({ replicas: 1, timeoutMs: 1000 });
    expect(needOf(parseAcks("a:*=replica"), "b")).toBeNull();
  });

  test("the strictest of several", () => {
    const rules = parseAcks("a*=replica 3 100, b*=replica 1 900, *=async");
    expect(strictest(rules)).toEqual({ replicas: 3, timeoutMs: 900 });
    expect(strictest(parseAcks("async"))).toBeNull();
    expect(stricter(null, { replicas: 1, timeoutMs: 5 })).toEqual({ replicas: 1, timeoutMs: 5 });
  });

  test.each([
    ["", "is no rule"],
    ["sync", '"sync" is no rule'],
    ["replica 0", "0 replicas: want 1 to 16"],
    ["replica 17", "17 replicas"],
    ["replica 1 0ms", "0 ms: want 1 to 60000"],
    ["replica 1 99999", "99999 ms"],
    ["a*=sync", '"sync": want async'],
    ["a*b=replica", 'pattern "a*b" may have "*" at its end only'],
    ["a*=replica,", '"" is no rule'],
  ])("%p is refused", (text, why) => {
    expect(() => parseAcks(text)).toThrow(ShoalError);
    expect(() => parseAcks(text)).toThrow(why);
  });
});
