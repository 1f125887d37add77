/**
 * Who decides about a failover, and what happens when those who decide die: quorum, safe mode, terms, L14.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { systemClock } from "../../src/platform/clock.ts";
import { systemRandom } from "../../src/platform/random.ts";
import { systemTimers } from "../../src/platform/timers.ts";
import { openSqliteStore } from "../../src/store/sqlite/open-store.ts";
import { changeTopology } from "../../src/topology/change-topology.ts";
import type { ClusterTopology } from "../../src/topology/cluster-topology.ts";
import type { SwitchEvent } from "../../src/topology/switch-changes.ts";
import { until } from "../support/until.ts";
import { FailoverRig } from "./failover-rig.ts";

// Waiting for room included: see failover-rig.ts.
setDefaultTimeout(120_000);

/** A proxy that reports five times a second what `viewOf` says, to whoever leads. */
function proxyThatSees(rig: FailoverRig, id: string, addr: string, viewOf: () => "up" | "down"): Disposable {
  const timer = setInterval(() => {
    const sight = { addr, state: viewOf(), sinceMs: 5000, detail: "" };
    for (const controller of rig.controllers) controller.report(id, [sight]).catch(() => {});
  }, 200);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** Does to the store what a leader would have done before it died; the controller must not run. */
async function leaveBehind(rig: FailoverRig, events: readonly SwitchEvent[]): Promise<void> {
  const env = { clock: systemClock, timers: systemTimers, random: systemRandom };
  const store = await openSqliteStore(env, join(rig.folder, "shoal.db"));
  let term = 0;
  await until(async () => {
    const candidate = { id: "dead", incarnation: "x", addr: "127.0.0.1:1" };
    const grant = await store.acquireLeadership(candidate, 5000, false);
    term = grant.leader.term;
    return grant.granted;
  }, "the lease is over");
  for (const event of events) {
    const topology = (await store.readTopology()) as ClusterTopology;
    await store.writeTopology(term, changeTopology(topology, event, term) as ClusterTopology);
  }
  await store.releaseLeadership(term);
  await store.close();
}

function begun(from: string, to: string, kind: "failover" | "switchover" = "failover"): SwitchEvent {
  const now = Date.now();
  const times = { startedAtMs: now, lastAnswerAtMs: now };
  const plan = { kind, from, to, reason: "test", fromOffset: null, link: "0123456789abcdef", ...times };
  return { type: "switch-begun", group: "g1", plan };
}

describe.concurrent("quorum and safe mode", () => {
  test("proxies that still reach the primary keep it; when they don't any more, it is replaced", async () => {
    await using rig = await FailoverRig.start();
    const [[a, b]] = rig.servers;
    let view: "up" | "down" = "up";
    using _ = proxyThatSees(rig, "p1", a.addr, () => view);
    const leader = await rig.leader();
    await until(async () => (await leader.status()).proxies.length === 1, "the proxy reports");
    await a.kill();
    await until(async () => (await leader.status()).problems.length > 0, "it is reported");
    expect((await leader.status()).problems[0]).toContain("1 of 2 observers see it so, 2 are needed");
    expect((await rig.group()).primary.addr).toBe(a.addr);
    view = "down";
    await rig.primaryBecomes((addr) => addr === b.addr);
    const [done] = await leader.events("failover-begun");
    expect(done.fields["reason"]).toContain("2 of 2 observers agree");
  });

  test("a quorum that is set is needed, whoever is there", async () => {
    await using rig = await FailoverRig.start({ config: { quorum: 2 } });
    const [[a]] = rig.servers;
    await a.kill();
    const leader = await rig.leader();
    await until(async () => (await leader.status()).problems.length > 0, "it is reported");
    expect((await leader.status()).problems[0]).toContain("1 of 1 observers see it so, 2 are needed");
    await leader.failover("g1", { force: true });
    expect((await rig.group()).state).not.toBe("down");
  });

  test("safe mode: most groups silent at once are not replaced, and it ends by itself", async () => {
    await using rig = await FailoverRig.start({ groups: 3 });
    const primaries = rig.servers.map(([primary]) => primary);
    for (const primary of primaries.slice(0, 2)) primary.signal("SIGSTOP");
    const leader = await rig.leader();
    await until(async () => (await leader.status()).safeMode?.length === 1, "safe mode is on");
    expect((await leader.status()).safeMode?.[0]).toContain("2 of 3 groups do not answer at once");
    expect((await rig.group("g1")).primary.addr).toBe(primaries[0].addr);
    primaries[1].signal("SIGCONT");
    // One alone is an ordinary failure.
    await rig.primaryBecomes((addr) => addr !== primaries[0].addr);
    expect((await rig.group("g2")).primary.addr).toBe(primaries[1].addr);
    expect(await leader.events("safe-mode-over")).toHaveLength(1);
  });

  test("several controllers: followers' sights count; the leader dies too, the next one acts", async () => {
    await using rig = await FailoverRig.start({ controllers: 3 });
    const [[a, b]] = rig.servers;
    const first = await rig.leader();
    await a.kill();
    await rig.primaryBecomes((addr) => addr === b.addr);
    const [done] = await first.events("failover-begun");
    // At that moment the others may not have seen it yet; two of three are enough.
    expect(done.fields["reason"]).toMatch(/[23] of 3 observers agree/);
    await a.launch();
    await until(() => rig.whole(), "the old one follows");
    await first.kill();
    await b.kill();
    await rig.primaryBecomes((addr) => addr === a.addr, "g1", 20_000);
    expect((await rig.leader()).id).not.toBe(first.id);
  });
});

describe.concurrent("L14: the manager itself", () => {
  test("a leader that was paused through its lease promotes nobody when it wakes up", async () => {
    await using rig = await FailoverRig.start({ controllers: 2 });
    const [[a]] = rig.servers;
    const first = await rig.leader();
    const second = rig.controllers.find((one) => one !== first)!;
    first.signal("SIGSTOP");
    await until(async () => (await second.health()).leader, "the other one leads", 30_000);
    first.signal("SIGCONT");
    await until(async () => !(await first.health()).leader, "the first one follows", 30_000);
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect((await second.status()).groups[0].primary.addr).toBe(a.addr);
    for (const one of rig.controllers) expect(await one.events("failover-begun")).toEqual([]);
  });

  test("a controller does not take its own pause for everybody's death", async () => {
    await using rig = await FailoverRig.start({ config: { lease_ms: 20_000 } });
    const leader = await rig.leader();
    leader.signal("SIGSTOP");
    await new Promise((resolve) => setTimeout(resolve, 3000));
    leader.signal("SIGCONT");
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect(await leader.events("server-down")).toEqual([]);
    expect(await leader.events("failover-begun")).toEqual([]);
  });
});

describe.concurrent("a controller that dies in the middle: the next one finishes", () => {
  test("decided, nothing done yet", async () => {
    await using rig = await FailoverRig.start();
    const [[a, b]] = rig.servers;
    await a.command("SET", "k", "v");
    await a.command("WAIT", "1", "1000");
    await rig.controllers[0].kill();
    await a.kill();
    await leaveBehind(rig, [begun(a.addr, b.addr)]);
    await rig.controllers[0].start();
    const promoted = await rig.primaryBecomes((addr) => addr === b.addr);
    expect(await promoted.command("GET", "k")).toBe("v");
  });

  test("the replica is a primary already, and nobody has been told", async () => {
    await using rig = await FailoverRig.start({ replicas: 2 });
    const [[a, b, c]] = rig.servers;
    await a.command("SET", "k", "v");
    await a.command("WAIT", "2", "1000");
    await rig.controllers[0].kill();
    await a.kill();
    await leaveBehind(rig, [begun(a.addr, c.addr)]);
    await c.command("REPLICAOF", "NO", "ONE");
    await rig.controllers[0].start();
    await rig.primaryBecomes((addr) => addr === c.addr);
    await until(async () => (await rig.group()).protected === true, "the other one follows");
    expect(await b.command("GET", "k")).toBe("v");
  });

  test("the chosen one has died as well: another one is taken", async () => {
    await using rig = await FailoverRig.start({ replicas: 2 });
    const [[a, b, c]] = rig.servers;
    await a.command("SET", "k", "v");
    await a.command("WAIT", "2", "1000");
    const copies = async () => (await rig.controllers[0].events("replica-joined")).length;
    await until(async () => (await copies()) === 2, "both are known as copies");
    await rig.controllers[0].kill();
    await a.kill();
    await b.kill();
    await leaveBehind(rig, [begun(a.addr, b.addr)]);
    await rig.controllers[0].start();
    const promoted = await rig.primaryBecomes((addr) => addr === c.addr);
    expect(await promoted.command("GET", "k")).toBe("v");
  });

  test("the primary is back in the meantime: it stays, and its replicas find it again", async () => {
    await using rig = await FailoverRig.start();
    const [[a, b]] = rig.servers;
    await rig.controllers[0].kill();
    await leaveBehind(rig, [begun(a.addr, b.addr)]);
    // As far as cutting it off, which its successor has to take back.
    await b.command("CONFIG", "SET", "masterauth", "0123456789abcdef");
    await b.command("CLIENT", "KILL", "TYPE", "master");
    await rig.controllers[0].start();
    await until(() => rig.whole(), "the group is whole again");
    expect((await rig.group()).primary.addr).toBe(a.addr);
  });

  test("a switchover is taken back, or finished when the replica has taken over", async () => {
    await using rig = await FailoverRig.start();
    const [[a, b]] = rig.servers;
    await rig.controllers[0].kill();
    await leaveBehind(rig, [begun(a.addr, b.addr, "switchover")]);
    await rig.controllers[0].start();
    await until(
      async () => (await rig.controllers[0].events("switchover-ended")).length === 1,
      "it is taken back",
    );
    expect((await rig.group()).primary.addr).toBe(a.addr);
    await until(() => rig.whole(), "the group is whole");
    await rig.controllers[0].kill();
    await leaveBehind(rig, [begun(a.addr, b.addr, "switchover")]);
    await b.command("REPLICAOF", "NO", "ONE");
    await rig.controllers[0].start();
    await rig.primaryBecomes((addr) => addr === b.addr);
    await until(() => rig.whole(), "the old one follows");
  });
});

test.concurrent("the promoted replica is killed right after: the last one takes over", async () => {
  await using rig = await FailoverRig.start({ replicas: 2 });
  const [[a, b, c]] = rig.servers;
  await a.command("SET", "k", "v");
  await a.command("WAIT", "2", "1000");
  await a.kill();
  const second = await rig.primaryBecomes((addr) => addr !== a.addr);
  await second.kill();
  const third = second === b ? c : b;
  await rig.primaryBecomes((addr) => addr === third.addr);
  expect(await third.command("GET", "k")).toBe("v");
});
