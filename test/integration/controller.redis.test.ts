/** The control plane on real servers and as a real process: bootstrap, wiring, restarts, terms. */
import { afterEach, describe, expect, test } from "bun:test";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "smol-toml";
import { fetchHealth, fetchMap, fetchSlot, fetchStatus, sendReport } from "../../src/contract/client.ts";
import type { ClusterStatus, ProxyReport } from "../../src/contract/schemas.ts";
import { systemHttpClient } from "../../src/platform/http/http-client.ts";
import { systemClock } from "../../src/platform/clock.ts";
import { systemRandom } from "../../src/platform/random.ts";
import { systemTimers } from "../../src/platform/timers.ts";
import { openSqliteStore } from "../../src/store/sqlite/open-store.ts";
import { RedisProcess, freePort } from "../support/redis-process.ts";
import { until } from "../support/until.ts";

const BUN = process.execPath;
const FIXTURE = join(import.meta.dirname, "../fixtures/fixture-controller.ts");

class ControllerProcess {
  readonly folder: string;
  readonly port: number;
  readonly config: Record<string, unknown>;
  child: ChildProcess | null = null;
  output = "";

  constructor(folder: string, port: number, config: Record<string, unknown>) {
    this.folder = folder;
    this.port = port;
    this.config = config;
  }

  get target() {
    return { url: `http://127.0.0.1:${this.port}`, token: (this.config["token"] as string) ?? null };
  }

  async launch(): Promise<void> {
    const file = join(this.folder, "controller.toml");
    await writeFile(file, stringify(this.config));
    const child = spawn(BUN, [FIXTURE, file], { cwd: this.folder, stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (bytes) => (this.output += String(bytes)));
    this.child = child;
  }

  async start(): Promise<void> {
    await this.launch();
    await until(
      async () => (await fetchHealth(systemHttpClient, this.target)).status === "ok",
      "healthz is ok",
    );
  }

  /** Waits for its end; the status comes back. */
  ended(): Promise<number | null> {
    const child = this.child as ChildProcess;
    if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve(child.exitCode);
    return new Promise((resolve) => child.once("exit", resolve));
  }

  async kill(signal: NodeJS.Signals): Promise<number | null> {
    const ended = this.ended();
    this.child?.kill(signal);
    return ended;
  }

  status(): Promise<ClusterStatus> {
    return fetchStatus(systemHttpClient, this.target);
  }
}

const cleanups: Array<() => Promise<unknown>> = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function startRedis(...args: string[]): Promise<RedisProcess> {
  const redis = await RedisProcess.start(args);
  cleanups.push(() => redis.dispose());
  return redis;
}

interface Pair {
  readonly primary: RedisProcess;
  readonly replica: RedisProcess;
}

async function startPairs(count: number): Promise<Pair[]> {
  const servers = await Promise.all(
    Array.from({ length: count * 2 }, () => startRedis("--appendonly", "yes")),
  );
  return Array.from({ length: count }, (_, i) => ({ primary: servers[2 * i], replica: servers[2 * i + 1] }));
}

async function makeController(
  pairs: readonly Pair[],
  more: Record<string, unknown> = {},
): Promise<ControllerProcess> {
  const folder = await mkdtemp(join(tmpdir(), "shoal-controller-"));
  const port = await freePort();
  const groups = pairs.map(({ primary, replica }, i) => {
    return { id: `g${i + 1}`, primary: primary.addr, replicas: [replica.addr] };
  });
  const cluster = { name: "test", slots: 1024, groups };
  const fast = { health_period_ms: 100, lease_ms: 1500, proxy_lease_ms: 1500, server_timeout_ms: 500 };
  const config = { id: "c1", listen: `127.0.0.1:${port}`, ...fast, cluster, ...more };
  const controller = new ControllerProcess(folder, port, config);
  cleanups.push(async () => {
    if (controller.child !== null) await controller.kill("SIGKILL");
    await rm(folder, { recursive: true, force: true });
  });
  return controller;
}

const allOk = async (controller: ControllerProcess): Promise<boolean> =>
  (await controller.status()).groups.every((group) => group.state === "ok");

const report = (pid: number): ProxyReport => ({
  addr: "127.0.0.1:19000",
  pid,
  state: "serving",
  workers: [{ pid: pid + 1 }],
  map: { version: 1, term: 1 },
  servers: [],
  counters: { requests: 7 },
});

describe("controller process", () => {
  test("makes a cluster of two groups, wires the replicas, tells slots, and shows all of it", async () => {
    const pairs = await startPairs(2);
    const controller = await makeController(pairs);
    await controller.start();
    await until(() => allOk(controller), "both groups are ok");
    const status = await controller.status();
    expect(status.cluster).toBe("test");
    expect(status.controllers).toEqual([
      { id: "c1", addr: `127.0.0.1:${controller.port}`, pid: controller.child!.pid!, leader: true },
    ]);
    expect(status.groups.map((group) => group.primary)).toEqual(
      pairs.map(({ primary }) => ({ addr: primary.addr, pid: primary.pid })),
    );
    expect(status.groups[0].replicas[0]).toMatchObject({
      addr: pairs[0].replica.addr,
      pid: pairs[0].replica.pid,
    });
    expect(status.groups[0].replicas[0].state).toBe("online");
    expect(status.slots).toEqual({
      count: 1024,
      ranges: [
        { from: 0, to: 511, group: "g1" },
        { from: 512, to: 1023, group: "g2" },
      ],
    });
    await pairs[0].primary.command("SET", "a", "1");
    await until(async () => (await pairs[0].replica.command("GET", "a")) === "1", "the replica has the key");
    await until(async () => (await controller.status()).groups[0].replicas[0].lagBytes === 0, "no lag");
    const slot = await fetchSlot(systemHttpClient, controller.target, new TextEncoder().encode("a"));
    expect(slot).toEqual({ slot: 579, group: "g2", primary: pairs[1].primary.addr });
    await until(
      async () => (await fetchMap(systemHttpClient, controller.target)).version === 3,
      "both joined",
    );
    expect(await controller.kill("SIGTERM")).toBe(0);
  }, 30_000);

  test("survives kill -9 on the same store: same cluster, higher term, no wait for the lease", async () => {
    const pairs = await startPairs(1);
    const controller = await makeController(pairs, { lease_ms: 30_000 });
    await controller.start();
    await until(() => allOk(controller), "the group is ok");
    await until(async () => (await controller.status()).map.version === 2, "the replica has joined");
    const before = await controller.status();
    for (let round = 1; round <= 2; round++) {
      await controller.kill("SIGKILL");
      await controller.start();
      await until(() => allOk(controller), "the group is ok again", 3000);
      const after = await controller.status();
      expect(after.map).toEqual({ version: before.map.version + round, term: before.map.term + round });
      expect(after.slots).toEqual(before.slots);
    }
  }, 30_000);

  test("a leader whose term has been overtaken writes nothing and follows", async () => {
    const pairs = await startPairs(1);
    const controller = await makeController(pairs);
    await controller.start();
    const file = join(controller.folder, "shoal.db");
    const env = { clock: systemClock, timers: systemTimers, random: systemRandom };
    controller.child?.kill("SIGSTOP");
    const store = await openSqliteStore(env, file);
    const usurper = { id: "c2", incarnation: "x", addr: "127.0.0.1:1" };
    let term = 0;
    await until(async () => {
      const { granted, leader } = await store.acquireLeadership(usurper, 60_000, false);
      term = leader.term;
      return granted;
    }, "the lease of the paused controller runs out");
    controller.child?.kill("SIGCONT");
    const health = () => fetchHealth(systemHttpClient, controller.target);
    await until(async () => !(await health()).leader, "the woken controller follows");
    expect((await health()).term).toBe(term);
    await expect(sendReport(systemHttpClient, controller.target, "p1", report(5))).rejects.toThrow(
      "Cannot take the report of proxy p1: c2 at 127.0.0.1:1 leads",
    );
    await store.releaseLeadership(term);
    await until(async () => (await health()).leader, "it leads again when the other one has gone");
    expect((await health()).term).toBe(term + 1);
    await store.close();
  }, 30_000);

  test("never wipes: a replica with keys of its own is reported, a primary never follows", async () => {
    const [{ primary, replica }, second] = await startPairs(2);
    await replica.command("SET", "precious", "1");
    await second.primary.command("REPLICAOF", "127.0.0.1", String(primary.port));
    await second.replica.command("SET", "also", "1");
    const controller = await makeController([{ primary, replica }, second]);
    await controller.start();
    await until(async () => (await controller.status()).problems.length === 2, "both problems are shown");
    const { problems, groups } = await controller.status();
    expect(problems[0]).toContain(
      `${replica.addr} is not made a replica of ${primary.addr} (group g1): it holds 1 keys`,
    );
    expect(problems[1]).toContain(`${second.primary.addr} is the primary of group g2 but follows`);
    expect(groups.map((group) => group.state)).toEqual(["degraded", "down"]);
    expect(await replica.command("GET", "precious")).toBe("1");
    await primary.command("SET", "x", "1");
    await replica.command("DEL", "precious");
    await until(
      async () => (await controller.status()).groups[0].state === "ok",
      "the emptied replica is wired",
    );
    expect(await second.replica.command("GET", "also")).toBe("1");
  }, 30_000);

  test("a replica comes back with its data; L6: an empty primary wipes nothing", async () => {
    const [{ primary, replica }] = await startPairs(1);
    const controller = await makeController([{ primary, replica }]);
    await controller.start();
    await until(async () => (await controller.status()).map.version === 2, "the replica has joined");
    await primary.command("SET", "a", "1");
    await until(async () => (await replica.command("GET", "a")) === "1", "the replica has the key");
    await replica.kill();
    await until(async () => (await controller.status()).groups[0].replicas[0].state === "down", "seen down");
    expect((await controller.status()).groups[0].state).toBe("degraded");
    await replica.launch();
    await until(() => allOk(controller), "the replica follows again");
    // After a full copy a server rewrites its append-only file; killed before, it comes back without keys.
    await until(async () => {
      const persistence = String(await replica.command("INFO", "persistence"));
      return /aof_rewrite_in_progress:0/.test(persistence) && /aof_rewrite_scheduled:0/.test(persistence);
    }, "the copy is on the replica's disk");
    // The primary is back, empty, as if its disk had been lost; the replica has been restarted, so it follows
    // nobody.
    await replica.kill();
    await until(async () => (await controller.status()).groups[0].replicas[0].state === "down", "seen down");
    await primary.command("FLUSHALL");
    await replica.launch();
    await until(async () => (await controller.status()).problems.length === 1, "the problem is shown");
    expect((await controller.status()).problems[0]).toContain("holds 1 keys and the primary is empty");
    expect(await replica.command("GET", "a")).toBe("1");
  }, 30_000);

  test("a dead and a frozen server are down, the others stay up", async () => {
    const pairs = await startPairs(2);
    const controller = await makeController(pairs);
    await controller.start();
    await until(() => allOk(controller), "both groups are ok");
    pairs[0].primary.signal("SIGSTOP");
    await until(
      async () => (await controller.status()).groups[0].state === "down",
      "the frozen primary is down",
    );
    expect((await controller.status()).groups[1].state).toBe("ok");
    pairs[0].primary.signal("SIGCONT");
    await until(() => allOk(controller), "it is back");
    await pairs[1].primary.kill();
    await until(
      async () => (await controller.status()).groups[1].state === "down",
      "the dead primary is down",
    );
    expect((await controller.status()).groups[1].primary.pid).toBeNull();
  }, 30_000);

  test("proxies: a lease per proxy, lost when it runs out, gone when it drained", async () => {
    const controller = await makeController(await startPairs(1));
    await controller.start();
    const stateOf = async (id: string) =>
      (await controller.status()).proxies.find((proxy) => proxy.id === id)?.state;
    const answer = await sendReport(systemHttpClient, controller.target, "p1", report(11));
    expect(answer).toMatchObject({ leader: "c1", leaseMs: 1500 });
    await sendReport(systemHttpClient, controller.target, "p2", { ...report(12), state: "draining" });
    expect(await stateOf("p1")).toBe("serving");
    expect(await stateOf("p2")).toBe("draining");
    await until(async () => (await stateOf("p1")) === "lost", "p1 is lost");
    await until(async () => (await stateOf("p2")) === undefined, "p2 is gone");
    await sendReport(systemHttpClient, controller.target, "p1", report(13));
    expect(await stateOf("p1")).toBe("serving");
    const bad = sendReport(systemHttpClient, controller.target, "p1", { ...report(1), pid: -1 });
    await expect(bad).rejects.toThrow("Cannot POST /api/v1/proxies/:id/report: pid");
  }, 30_000);

  test("the token is asked for, and never shown", async () => {
    const [{ primary, replica }] = await startPairs(1);
    const controller = await makeController([{ primary, replica }], {
      token: "s3cret-token",
      server_password: "hidden",
    });
    await controller.start();
    const wrong = fetchStatus(systemHttpClient, { ...controller.target, token: "s3cret-tokem" });
    await expect(wrong).rejects.toThrow("Cannot GET /api/v1/status: the token is wrong");
    const none = fetchStatus(systemHttpClient, { ...controller.target, token: null });
    await expect(none).rejects.toThrow("Cannot GET /api/v1/status: no token was shown");
    const read = async (path: string) =>
      (
        await fetch(controller.target.url + path, { headers: { authorization: "Bearer s3cret-token" } })
      ).text();
    // The servers have no password, so ours is refused: that must be told without telling it.
    await until(
      async () => (await controller.status()).groups[0].state === "down",
      "the servers refuse our password",
    );
    const texts = [
      await read("/api/v1/status"),
      await read("/metrics"),
      await read("/openapi.json"),
      controller.output,
    ];
    for (const text of texts) {
      expect(text).not.toContain("s3cret");
      expect(text).not.toContain("hidden");
    }
    expect(texts[1]).toContain('shoal_group_state{group="g1",state="down"} 1');
    expect(controller.output).toContain("the server refused our credentials");
  }, 30_000);

  test("no start: port in use, another cluster's store, a listen that needs a token", async () => {
    const pairs = await startPairs(1);
    const controller = await makeController(pairs);
    await controller.start();
    const failing = async (config: Record<string, unknown>): Promise<string> => {
      const other = new ControllerProcess(controller.folder, controller.port, {
        ...controller.config,
        ...config,
      });
      await other.launch();
      expect(await other.ended()).toBe(1);
      return other.output;
    };
    const term = (await controller.status()).map.term;
    expect(await failing({})).toContain(
      `Cannot listen on 127.0.0.1:${controller.port}: the address is in use`,
    );
    const free = `127.0.0.1:${await freePort()}`;
    expect(await failing({ listen: free, cluster: { name: "other" } })).toContain(
      "Cannot start the controller of cluster other: the store (SQLite file shoal.db) holds cluster test",
    );
    expect(await failing({ listen: "0.0.0.0:1" })).toContain("0.0.0.0:1 is not loopback: set token");
    expect(await failing({ lisen: free })).toContain("unknown key lisen (did you mean listen?)");
    expect((await controller.status()).map.term).toBe(term);
  }, 30_000);
});
