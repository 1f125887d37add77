import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { RedisProcess } from "../../../test/support/redis-process.ts";
import { SAMPLE_KEYS_MAX, countKeysIn, databaseSizes, sampleKeys, slotOfKey } from "./key-scan.ts";

let server: RedisProcess;

beforeAll(async () => {
  server = await RedisProcess.start();
});

afterAll(() => server.dispose());

const fill = (prefix: string, keys: number): Promise<unknown> => {
  const script = "for i = 1, ARGV[1] do redis.call('SET', ARGV[2] .. i, string.rep('v', 100)) end";
  return server.client.command(["EVAL", script, "0", String(keys), prefix]);
};

const sum = (values: Float64Array): number => values.reduce((a, b) => a + b, 0);

describe("the keys of one server, by slot", () => {
  test("few keys: every one is counted, in all databases, whatever its bytes", async () => {
    await server.client.command(["FLUSHALL"]);
    await fill("k", 2000);
    await server.client.command(["SELECT", "5"]);
    await server.client.command(["SET", "\xff\x00{t}", "binary"]);
    await server.client.command(["SELECT", "0"]);
    expect([...(await databaseSizes(server.client))]).toEqual([
      [0, 2000],
      [5, 1],
    ]);
    const sample = await sampleKeys(server.client, 1024);
    expect(sample).toMatchObject({ keysTotal: 2001, keysSeen: 2001, complete: true });
    expect(sum(sample.keys)).toBe(2001);
    expect(sample.keys[slotOfKey("k7", 1024)]).toBeGreaterThan(0);
    expect(slotOfKey("\xff\x00{t}", 1024)).toBe(slotOfKey("t", 1024));
    // A key, its value of 100 bytes and what the server needs around them.
    expect(sum(sample.bytes) / 2001).toBeGreaterThan(130);
    expect(sum(sample.bytes) / 2001).toBeLessThan(300);
  });

  test("many keys: a bounded sample that is like the whole", async () => {
    await server.client.command(["FLUSHALL"]);
    await fill("k", 100_000);
    // All of one slot, as many as a tenth of the rest.
    await fill("{hot}", 10_000);
    const sample = await sampleKeys(server.client, 1024);
    expect(sample).toMatchObject({ keysTotal: 110_000, complete: false });
    expect(sample.keysSeen).toBeGreaterThanOrEqual(SAMPLE_KEYS_MAX);
    expect(sample.keysSeen).toBeLessThan(SAMPLE_KEYS_MAX + 2000);
    const hot = sample.keys[slotOfKey("hot", 1024)] / sample.keysSeen;
    expect(Math.abs(hot - 10_100 / 110_000)).toBeLessThan(0.02);
  });

  test("a check sees every key, and ends early where one is enough", async () => {
    await server.client.command(["FLUSHALL"]);
    await fill("{a}", 1500);
    await fill("{b}", 500);
    const slot = slotOfKey("b", 1024);
    const isB = (one: number): boolean => one === slot;
    expect(await countKeysIn(server.client, 1024, isB, Number.POSITIVE_INFINITY)).toEqual({
      keys: 500,
      slots: [slot],
    });
    expect((await countKeysIn(server.client, 1024, () => true, 1)).keys).toBeLessThan(2000);
    expect((await countKeysIn(server.client, 1024, (one) => one > 1023, 1)).keys).toBe(0);
  });
});
