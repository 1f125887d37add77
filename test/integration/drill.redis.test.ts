import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { VerifyReport } from "../../src/verify/tally.ts";
import { until } from "../support/until.ts";
import { UpRig } from "./up-rig.ts";

setDefaultTimeout(60_000);

interface DrillAnswer {
  readonly drill: string;
  readonly done: string;
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

function pidOf(id: string): number | undefined {
  return rig.record()?.parts.find((part) => part.id === id)?.process.pid;
}

describe("shoal drill", () => {
  test("does nothing that nobody has agreed to, or that makes no sense", async () => {
    const before = pidOf("p1");
    expect(await rig.run("drill", "kill-proxy", "p1")).toMatchObject({ status: 2 });
    expect((await rig.run("drill", "kill-proxy", "p1")).err).toContain("--yes");
    expect(await rig.run("drill", "kill-proxy", "p9", "--yes")).toMatchObject({ status: 3 });
    expect(await rig.run("drill", "kill-primary", "g9", "--yes")).toMatchObject({ status: 3 });
    expect(await rig.run("drill", "burn-down", "--yes")).toMatchObject({ status: 2 });
    expect(pidOf("p1")).toBe(before as number);
  });

  test("kill-proxy: errors for what was in flight, nothing lost, the other proxy goes on", async () => {
    const before = pidOf("p1");
    const answer = await drill("kill-proxy", "p1", 4);
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

  test("freeze-primary: its group waits, the others do not; it goes on when it wakes up", async () => {
    await until(async () => (await rig.run("check")).status === 0, "all is well again", 20_000);
    // Shorter than it takes to be declared dead: this is about waiting, failover has tests of its own.
    const answer = await drill("freeze-primary", "g1", 4);
    expect(answer.report.findings).toEqual([]);
    expect([answer.lost, answer.wrong]).toEqual([0, 0]);
    const gaps = new Map(answer.report.gaps.map((gap) => [gap.label, gap.longestMs]));
    expect(gaps.get("g1")).toBeGreaterThan(1500);
    expect(gaps.get("others")).toBeLessThan(gaps.get("g1") as number);
  });

  test("L1: kill-primary with acks=replica: a pause, nothing lost, nothing wrong", async () => {
    expect(await rig.run("options", "set", "acks=replica")).toMatchObject({ status: 0 });
    await until(async () => (await rig.run("check")).status === 0, "all is well", 20_000);
    const answer = await drill("kill-primary", "g2", 11);
    expect(answer.report.findings).toEqual([]);
    expect([answer.lost, answer.wrong, answer.report.unverified]).toEqual([0, 0, 0]);
    // Before and after: it came back within the run.
    expect(answer.report.acknowledged).toBeGreaterThan(100);
    expect(answer.withoutServiceMs).toBeLessThan(10_000);
  });
});
