/** Planned switches (L3), and what people are told of switches: events, stream, webhook, script. */
import { afterEach, describe, expect, test } from "bun:test";
import { chmod, readFile, writeFile } from "node:fs/promises";
import { followEvents } from "../../src/contract/failover-client.ts";
import type { EventLine } from "../../src/contract/failover-routes.ts";
import { systemHttpClient } from "../../src/platform/http/http-client.ts";
import { systemHttpServer } from "../../src/platform/http/http-server.ts";
import type { RedisProcess } from "../support/redis-process.ts";
import { RespClient } from "../support/resp-client.ts";
import { until } from "../support/until.ts";
import { FailoverRig, type RigOptions } from "./failover-rig.ts";

const rigs: FailoverRig[] = [];
const cleanups: Array<() => unknown> = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
  for (const rig of rigs.splice(0)) await rig.dispose();
});

async function start(options: RigOptions = {}): Promise<FailoverRig> {
  const rig = await FailoverRig.start(options);
  rigs.push(rig);
  return rig;
}

/** Writes straight to the server, as a proxy would that knows nothing of the switch, until it is refused. */
async function writeUntilRefused(server: RedisProcess): Promise<{ acknowledged: number; refusal: string }> {
  const client = await RespClient.connect(server.port);
  let acknowledged = 0;
  for (;;) {
    const reply = await client.text("SET", `w${acknowledged}`, "v").catch((error: Error) => error.message);
    if (reply !== "+OK\r\n") {
      client.close();
      return { acknowledged, refusal: reply };
    }
    acknowledged++;
  }
}

describe("switchover", () => {
  test("L3: nothing that was acknowledged until the switch is missing; the old one follows", async () => {
    const rig = await start({ replicas: 2 });
    const [[a, b]] = rig.servers;
    const leader = await rig.leader();
    const writers = [1, 2, 3].map(() => writeUntilRefused(a));
    await until(async () => Number(await a.command("DBSIZE")) > 200, "the writers write");
    // Refused otherwise: an empty server is never promoted while its primary has keys.
    await until(async () => Number(await b.command("DBSIZE")) > 0, "the replica has applied some of it");
    const answer = await leader.failover("g1", { to: b.addr });
    expect(answer).toMatchObject({ kind: "switchover", from: a.addr, to: b.addr, lostBytesMax: 0 });
    const outcomes = await Promise.all(writers);
    for (const { refusal } of outcomes) expect(refusal).toContain("READONLY");
    // All three write the same names, so the one that came furthest says how many there are.
    const written = Math.max(...outcomes.map((outcome) => outcome.acknowledged));
    expect(await b.command("DBSIZE")).toBe(written);
    await until(() => rig.whole(), "the others follow");
    expect(String(await b.command("INFO", "stats"))).toMatch(/sync_full:0\r/);
    const [done] = await leader.events("switchover-done");
    console.log(`switchover: ${JSON.stringify(done.fields)}, ${written} keys acknowledged while it went on`);
    // And back.
    expect(await leader.failover("g1", { to: a.addr })).toMatchObject({ from: b.addr, to: a.addr });
    await until(() => rig.whole(), "the others follow again");
    expect(await a.command("SET", "again", "v")).toBe("OK");
  }, 40_000);

  test("refuses what is no replica, what is not in sync and what lags, and says so", async () => {
    const rig = await start({ replicas: 2 });
    const [[a, b, c]] = rig.servers;
    const leader = await rig.leader();
    const why = (to?: string) =>
      leader.failover("g1", { to }).then(
        () => "no refusal",
        (error: Error) => error.message,
      );
    expect(await why("127.0.0.1:1")).toContain("127.0.0.1:1 is none of its replicas");
    expect(await why(a.addr)).toContain("it is its primary already");
    await expect(leader.failover("g9")).rejects.toThrow("no such group");
    await b.command("CONFIG", "SET", "masterauth", "wrong");
    await b.command("CLIENT", "KILL", "TYPE", "master");
    expect(await why(b.addr)).toContain(`${b.addr} is connecting, not in sync`);
    await until(
      async () => (await why(b.addr)).includes("has not been in sync"),
      "it counts as a copy no more",
    );
    // A replica that has stood still since is caught at the comparison of the offsets.
    c.signal("SIGSTOP");
    expect(await why(c.addr)).toContain(`${c.addr} does not answer`);
    c.signal("SIGCONT");
    expect(await a.command("SET", "k", "v")).toBe("OK");
    expect((await rig.group()).primary.addr).toBe(a.addr);
    const stateOfC = async () => (await rig.group()).replicas.find((one) => one.addr === c.addr)?.state;
    await until(async () => (await stateOfC()) === "online", "it has been seen again");
    expect(await leader.failover("g1")).toMatchObject({ to: c.addr });
  }, 30_000);

  test("refuses a replica that lags, and one that does not catch up; nothing has changed then", async () => {
    const rig = await start({ relayed: [0] });
    const [[a, b]] = rig.servers;
    const leader = await rig.leader();
    const why = (): Promise<string> =>
      leader.failover("g1").then(
        () => "no refusal",
        (error: Error) => error.message,
      );
    // Empty, it would be refused for that.
    await a.command("SET", "both", "v");
    expect(await a.command("WAIT", "1", "2000")).toBe(1);
    // It is connected, and gets nothing more of what the primary writes.
    rig.relayOf(a).holdReplica(b.port);
    const client = await RespClient.connect(a.port);
    cleanups.push(() => client.close());
    expect(await client.text("SET", "small", "v".repeat(10_000))).toBe("+OK\r\n");
    expect(await why()).toMatch(/still \d{5} bytes behind after 1000 ms; the primary stays/);
    // Writes are taken again at once, not when the pause would have ended by itself.
    const asked = performance.now();
    expect(await client.text("SET", "after", "v")).toBe("+OK\r\n");
    expect(performance.now() - asked).toBeLessThan(2000);
    expect(await client.text("SET", "large", "v".repeat(1_200_000))).toBe("+OK\r\n");
    const bound = /is \d{7} bytes behind \(at most 1048576 are waited for\)/;
    expect(await why()).toMatch(bound);
    expect((await rig.group()).primary.addr).toBe(a.addr);
    expect((await leader.events("switchover-ended")).map(({ fields }) => fields["to"])).toEqual([b.addr]);
    rig.relayOf(a).heal();
    await until(async () => (await b.command("EXISTS", "large")) === 1, "it has caught up");
    expect(await leader.failover("g1")).toMatchObject({ to: b.addr, lostBytesMax: 0 });
    expect(await b.command("EXISTS", "small", "after", "large")).toBe(3);
  }, 30_000);

  test("proxies that do not acknowledge the hold are not waited for longer than a moment", async () => {
    const rig = await start();
    const leader = await rig.leader();
    await leader.report("p1", [], 1);
    const answer = await leader.failover("g1");
    expect(answer.heldMs).toBeGreaterThanOrEqual(140);
    expect(answer.heldMs).toBeLessThan(2000);
  }, 30_000);

  test("a follower passes the wish on to the leader", async () => {
    const rig = await start({ controllers: 2 });
    const leader = await rig.leader();
    const follower = rig.controllers.find((one) => one !== leader)!;
    const [[, b]] = rig.servers;
    expect(await follower.failover("g1")).toMatchObject({ to: b.addr });
  }, 30_000);
});

describe("what is told", () => {
  test("events by request and as a stream, webhook, script, metrics; and again after a restart", async () => {
    const posted: EventLine[] = [];
    const hook = await systemHttpServer.listen({ host: "127.0.0.1", port: 0 }, async (request) => {
      posted.push((await request.json()) as EventLine);
      return new Response("");
    });
    cleanups.push(() => hook.close());
    const folder = `/tmp/shoal-script-${process.pid}`;
    const script = `${folder}.sh`;
    await writeFile(script, `#!/bin/sh\ncat >> ${folder}.out\necho >> ${folder}.out\n`);
    await chmod(script, 0o700);
    const notify = { notify_webhook: `http://${hook.address}/secret-path`, notify_script: script };
    const rig = await start({ config: notify });
    const [[a, b]] = rig.servers;
    const leader = await rig.leader();
    const streamed: EventLine[] = [];
    const abort = new AbortController();
    cleanups.push(() => abort.abort());
    const stream = followEvents(systemHttpClient, leader.target, 0, abort.signal, (event) =>
      streamed.push(event),
    );
    stream.catch(() => {});
    await a.kill();
    await rig.primaryBecomes((addr) => addr === b.addr);
    const kinds = (events: readonly EventLine[]) => events.map((event) => event.kind);
    await until(() => kinds(streamed).includes("failover-done"), "the stream has it");
    const wanted = ["server-down", "failover-begun", "failover-done"];
    expect(kinds(streamed).filter((kind) => wanted.includes(kind))).toEqual(wanted);
    await until(() => kinds(posted).includes("failover-done"), "the webhook has it");
    expect(posted.find((event) => event.kind === "failover-done")).toMatchObject({
      cluster: "test",
      controller: "c1",
      fields: { group: "g1", from: a.addr, to: b.addr },
    });
    await until(
      async () => (await readFile(`${folder}.out`, "utf8")).includes("failover-done"),
      "so has the script",
    );
    const last = streamed.at(-1)!;
    expect(await leader.events()).toEqual(expect.arrayContaining([last]));
    const metrics = await (await fetch(`${leader.target.url}/metrics`)).text();
    expect(metrics).toContain('shoal_switches_total{group="g1",kind="failover"} 1');
    expect(metrics).toContain('shoal_failover_lost_bytes_max{group="g1"} ');
    expect(metrics).toContain('shoal_group_protected{group="g1"} 0');
    expect(leader.output).not.toContain("secret-path");
    await leader.kill();
    await leader.start();
    const [recalled] = await leader.events("failover-done");
    const whole = { group: "g1", from: a.addr, to: b.addr, controller: "c1", acknowledgedLost: null };
    expect(recalled.fields).toMatchObject({ ...whole, silentMs: expect.any(Number) });
    // The one that died may have told nobody of its last switch.
    const again = () => posted.find((event) => event.fields["repeated"] === true);
    await until(() => again() !== undefined, "the webhook is told again");
    expect(again()).toMatchObject({ kind: "failover-done", fields: whole });
  }, 30_000);

  test("a webhook and a script that fail are logged and hold nothing up", async () => {
    const notify = {
      notify_webhook: "http://127.0.0.1:1/x",
      notify_script: "/nowhere",
      notify_timeout_ms: 300,
    };
    const rig = await start({ config: notify });
    const [[a, b]] = rig.servers;
    await a.kill();
    await rig.primaryBecomes((addr) => addr === b.addr);
    const failed = async (): Promise<string> =>
      (await (await rig.leader()).events("notify-failed")).map((event) => event.fields["reason"]).join("; ");
    await until(async () => (await failed()).includes("connection refused"), "the webhook's failure is told");
    await until(async () => (await failed()).includes("Cannot run script /nowhere"), "and the script's");
  }, 30_000);
});
