/** A primary dies, in every way that it can, and a replica takes over: real servers, real controllers. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { until } from "../support/until.ts";
import { FailoverRig } from "./failover-rig.ts";

// Waiting for room included: see failover-rig.ts.
setDefaultTimeout(120_000);

describe.concurrent("failover", () => {
  test.each(["SIGKILL", "SIGSTOP"] as const)(
    "a primary that gets %s is replaced",
    async (signal) => {
      await using rig = await FailoverRig.start({ replicas: 2 });
      const [[a]] = rig.servers;
      await a.command("SET", "k", "v");
      await a.command("WAIT", "2", "1000");
      const diedMs = performance.now();
      a.signal(signal);
      const promoted = await rig.primaryBecomes((addr) => addr !== a.addr);
      const tookMs = performance.now() - diedMs;
      expect(await promoted.command("GET", "k")).toBe("v");
      await promoted.command("SET", "k2", "v2");
      await until(async () => (await rig.group()).protected === true, "the other replica is in sync again");
      const leader = await rig.leader();
      const [done] = await leader.events("failover-done");
      expect(done.fields).toMatchObject({ group: "g1", from: a.addr, to: promoted.addr, lostBytesMax: 0 });
      expect((await leader.status()).problems).toEqual([]);
      console.log(
        `${signal}: ${Math.round(tookMs)} ms, of which down_after_ms 1500; ${JSON.stringify(done.fields)}`,
      );
      // The other one was not copied anew.
      const other = rig.servers[0].find((server) => server !== a && server !== promoted)!;
      const stats = String(await promoted.command("INFO", "stats"));
      expect(stats).toMatch(/sync_partial_ok:1\r/);
      expect(await other.command("GET", "k2")).toBe("v2");
    },
    30_000,
  );

  test("several groups at once, each on its own", async () => {
    await using rig = await FailoverRig.start({ groups: 2 });
    for (const [i, [primary]] of rig.servers.entries()) {
      await primary.command("SET", `k${i}`, "v");
      await primary.command("WAIT", "1", "1000");
    }
    for (const [primary] of rig.servers) primary.signal("SIGKILL");
    for (const [i, [primary]] of rig.servers.entries()) {
      const promoted = await rig.primaryBecomes((addr) => addr !== primary.addr, `g${i + 1}`);
      expect(await promoted.command("GET", `k${i}`)).toBe("v");
    }
    expect(await (await rig.leader()).events("safe-mode")).toEqual([]);
  });

  test("a slow server, one that runs a script and one that loads are not dead", async () => {
    await using rig = await FailoverRig.start({
      serverArgs: ["--lua-time-limit", "100", "--enable-debug-command", "yes"],
      config: { down_after_ms: 2500, server_timeout_ms: 500 },
    });
    const [[a]] = rig.servers;
    const leader = await rig.leader();
    // Slow: it answers, although late, within the bound.
    await a.command("DEBUG", "SLEEP", "0.7");
    await until(async () => (await rig.group()).state === "ok", "it has been seen to answer");
    // A script that runs for longer than down_after_ms; after lua-time-limit the server answers BUSY.
    const untilLater =
      "local t = redis.call('TIME') while true do local n = redis.call('TIME') " +
      "if (n[1] - t[1]) * 1000 + (n[2] - t[2]) / 1000 > 4000 then return 1 end end";
    await a.command("EVAL", untilLater, "0");
    expect((await rig.group()).primary.addr).toBe(a.addr);
    expect(await leader.events("server-down")).toEqual([]);
    expect(await leader.events("failover-begun")).toEqual([]);
  });

  test("a primary without a replica stays: it is reported, and serves when it is back", async () => {
    await using rig = await FailoverRig.start({ replicas: 0, serverArgs: ["--appendonly", "yes"] });
    const [[a]] = rig.servers;
    await a.command("SET", "k", "v");
    await a.kill();
    const leader = await rig.leader();
    await until(async () => (await leader.status()).problems.length > 0, "it is reported");
    expect((await leader.status()).problems[0]).toContain("it has no replica");
    await a.launch();
    await until(async () => (await rig.group()).state === "ok", "it serves again");
    await until(async () => (await leader.status()).problems.length === 0, "nothing is wrong any more");
    expect(await a.command("GET", "k")).toBe("v");
  });

  test("manual failover: nothing happens by itself, a person does it", async () => {
    await using rig = await FailoverRig.start({ config: { failover: "manual" } });
    const [[a, b]] = rig.servers;
    await a.kill();
    const leader = await rig.leader();
    await until(async () => (await leader.status()).problems.length > 0, "it is reported");
    expect((await leader.status()).problems[0]).toContain("failover is manual");
    await expect(leader.failover("g1")).rejects.toThrow(`its primary ${a.addr} does not answer; --force`);
    expect(await leader.failover("g1", { force: true })).toMatchObject({ kind: "failover", to: b.addr });
    expect((await rig.group()).primary.addr).toBe(b.addr);
  });
});
