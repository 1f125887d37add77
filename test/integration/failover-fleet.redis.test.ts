/** Failover and switchover as clients see them: a cluster of `shoal up`, written through a proxy. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import type { FailoverAnswer } from "../../src/contract/failover-routes.ts";
import type { ClusterStatus } from "../../src/contract/schemas.ts";
import { RespClient } from "../support/resp-client.ts";
import { until } from "../support/until.ts";
import { UpRig } from "./up-rig.ts";

const CLIENTS = 20;

let rig: UpRig;

beforeAll(async () => {
  rig = await UpRig.create();
  const outcome = await rig.run("up", "--detach", ...rig.small);
  if (outcome.status !== 0) throw new Error(outcome.err);
  await until(whole, "every group is protected");
}, 60_000);

afterAll(async () => {
  await rig.run("down");
  rig.cleanUp();
}, 60_000);

async function status(): Promise<ClusterStatus> {
  return JSON.parse((await rig.run("status", "--json")).out) as ClusterStatus;
}

async function whole(): Promise<boolean> {
  return (await status()).groups.every((group) => group.state === "ok" && group.protected === true);
}

interface Load {
  /** Ends it; what the clients have seen comes back. */
  stop(): Promise<{ errors: string[]; lost: number; slowestMs: number; done: number }>;
}

/** Counters of all slots, one per client: an INCR that was answered must be in the counter ever after. */
async function startLoad(): Promise<Load> {
  const errors: string[] = [];
  const load = { running: true };
  let slowestMs = 0;
  let done = 0;
  const last = Array.from({ length: CLIENTS }, () => 0);
  let lost = 0;
  const work = last.map(async (_, i) => {
    const client = await RespClient.connect(rig.port);
    // Half of them are in each group: the hash of the names says so.
    const key = `{${i * 37}}:counter`;
    last[i] = Number((await client.text("INCR", key)).slice(1));
    while (load.running) {
      const sentMs = performance.now();
      const reply = await client.text("INCR", key);
      slowestMs = Math.max(slowestMs, performance.now() - sentMs);
      if (!reply.startsWith(":")) {
        errors.push(reply.trim());
        continue;
      }
      const value = Number(reply.slice(1));
      // More than one above the last is a request that was answered by an error, and has run.
      if (value <= last[i]) lost += last[i] + 1 - value;
      last[i] = value;
      done++;
    }
    client.close();
  });
  await until(() => done > 500, "the clients write");
  return {
    async stop() {
      const before = done;
      await until(() => done > before + 500, "the clients write again");
      load.running = false;
      await Promise.all(work);
      return { errors, lost, slowestMs, done };
    },
  };
}

test("switchover under load: no error, nothing lost, requests wait for a moment", async () => {
  const following = rig.start("events", "--follow", "--json");
  const load = await startLoad();
  const times: number[] = [];
  for (const _ of [1, 2, 3]) {
    const outcome = await rig.run("failover", "g1", "--json");
    expect(outcome.err).toBe("");
    times.push((JSON.parse(outcome.out) as FailoverAnswer).heldMs as number);
    await until(whole, "the group is protected again");
  }
  const { errors, lost, slowestMs, done } = await load.stop();
  console.log(`held ${times.join(", ")} ms; slowest of ${done} requests ${Math.round(slowestMs)} ms`);
  expect(errors).toEqual([]);
  expect(lost).toBe(0);
  following.kill("SIGINT");
  const lines = (await new Response(following.stdout).text()).trim().split("\n");
  const kinds = lines.map((line) => (JSON.parse(line) as { kind: string }).kind);
  expect(kinds.filter((kind) => kind === "switchover-done")).toHaveLength(3);
  expect(await following.exited).toBe(0);
  const wrong = await rig.run("failover", "g9");
  expect([wrong.status, wrong.err]).toEqual([
    3,
    expect.stringContaining("Cannot switch group g9: no such group"),
  ]);
}, 60_000);

test("L6: a primary that is back empty at once answers nobody, and its replica takes over", async () => {
  const [, group] = (await status()).groups;
  const { addr, pid } = group.primary;
  const load = await startLoad();
  const server = join(rig.dir, "servers", serverName(addr));
  process.kill(pid as number, "SIGKILL");
  rmSync(join(server, "appendonlydir"), { recursive: true, force: true });
  const again = spawn("redis-server", ["redis.conf"], { cwd: server, stdio: "ignore" });
  try {
    await until(async () => (await status()).groups[1].primary.addr !== addr, "the replica has taken over");
    const { errors, lost, slowestMs } = await load.stop();
    console.log(`empty return: slowest request ${Math.round(slowestMs)} ms, ${errors.length} in flight`);
    // What was under way on the broken connections may have run, and is told so; else nothing.
    for (const error of errors) expect(error).toContain("may have run");
    expect(errors.length).toBeLessThanOrEqual(2 * CLIENTS);
    expect(lost).toBe(0);
    await until(whole, "the empty one has become a replica");
    const { out } = await rig.run("events");
    for (const kind of ["primary-restarted", "failover-done", "switchover-done"]) expect(out).toContain(kind);
  } finally {
    again.kill("SIGKILL");
    await until(async () => (await status()).groups[1].replicas[0].state === "down", "it is gone");
  }
}, 60_000);

test("the primary of the other group dies under load: requests wait, and go on at the replica", async () => {
  const [group] = (await status()).groups;
  const load = await startLoad();
  const diedMs = performance.now();
  process.kill(group.primary.pid as number, "SIGKILL");
  await until(async () => (await status()).groups[0].primary.addr !== group.primary.addr, "it is replaced");
  const tookMs = performance.now() - diedMs;
  const { errors, lost, slowestMs } = await load.stop();
  console.log(
    `killed: replaced within ${Math.round(tookMs)} ms, slowest request ${Math.round(slowestMs)} ms`,
  );
  for (const error of errors) expect(error).toContain("may have run");
  expect(errors.length).toBeLessThanOrEqual(2 * CLIENTS);
  // Replication is asynchronous here; what a client has been told and no replica had may be gone.
  expect(lost).toBeLessThanOrEqual(2 * CLIENTS);
}, 60_000);

/** "g2-1": the folder of the server that listens there. */
function serverName(addr: string): string {
  const at = Number(addr.split(":")[1]) - rig.serverPort;
  return `g${Math.floor(at / 2) + 1}-${(at % 2) + 1}`;
}
