import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { spawn } from "bun";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { VerifyReport } from "../../src/verify/tally.ts";
import { ProxyProcess } from "../support/proxy-process.ts";
import { freePort, RedisProcess } from "../support/redis-process.ts";
import { RespClient } from "../support/resp-client.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(60_000);

const SHOAL = join(import.meta.dir, "../../bin/shoal");

const disposables: Array<{ dispose(): Promise<void> }> = [];

afterEach(async () => {
  for (const one of disposables.splice(0)) await one.dispose();
});

async function startRedis(...args: string[]): Promise<RedisProcess> {
  const redis = await RedisProcess.start(args);
  disposables.unshift(redis);
  return redis;
}

function verify(address: string, seconds: number, ...args: string[]) {
  const words = ["verify-consistency", "--json", "--address", address, "--seconds", String(seconds), ...args];
  const child = spawn([SHOAL, ...words], { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  return Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]).then(([out, err, status]) => {
    if (out === "") throw new Error(err);
    return { status, report: JSON.parse(out) as VerifyReport };
  });
}

describe("shoal verify-consistency", () => {
  test("a bare server: nothing lost, status 0, no key left behind", async () => {
    const redis = await startRedis();
    const { status, report } = await verify(redis.addr, 1, "--keys", "60", "--workers", "8");
    expect({ findings: report.findings, status }).toEqual({ findings: [], status: 0 });
    expect(report.acknowledged).toBeGreaterThan(500);
    expect(await redis.command("DBSIZE")).toBe(0);
  });

  test("two groups behind a proxy: the same", async () => {
    const servers = [await startRedis(), await startRedis()];
    const proxy = await ProxyProcess.start(servers.map((server) => server.addr));
    disposables.unshift(proxy);
    const { status, report } = await verify(`127.0.0.1:${proxy.port}`, 2, "--keys", "60", "--workers", "8");
    expect({ findings: report.findings, status }).toEqual({ findings: [], status: 0 });
    for (const server of servers) expect(await server.command("DBSIZE")).toBe(0);
  });

  test("a server that comes back empty has lost what it acknowledged, and this shows", async () => {
    const redis = await startRedis();
    const running = verify(redis.addr, 3, "--keys", "60", "--workers", "8", "--queues", "0");
    await untilKeys(redis);
    await redis.kill();
    await redis.launch();
    const { status, report } = await running;
    expect(status).toBe(1);
    expect(report.lost).toBeGreaterThan(0);
    expect(report.errors.total).toBeGreaterThan(0);
    expect(report.unverified).toBe(0);
  });

  test("a server that keeps its log through a SIGKILL has lost nothing", async () => {
    const redis = await startRedis("--appendonly", "yes", "--appendfsync", "always");
    const running = verify(redis.addr, 3, "--keys", "60", "--workers", "8");
    await untilKeys(redis);
    await redis.kill();
    await redis.launch();
    const { status, report } = await running;
    expect({ findings: report.findings, status }).toEqual({ findings: [], status: 0 });
    expect(report.errors.total).toBeGreaterThan(0);
  });

  test("a Redis Cluster, from one of its nodes: goes where it is sent", async () => {
    const nodes: RedisProcess[] = [];
    for (let i = 0; i < 2; i++) {
      nodes.push(await startRedis("--cluster-enabled", "yes", "--cluster-port", String(await freePort())));
    }
    await nodes[0].command("CLUSTER", "ADDSLOTSRANGE", "0", "8191");
    await nodes[1].command("CLUSTER", "ADDSLOTSRANGE", "8192", "16383");
    const busPort = String((await nodes[1].client.configGet("cluster-port")).get("cluster-port"));
    await nodes[0].command("CLUSTER", "MEET", "127.0.0.1", String(nodes[1].port), busPort);
    for (const node of nodes) {
      const up = async () => String(await node.command("CLUSTER", "INFO")).includes("cluster_state:ok");
      await until(up, "the cluster is up");
    }
    const { status, report } = await verify(nodes[0].addr, 2, "--cluster", "--keys", "60", "--workers", "8");
    expect({ findings: report.findings, status }).toEqual({ findings: [], status: 0 });
    expect(report.acknowledged).toBeGreaterThan(200);
    for (const node of nodes) expect(await node.command("DBSIZE")).toBe(0);
  });

  test("a primary that sentinels watch", async () => {
    const redis = await startRedis();
    const sentinel = await startSentinel(redis.port);
    const args = ["--sentinel", "watched", "--keys", "30", "--workers", "4"];
    const { status, report } = await verify(`127.0.0.1:${sentinel}`, 1, ...args);
    expect({ findings: report.findings, status }).toEqual({ findings: [], status: 0 });
    expect(await redis.command("DBSIZE")).toBe(0);
  });

  test("an address where nobody is: nothing could be verified", async () => {
    const { status, report } = await verify("127.0.0.1:1", 1, "--settle-seconds", "1", "--queues", "0");
    expect(status).toBe(1);
    expect(report.unverified).toBeGreaterThan(0);
    expect(report.acknowledged).toBe(0);
  });
});

/** Its port comes back. */
async function startSentinel(watched: number): Promise<number> {
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), "shoal-sentinel-"));
  const file = join(folder, "sentinel.conf");
  const lines = ["bind 127.0.0.1", `port ${port}`, `sentinel monitor watched 127.0.0.1 ${watched} 1`];
  writeFileSync(file, `${lines.join("\n")}\n`);
  const child = spawn(["redis-server", file, "--sentinel"], { cwd: folder, stdout: "ignore" });
  disposables.unshift({
    dispose: async () => {
      child.kill("SIGKILL");
      await child.exited;
      rmSync(folder, { recursive: true });
    },
  });
  const client = () => RespClient.connect(port).then((open) => (open.close(), true));
  await until(client, "the sentinel listens");
  return port;
}

/** The run has begun: most of its keys are there. */
function untilKeys(redis: RedisProcess): Promise<void> {
  return until(async () => Number(await redis.command("DBSIZE")) >= 30, "the run has made its keys");
}
