/** A primary dies, in every way that it can, and a replica takes over: real servers, real controllers. */
import { Database } from "bun:sqlite";
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { spawn } from "node:child_process";
import { join } from "node:path";
import { RespClient } from "../support/resp-client.ts";
import type { RedisProcess } from "../support/redis-process.ts";
import { until } from "../support/until.ts";
import { FailoverRig } from "./failover-rig.ts";

const SHOAL = join(import.meta.dirname, "../../src/apps/shoal.ts");

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

  test("a server that is slow under load, all the time, or runs a script is not dead", async () => {
    await using rig = await FailoverRig.start({
      serverArgs: ["--lua-time-limit", "1500"],
      config: { down_after_ms: 2500, server_timeout_ms: 250 },
    });
    const [[a]] = rig.servers;
    const leader = await rig.leader();
    // Two clients keep it from everybody else for a second at a time; whatever others ask is answered in
    // between, which is never within server_timeout_ms.
    const clients = await Promise.all([RespClient.connect(a.port), RespClient.connect(a.port)]);
    const busy = (client: RespClient, ms: number) => client.text("EVAL", busyFor(ms), "0");
    const load = async (client: RespClient) => {
      for (let i = 0; i < 5; i++) expect(await busy(client, 500)).toContain(":1");
    };
    await Promise.all(clients.map(load));
    expect(await leader.events("server-down")).toEqual([]);
    // Longer than down_after_ms at once; after lua-time-limit the server answers BUSY.
    await busy(clients[0], 3500);
    for (const client of clients) client.close();
    expect((await rig.group()).primary.addr).toBe(a.addr);
    expect(await leader.events("server-down")).toEqual([]);
    expect(await leader.events("failover-begun")).toEqual([]);
  });

  test("a primary that loads for longer than down_after_ms is not dead", async () => {
    // Half a millisecond per key: two seconds.
    const serverArgs = ["--enable-debug-command", "yes", "--key-load-delay", "500"];
    // It answers in between, as it does with data of a size that takes time.
    serverArgs.push("--loading-process-events-interval-bytes", "1024");
    await using rig = await FailoverRig.start({ replicas: 0, serverArgs });
    const [[a]] = rig.servers;
    await a.command("DEBUG", "POPULATE", "4000");
    await a.command("SAVE");
    await a.kill();
    const leader = await rig.leader();
    const begunMs = performance.now();
    await a.launch();
    await until(async () => (await rig.group()).state === "ok", "it has loaded and serves again", 20_000);
    expect(performance.now() - begunMs).toBeGreaterThan(1900);
    expect(await leader.events("server-down")).toEqual([]);
    expect(await a.command("DBSIZE")).toBe(4000);
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

  test("safe mode at the default periods: groups go down one after the other", async () => {
    const periods = { health_period_ms: 1000, down_after_ms: 3000, server_timeout_ms: 2000 };
    await using rig = await FailoverRig.start({ groups: 3, config: periods });
    const [[a], [b]] = rig.servers;
    const leader = await rig.leader();
    // A look that had to wait is followed by the next at once: now those at b come 0.4 s after those at a.
    await lookedAt(b);
    b.signal("SIGSTOP");
    await pause(1100);
    await lookedAt(a);
    await pause(400);
    b.signal("SIGCONT");
    await until(() => rig.whole(), "it answers again");
    for (const primary of [a, b]) {
      await lookedAt(primary);
      primary.signal("SIGSTOP");
    }
    const down = async () => (await leader.events("server-down")).length;
    await until(async () => (await down()) === 2, "both are down", 10_000);
    await until(async () => (await leader.events("safe-mode")).length > 0, "safe mode is on");
    expect(await leader.events("failover-begun")).toEqual([]);
    const [{ fields }] = await leader.events("safe-mode");
    expect(fields["reason"]).toContain("2 of 3 groups do not answer");
    expect((await rig.group("g1")).primary.addr).toBe(a.addr);
    expect((await rig.group("g2")).primary.addr).toBe(b.addr);
  });

  test("the store is lost: nobody is promoted; when it is back, somebody is", async () => {
    await using rig = await FailoverRig.start();
    const [[a, b]] = rig.servers;
    const [controller] = rig.controllers;
    // Nothing can be written to it any more, as on a full disk.
    const store = new Database(join(rig.folder, "shoal.db"));
    store.run("BEGIN IMMEDIATE");
    await a.kill();
    const why = async () => (await controller.status()).safeMode?.[0] ?? "";
    await until(async () => (await why()).includes("look at the store"), "it leads no more", 20_000);
    expect(await controller.events("failover-begun")).toEqual([]);
    expect(String(await b.command("ROLE"))).toContain("slave");
    store.run("ROLLBACK");
    store.close();
    await rig.primaryBecomes((addr) => addr === b.addr, "g1", 20_000);
  });

  test("observers on one machine are one voice, however many they are", async () => {
    await using rig = await FailoverRig.start({ config: { machine: "m1" } });
    const [[a, b]] = rig.servers;
    const leader = await rig.leader();
    const sees = (state: "up" | "down") => [{ addr: a.addr, state, sinceMs: 5000, detail: "" }];
    let others: "up" | "down" = "up";
    const timer = setInterval(() => {
      for (const id of ["p1", "p2", "p3"]) leader.report(id, sees("down"), 1e6, "m1").catch(() => {});
      leader.report("p4", sees(others), 1e6, "m2").catch(() => {});
      leader.report("p5", sees(others), 1e6, "m3").catch(() => {});
    }, 200);
    using _ = { [Symbol.dispose]: () => clearInterval(timer) };
    await until(async () => (await leader.status()).proxies.length === 5, "the proxies report");
    await a.kill();
    await until(async () => (await leader.status()).problems.length > 0, "it is reported");
    expect((await leader.status()).problems[0]).toContain("1 of 3 machines see it so, 2 are needed");
    others = "down";
    await rig.primaryBecomes((addr) => addr === b.addr);
    const [begun] = await leader.events("failover-begun");
    expect(begun.fields["reason"]).toContain("3 of 3 machines agree");
  });

  test("events --follow goes over to the controller that leads next", async () => {
    await using rig = await FailoverRig.start({ controllers: 2 });
    const first = await rig.leader();
    const second = rig.controllers.find((one) => one !== first)!;
    let out = "";
    const words = ["events", "--follow", "--json", "--control", first.target.url];
    const cli = spawn(process.execPath, [SHOAL, ...words], { stdio: ["ignore", "pipe", "ignore"] });
    cli.stdout.on("data", (bytes) => (out += String(bytes)));
    try {
      await until(() => out.includes("group-protected"), "it follows", 20_000);
      await first.kill();
      await until(
        () => out.includes(`"controller":"${second.id}","term"`),
        "it has found the next one",
        20_000,
      );
      await second.failover("g1", { by: "ann@desk" });
      await until(() => out.includes("switchover-done"), "it tells what that one does");
      const [done] = await second.events("switchover-done");
      expect(done.fields).toMatchObject({ controller: second.id, reason: "asked for by ann@desk" });
    } finally {
      cli.kill("SIGKILL");
    }
  });

  test("a replica that was away can't come back unseen, and confirm writes", async () => {
    // The primary notices soon that a replica is silent; it says itself often enough that it is not.
    const serverArgs = ["--repl-timeout", "3", "--repl-ping-replica-period", "1"];
    await using rig = await FailoverRig.start({ replicas: 2, serverArgs, options: { acks: "replica" } });
    const [[a, , c]] = rig.servers;
    const leader = await rig.leader();
    c.signal("SIGSTOP");
    await until(async () => (await leader.events("replica-away")).length === 1, "it counts no more", 15_000);
    // The controller is cut off, and the replica is back, with what it once signed in by.
    leader.signal("SIGSTOP");
    c.signal("SIGCONT");
    const linkOfC = async () => String(await c.command("INFO", "replication"));
    await until(async () => (await linkOfC()).includes("master_link_status:down"), "it has lost its link");
    await a.command("SET", "k", "v");
    expect(await a.command("WAIT", "2", "2500")).toBe(1);
    leader.signal("SIGCONT");
    await until(async () => Number(await a.command("WAIT", "2", "100")) === 2, "it was let in", 20_000);
  });
});

/** Until a server has been asked for INFO once more. */
async function lookedAt(server: RedisProcess): Promise<void> {
  const looks = async () => JSON.stringify(await server.command("LATENCY", "HISTOGRAM", "info"));
  const before = await looks();
  await until(async () => (await looks()) !== before, "it is looked at");
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Keeps a server busy, by its own clock. */
function busyFor(ms: number): string {
  return (
    "local t = redis.call('TIME') while true do local n = redis.call('TIME') " +
    `if (n[1] - t[1]) * 1000 + (n[2] - t[2]) / 1000 > ${ms} then return 1 end end`
  );
}
