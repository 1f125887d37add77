import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import type { VerifyReport } from "../../src/verify/tally.ts";
import { whyNoNetwork } from "../support/network.ts";
import { until } from "../support/until.ts";
import { UpRig } from "./up-rig.ts";

setDefaultTimeout(60_000);

const noCut = whyNoNetwork();
if (noCut !== null) process.stderr.write(`the drill cut-off is left out: ${noCut}\n`);

interface DrillAnswer {
  readonly drill: string;
  readonly done: string;
  readonly takeover: { readonly to: string; readonly afterMs: number } | null;
  readonly withoutServiceMs: number;
  readonly lost: number;
  readonly wrong: number;
  readonly report: VerifyReport;
}

const SMALL = ["--keys", "48", "--workers", "8", "--queues", "1"];

let rig: UpRig;

beforeAll(async () => {
  rig = await UpRig.create();
  // Two replicas each: with acks=replica a group takes writes while one of its servers is away.
  const up = await rig.run(
    "up",
    "--detach",
    "--groups",
    "2",
    "--replicas",
    "2",
    "--proxies",
    "2",
    ...rig.ports,
  );
  expect(up).toMatchObject({ status: 0 });
});

afterAll(() => rig.cleanUp());

async function drill(what: string, name: string, seconds: number): Promise<DrillAnswer> {
  const words = [what, name, "--yes", "--json", "--seconds", String(seconds), ...SMALL];
  const { out, err } = await rig.run("drill", ...words);
  if (out === "") throw new Error(err);
  return JSON.parse(out) as DrillAnswer;
}

/** A pause, nothing lost, nothing wrong, and another server serves. */
function expectTakeover(answer: DrillAnswer): void {
  expect([answer.done, answer.report.findings]).toEqual([answer.done, []]);
  expect([answer.lost, answer.wrong, answer.report.unverified]).toEqual([0, 0, 0]);
  expect(answer.takeover).not.toBeNull();
  // Before and after: it came back within the run.
  expect(answer.report.acknowledged).toBeGreaterThan(100);
  expect(answer.withoutServiceMs).toBeGreaterThan(1000);
  expect(answer.withoutServiceMs).toBeLessThan(10_000);
}

function untilWell(): Promise<void> {
  return until(async () => (await rig.run("check")).status === 0, "all is well", 30_000);
}

/** The pid of the server that a group has begun with. */
function primaryOf(group: string): number {
  return pidOf(`${group}-1`) as number;
}

function isStopped(pid: number): boolean {
  return /^State:\tT/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
}

function rules(): string {
  return execFileSync("nft", ["list", "tables"], { encoding: "utf8" });
}

function pidOf(id: string): number | undefined {
  return rig.record()?.parts.find((part) => part.id === id)?.process.pid;
}

describe("shoal drill", () => {
  test("does nothing that nobody has agreed to, or that makes no sense", async () => {
    const before = pidOf("p1");
    const [unasked, ...senseless] = await Promise.all([
      rig.run("drill", "kill-proxy", "p1"),
      rig.run("drill", "kill-proxy", "p9", "--yes"),
      rig.run("drill", "kill-primary", "g9", "--yes"),
      rig.run("drill", "burn-down", "--yes"),
    ]);
    expect([unasked.status, unasked.err]).toEqual([2, expect.stringContaining("--yes")]);
    expect(senseless.map((outcome) => outcome.status)).toEqual([3, 3, 2]);
    expect(pidOf("p1")).toBe(before as number);
  });

  test("kill-proxy: errors for what was in flight, nothing lost, the other proxy goes on", async () => {
    const before = pidOf("p1");
    const answer = await drill("kill-proxy", "p1", 3);
    expect(answer.report.findings).toEqual([]);
    expect([answer.lost, answer.wrong]).toEqual([0, 0]);
    expect(answer.report.errors.total).toBeGreaterThan(0);
    expect(answer.report.acknowledged).toBeGreaterThan(100);
    await until(() => pidOf("p1") !== before, "the supervisor has started it again");
  });

  test("L14: kill-controller: the proxies serve on, not one error", async () => {
    const before = pidOf("c1");
    const answer = await drill("kill-controller", "c1", 3);
    expect(answer.report.findings).toEqual([]);
    expect([answer.report.errors.total, answer.lost, answer.wrong]).toEqual([0, 0, 0]);
    await until(() => pidOf("c1") !== before, "the supervisor has started it again");
  });

  test("a drill that is killed leaves nobody frozen and no packet dropped", async () => {
    await untilWell();
    const primary = primaryOf("g1");
    const start = (what: string, group: string) =>
      rig.start("drill", what, group, "--yes", "--seconds", "6", ...SMALL);
    const frozen = start("freeze-primary", "g1");
    const cut = noCut === null ? start("cut-off", "g2") : null;
    const table = `shoal_drill_${cut?.pid}`;
    await until(() => isStopped(primary), "the primary is frozen");
    if (cut !== null) await until(() => rules().includes(table), "packets are dropped");
    frozen.kill("SIGKILL");
    cut?.kill("SIGKILL");
    await until(() => !isStopped(primary), "it was woken up again");
    if (cut !== null) await until(() => !rules().includes(table), "packets pass again");
  });

  test("L1: freeze-primary and cut-off, two groups at once, acks=replica: others take over", async () => {
    expect(await rig.run("options", "set", "acks=replica")).toMatchObject({ status: 0 });
    await untilWell();
    // As long again as it takes to be declared dead; what was the primary wakes up while clients still write.
    const drills = [drill("freeze-primary", "g1", 12)];
    if (noCut === null) drills.push(drill("cut-off", "g2", 12));
    for (const answer of await Promise.all(drills)) expectTakeover(answer);
    if (noCut === null) expect(rules()).not.toContain("shoal_drill_");
  });

  test("L1: kill-primary with acks=replica: its group waits, the others do not, nothing lost", async () => {
    await untilWell();
    const answer = await drill("kill-primary", "g2", 9);
    expectTakeover(answer);
    const gaps = new Map(answer.report.gaps.map((gap) => [gap.label, gap.longestMs]));
    expect(gaps.get("others")).toBeLessThan(gaps.get("g2") as number);
  });
});
