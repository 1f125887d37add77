/**
 * Long replies of many small elements, which arrive in pieces that end anywhere, in the middle of a header
 * too.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { TRANSPORTS } from "../support/proxy-process.ts";
import { encodeRequest } from "../support/resp-client.ts";
import { DifferentialRig, type Pair } from "./rig.ts";

setDefaultTimeout(60_000);

/** Enough for replies of several receives. */
const ENTRIES = 4000;

describe.each(TRANSPORTS.map((io) => ({ io })))("long replies over $io", ({ io }) => {
  let rig: DifferentialRig;
  let pair: Pair;

  beforeAll(async () => {
    rig = await DifferentialRig.start([io]);
    pair = await rig.connect(io);
    const calls: string[][] = [];
    for (let i = 0; i < ENTRIES; i++) {
      calls.push(["XADD", "entries", `${i + 1}-0`, "item", String(i), "x".repeat(i % 40), ""]);
      calls.push(["RPUSH", "elements", "y".repeat((i * 7) % 97)]);
      calls.push(["HSET", "fields", `f${i}`, "z".repeat((i * 13) % 61)]);
    }
    expect(await pair.compareBatch(calls, 0)).toEqual([]);
  });
  afterAll(async () => {
    pair.close();
    await rig.dispose();
  });

  test.each(["2", "3"])("come whole and in order, RESP%s", async (protocol) => {
    for (const side of [pair.proxy, pair.bare]) await side.command("HELLO", protocol);
    const calls = [
      ["XRANGE", "entries", "-", "+"],
      ["LRANGE", "elements", "0", "-1"],
      ["GET", "none"],
      ["HVALS", "fields"],
      ["XREVRANGE", "entries", "+", "-"],
    ];
    for (let round = 0; round < 5; round++) {
      expect((await pair.compareBatch(calls, 0)).map(({ words }) => words)).toEqual([]);
      // Each alone, with small ones around it: then the pieces begin at other places.
      for (const words of calls)
        expect((await pair.compareBatch([["ECHO", "a".repeat(round)], words], 0)).length).toBe(0);
    }
  });

  test("come whole to clients that were waiting for another server first", async () => {
    const range = ["XRANGE", "entries", "-", "+"];
    const calls = [
      ["GET", "none"],
      range,
      ["LRANGE", "elements", "0", "-1"],
      range,
      ["HLEN", "fields"],
      range,
    ];
    for (const side of [pair.proxy, pair.bare]) side.write(Buffer.concat(calls.map(encodeRequest)));
    const [ours, theirs] = [await pair.proxy.replies(calls.length), await pair.bare.replies(calls.length)];
    ours.forEach((raw, i) => expect(raw.equals(theirs[i])).toBe(true));
  });
});
