/** Calls per slot, as a worker samples them for `shoal rebalance --by ops`. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { encode } from "../robustness/raw-client.ts";
import { Rig, slotOfKey, TRANSPORTS } from "../robustness/rig.ts";
import { RedisProcess } from "../support/redis-process.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(60_000);

let servers: RedisProcess[];
let rig: Rig;

beforeEach(async () => {
  servers = await Promise.all([RedisProcess.start(), RedisProcess.start()]);
});

afterEach(async () => {
  await rig.dispose();
  await Promise.all(servers.map((server) => server.dispose()));
});

describe.each(TRANSPORTS)("calls per slot (%s)", (io) => {
  test("samples add up to all requests, in the proportion of the load", async () => {
    rig = await Rig.start(servers, io);
    const client = await rig.connect();
    const [busy, quiet, queued] = [rig.keyIn(0, "busy"), rig.keyIn(1, "quiet"), rig.keyIn(1, "queued")];
    let requests = 0;
    const calls = (key: string) => rig.slotCalls.get(slotOfKey(key)) ?? 0;
    // Random, because a sample is one moment's requests: what goes round in step could hide from it.
    const drawn = () => (Math.random() < 0.8 ? encode("INCR", busy) : encode("GET", quiet));
    await until(
      async () => {
        for (let i = 0; i < 20; i++) {
          client.write(Buffer.concat([drawn(), drawn(), drawn()]));
          await client.take(3);
        }
        requests += 60;
        return calls(busy) + calls(quiet) > 6000 && calls(quiet) > 0;
      },
      "enough has been counted",
      30_000,
    );
    expect(calls(busy) + calls(quiet)).toBeLessThanOrEqual(requests);
    expect(calls(busy) / calls(quiet)).toBeGreaterThan(1.2);
    expect([...rig.slotCalls.keys()].toSorted()).toEqual([busy, quiet].map(slotOfKey).toSorted());
    await until(async () => {
      for (const words of [["MULTI"], ["INCR", queued], ["EXEC"]]) await client.call(...words);
      return calls(queued) > 0;
    }, "a transaction's calls are counted");
  });
});
