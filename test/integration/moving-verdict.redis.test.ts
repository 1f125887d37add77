/**
 * A pull that is answered when its slot has long settled, while other slots still move: what it allows is the
 * request that has waited for it, and not the next one.
 */
import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { Rig, TRANSPORTS, mapOf } from "../robustness/rig.ts";
import type { SlotRange } from "../../src/topology/cluster-map.ts";
import { RedisProcess } from "../support/redis-process.ts";
import { until } from "../support/until.ts";
import { settle } from "./moving-rig.ts";

setDefaultTimeout(60_000);

let servers: RedisProcess[] = [];
let rig: Rig;

afterEach(async () => {
  servers[0].signal("SIGCONT");
  await rig.dispose();
  await Promise.all(servers.map((server) => server.dispose()));
});

type Phase = "locked" | "moving" | "moved";

/** The slots of g1 and g2 are on their way to g3. */
function map(version: number, first: Phase, second: Phase): ReturnType<typeof mapOf> {
  const addresses = servers.map((server) => server.addr);
  const { ranges } = mapOf(addresses);
  const to = (range: SlotRange, phase: Phase): SlotRange =>
    phase === "moved" ? { ...range, group: "g3" } : { ...range, move: { to: "g3", phase } };
  return mapOf(addresses, version, 1, [to(ranges[0], first), to(ranges[1], second), ranges[2]]);
}

describe.each(TRANSPORTS)("a late answer to a pull (%s)", (io) => {
  test("lets nothing else pass", async () => {
    servers = await Promise.all([RedisProcess.start(), RedisProcess.start(), RedisProcess.start()]);
    rig = await Rig.start(servers, io);
    const client = await rig.connect();
    const [settled, empty] = rig.keysIn(0, 2);
    const [moving] = rig.keysIn(1, 1);
    await client.call("SET", moving, "v");
    // Moved by somebody else: the source has nothing to give any more.
    await servers[2].command("SET", settled, "v");
    await settle(rig, map(2, "locked", "locked"));
    await settle(rig, map(3, "moving", "moving"));
    servers[0].signal("SIGSTOP");
    const waiting = client.call("GET", settled);
    await until(() => rig.counters["pulls"] > 0, "the pull has been sent");
    rig.sendMap(map(4, "moved", "moving"));
    // Who comes now finds the slot served by g3.
    await until(async () => {
      const other = await rig.connect();
      const late = new Promise((resolve) => setTimeout(() => resolve("held"), 100));
      return (await Promise.race([other.call("GET", empty), late])) === null;
    }, "the map is in force");
    servers[0].signal("SIGCONT");
    expect(await waiting).toBe("v");
    expect(await client.call("GET", moving)).toBe("v");
  });
});
