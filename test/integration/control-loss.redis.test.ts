/** on_control_loss: what a worker does when its proxy has lost every controller. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mapOf, Rig, TRANSPORTS } from "../robustness/rig.ts";
import { RedisProcess } from "../support/redis-process.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(30_000);

let server: RedisProcess;
let rig: Rig;

beforeEach(async () => {
  server = await RedisProcess.start();
});

afterEach(async () => {
  await rig.dispose();
  await server.dispose();
});

describe.each(TRANSPORTS)("controllers lost (%s)", (io) => {
  test("L2: stop-writes refuses writes and serves reads, until a controller is back", async () => {
    rig = await Rig.start([server], io);
    const client = await rig.connect();
    const transaction = await rig.connect();
    expect(await client.call("SET", "k", "1")).toBe("OK");
    rig.sendMap({ ...mapOf([server.addr], 2), options: { on_control_loss: "stop-writes" } });
    await until(() => rig.acks.includes(2), "in force");
    expect(await client.call("SET", "k", "2")).toBe("OK");
    expect(await transaction.call("MULTI")).toBe("OK");
    expect(await transaction.call("SET", "k", "3")).toBe("QUEUED");
    rig.sendControl(true);
    const probe = await rig.connect();
    const refusal = "ERR Writes are stopped: this proxy has reached no controller";
    await until(
      async () => (await probe.fault("SET", "probe", "x")).startsWith(refusal),
      "writes are refused",
    );
    expect(await client.call("GET", "k")).toBe("2");
    expect(await client.fault("MSET", "k", "x", "l", "y")).toStartWith(refusal);
    expect(await client.fault("EVAL", "return redis.call('set', KEYS[1], 'x')", "1", "k")).toStartWith(
      refusal,
    );
    expect(await client.fault("SET", "big", "x".repeat(2 << 20))).toStartWith(refusal);
    expect(await transaction.fault("EXEC")).toContain("Writes are stopped");
    expect(await client.call("EXISTS", "big")).toBe(0);
    rig.sendControl(false);
    await until(async () => (await probe.call("SET", "k", "4")) === "OK", "writes are taken again");
  });

  test("serve, the default, goes on", async () => {
    rig = await Rig.start([server], io);
    rig.sendControl(true);
    const client = await rig.connect();
    for (let i = 0; i < 50; i++) expect(await client.call("SET", "k", String(i))).toBe("OK");
  });
});
