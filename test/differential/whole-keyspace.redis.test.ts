/** What all groups answer together, and what cannot be answered together. */
import { afterAll, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { createHash } from "node:crypto";
import { TRANSPORTS } from "../support/proxy-process.ts";
import { decodeReplyTree, type RespClient } from "../support/resp-client.ts";
import { DifferentialRig, type Pair } from "./rig.ts";

setDefaultTimeout(60_000);

let rig: DifferentialRig;

beforeAll(async () => {
  rig = await DifferentialRig.start(TRANSPORTS);
});

afterAll(() => rig.dispose());

/** A whole SCAN: all keys, as often as they came. */
async function scanAll(client: RespClient, ...options: string[]): Promise<string[]> {
  const keys: string[] = [];
  let cursor = "0";
  let calls = 0;
  do {
    const reply = decodeReplyTree(await client.command("SCAN", cursor, ...options));
    cursor = reply.items[0].text;
    expect(cursor).toMatch(/^\d+$/);
    expect(BigInt(cursor) < 1n << 64n).toBe(true);
    keys.push(...reply.items[1].items.map((item) => item.text));
    expect(++calls).toBeLessThan(2000);
  } while (cursor !== "0");
  return keys;
}

async function expectNoDifference(pair: Pair, ...words: string[]): Promise<void> {
  expect(await pair.compare(words)).toBeNull();
}

describe.each([...TRANSPORTS])("%s", (io) => {
  describe.each(["2", "3"])("RESP%s", (protocol) => {
    let pair: Pair;
    const keys = Array.from({ length: 1000 }, (_, i) => `key:${i}`);

    beforeEach(async () => {
      await rig.empty();
      pair = await rig.connect(io);
      await expectNoDifference(pair, "HELLO", protocol);
      await expectNoDifference(pair, "MSET", ...keys.flatMap((key, i) => [key, String(i)]));
      for (let i = 0; i < 50; i++) await expectNoDifference(pair, "RPUSH", `list:${i}`, "a");
    });

    test("every group has some of the keys", async () => {
      for (const server of rig.servers) expect(Number(await server.command("DBSIZE"))).toBeGreaterThan(200);
    });

    test("SCAN finds every key once, whatever COUNT, MATCH and TYPE", async () => {
      const all = [...keys, ...Array.from({ length: 50 }, (_, i) => `list:${i}`)].sort();
      expect((await scanAll(pair.proxy)).sort()).toEqual(all);
      expect((await scanAll(pair.proxy, "COUNT", "100000")).sort()).toEqual(all);
      expect((await scanAll(pair.proxy, "COUNT", "1")).sort()).toEqual(all);
      const matching = (await scanAll(pair.bare, "MATCH", "*7*", "COUNT", "17")).sort();
      expect((await scanAll(pair.proxy, "MATCH", "*7*", "COUNT", "17")).sort()).toEqual(matching);
      expect((await scanAll(pair.proxy, "TYPE", "list")).length).toBe(50);
      expect(await scanAll(pair.proxy, "TYPE", "nosuch")).toEqual([]);
    });

    test("SCAN takes the cursors that a server takes", async () => {
      for (const cursor of ["", "01", "+0", "-1", "18446744073709551615"]) {
        const reply = decodeReplyTree(await pair.proxy.command("SCAN", cursor));
        expect(`${cursor} ${reply.type}${reply.items.length}`).toBe(`${cursor} *2`);
      }
    });

    test("SCAN while keys come and go gives every key that stays", async () => {
      const found = new Set<string>();
      let cursor = "0";
      let turn = 0;
      do {
        const reply = decodeReplyTree(await pair.proxy.command("SCAN", cursor, "COUNT", "20"));
        cursor = reply.items[0].text;
        for (const item of reply.items[1].items) found.add(item.text);
        await pair.proxy.command(
          "DEL",
          ...Array.from({ length: 5 }, (_, i) => `list:${(turn * 5 + i) % 50}`),
        );
        await pair.proxy.command(
          "MSET",
          ...Array.from({ length: 20 }, (_, i) => [`new:${turn}:${i}`, "v"]).flat(),
        );
        turn++;
      } while (cursor !== "0");
      expect(keys.filter((key) => !found.has(key))).toEqual([]);
    });

    test("RANDOMKEY gives keys of all groups, and null when there is none", async () => {
      const seen = new Set<string>();
      for (let i = 0; i < 200; i++) seen.add(decodeReplyTree(await pair.proxy.command("RANDOMKEY")).text);
      const known = [...keys, ...Array.from({ length: 50 }, (_, i) => `list:${i}`)];
      expect([...seen].filter((key) => !known.includes(key))).toEqual([]);
      for (const server of rig.servers) {
        const here = (await Promise.all([...seen].map((key) => server.command("EXISTS", key)))).filter(
          Boolean,
        );
        expect(here.length).toBeGreaterThan(10);
      }
      await expectNoDifference(pair, "FLUSHDB");
      await expectNoDifference(pair, "RANDOMKEY");
    });

    test("KEYS, DBSIZE, FLUSHDB of one database, FLUSHALL of all", async () => {
      for (const words of [
        ["SELECT", "3"],
        ["MSET", ...keys.slice(0, 30).flatMap((key) => [key, "three"])],
        ["DBSIZE"],
        ["KEYS", "*"],
        ["KEYS", "key:1?"],
        ["KEYS", "nothing*"],
        ["SELECT", "0"],
        ["DBSIZE"],
        ["FLUSHDB", "SYNC"],
        ["DBSIZE"],
        ["KEYS", "*"],
        ["SELECT", "3"],
        ["DBSIZE"],
        ["FLUSHALL"],
        ["DBSIZE"],
      ]) {
        await expectNoDifference(pair, ...words);
      }
    });

    test("1000 keys over all groups: holes, wrong types, repeats", async () => {
      const mixed = keys.flatMap((key, i) =>
        i % 3 === 0 ? [key, `none:${i}`, `list:${i % 50}`, key] : [key],
      );
      await expectNoDifference(pair, "MGET", ...mixed);
      await expectNoDifference(pair, "EXISTS", ...mixed);
      await expectNoDifference(pair, "TOUCH", ...mixed);
      await expectNoDifference(pair, "MSET", ...mixed.flatMap((key, i) => [key, `again ${i}`]));
      await expectNoDifference(pair, "MGET", ...mixed);
      await expectNoDifference(pair, "UNLINK", ...mixed.slice(0, 500));
      await expectNoDifference(pair, "DEL", ...mixed);
      await expectNoDifference(pair, "DBSIZE");
    });

    test("scripts: LOAD tells every group, EXISTS asks all, FLUSH empties all", async () => {
      const load = ["SCRIPT", "LOAD", "return {KEYS[1], ARGV[1]}"];
      await expectNoDifference(pair, ...load);
      const sha = decodeReplyTree(await pair.bare.command(...load)).text;
      await expectNoDifference(pair, "SCRIPT", "EXISTS", sha, "0".repeat(40), sha);
      for (const key of keys.slice(0, 30))
        await expectNoDifference(pair, "EVALSHA", sha, "1", key, "argument");
      await rig.servers[1].command("SCRIPT", "FLUSH");
      // The proxy still has the text: it says so, and shows it to that server again.
      expect(await pair.proxy.text("SCRIPT", "EXISTS", sha)).toBe("*1\r\n:1\r\n");
      for (const key of keys.slice(0, 30))
        await expectNoDifference(pair, "EVALSHA", sha, "1", key, "argument");
      await expectNoDifference(pair, "SCRIPT", "FLUSH");
      await expectNoDifference(pair, "SCRIPT", "EXISTS", sha);
    });

    test("scripts: shown once by EVAL, EVALSHA finds it in every group", async () => {
      const script = `return {KEYS[1], '${protocol}'}`;
      const sha = createHash("sha1").update(script).digest("hex");
      await expectNoDifference(pair, "EVALSHA", sha, "1", "a");
      await expectNoDifference(pair, "EVAL", script, "1", "a");
      for (const key of keys.slice(0, 30)) await expectNoDifference(pair, "EVALSHA", sha, "1", key);
      await expectNoDifference(pair, "EVALSHA", sha.toUpperCase(), "1", "b");
    });

    test("keys in different slots: CROSSSLOT names both, nothing runs, the connection lives", async () => {
      const calls: readonly (readonly string[])[] = [
        ["MSETNX", "big", "1", "mm", "2"],
        ["RENAME", "big", "mm"],
        ["SUNIONSTORE", "big", "big", "mm"],
        ["EVAL", "return redis.call('set', KEYS[2], 'x')", "2", "big", "mm"],
        ["COPY", "big", "mm"],
        ["LMOVE", "big", "mm", "LEFT", "LEFT"],
        ["PFCOUNT", "big", "mm"],
        ["XREAD", "STREAMS", "big", "mm", "0", "0"],
        ["BITOP", "AND", "big", "mm", "big"],
        ["ZUNION", "2", "big", "mm"],
      ];
      await pair.proxy.command("SET", "big", "before");
      for (const words of calls) {
        const reply = await pair.proxy.text(...words);
        expect(reply).toMatch(/^-CROSSSLOT [^\r\n]*\r\n$/);
        expect(reply).toContain("'big'");
        expect(reply).toContain("'mm'");
        expect(reply).toContain(`'${words[0].toLowerCase()}'`);
      }
      expect(await pair.proxy.text("SORT", "big", "BY", "w_*")).toMatch(
        /^-CROSSSLOT Pattern 'w_\*' of 'sort'/,
      );
      expect(await pair.proxy.text("GET", "big")).toBe("$6\r\nbefore\r\n");
      expect(await pair.proxy.text("EXISTS", "mm")).toBe(":0\r\n");
    });
  });
});
