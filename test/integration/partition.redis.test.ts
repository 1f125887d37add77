/**
 * What a network does that a kill does not: both sides live on. Real processes in network namespaces, so only
 * root on Linux can run it.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { whyNoNetwork } from "../support/network.ts";
import { until } from "../support/until.ts";
import { type Load, PartitionRig } from "./partition-rig.ts";

setDefaultTimeout(60_000);

const reason = whyNoNetwork();
if (reason !== null) process.stderr.write(`partition tests are left out: ${reason}\n`);

/** Several times what a failover of this rig takes: none has come by then if one is going to. */
const STILL_MS = 2000;

let rig: PartitionRig;
let loads: Load[];

/** Nobody is promoted and no client sees an error from now on, for long enough. */
async function staysStill(side: number, failovers: number): Promise<void> {
  const acknowledged = loads.map((load) => load.acknowledged());
  await new Promise((resolve) => setTimeout(resolve, STILL_MS));
  expect([await rig.primarySide(), await rig.failovers()]).toEqual([side, failovers]);
  expect(loads.map((load) => load.errors())).toEqual([0, 0, 0]);
  for (const [i, load] of loads.entries()) expect(load.acknowledged()).toBeGreaterThan(acknowledged[i]);
}

describe.skipIf(reason !== null)("a network that is cut", () => {
  beforeAll(async () => {
    rig = await PartitionRig.start();
    loads = await Promise.all([1, 2, 3].map((side) => rig.load(side)));
  });

  afterAll(() => rig?.dispose());

  test("L14: the controller is cut off with the replicas: it promotes nobody", async () => {
    rig.cutController(1, true);
    await until(async () => (await rig.status()).groups[0].state === "down", "it sees the primary down");
    const reasons = async (): Promise<readonly string[]> => (await rig.status()).safeMode ?? [];
    await until(async () => (await reasons()).length > 0, "it suspects that it is the one");
    await staysStill(1, 0);
    rig.cutController(1, false);
    await until(() => rig.whole(), "it sees all again", 20_000);
    expect([await rig.primarySide(), await rig.failovers()]).toEqual([1, 0]);
  });

  test("L14: only the controller cannot reach a primary that every proxy reaches: it stays", async () => {
    rig.cutView(1, true);
    await until(async () => (await rig.status()).groups[0].state === "down", "it sees the primary down");
    await staysStill(1, 0);
    rig.cutView(1, false);
    await until(() => rig.whole(), "it sees all again", 20_000);
  });

  test("L1, L2: a primary is cut off with a proxy and clients: nothing acknowledged is lost", async () => {
    const [inside, ...outside] = loads;
    rig.cutSide(1, true);
    await until(async () => (await rig.primarySide()) !== 1, "another server has taken over", 20_000);
    const [before, ...others] = loads.map((load) => load.acknowledged());
    await until(() => outside.every((load, i) => load.acknowledged() > others[i] + 50), "its clients write");
    // The old primary still takes their writes; no replica is left that would confirm them.
    expect(inside.acknowledged()).toBe(before);
    expect(inside.errors()).toBeGreaterThan(0);
    rig.cutSide(1, false);
    await until(() => rig.whole(), "the old primary is a replica, every proxy has the map", 30_000);
    await until(() => inside.acknowledged() > before + 50, "those who were cut off write again", 20_000);
    const reports = await Promise.all(loads.map((load) => load.stop()));
    for (const report of reports) {
      expect(report.findings).toEqual([]);
      expect([report.lost, report.wrong, report.unverified]).toEqual([0, 0, 0]);
    }
    const [cutOff] = reports;
    expect(cutOff.errors.texts.map(({ text }) => text).join()).toContain("NOREPLICAS");
    // They were applied there, and are gone: that is what the error has said.
    expect(cutOff.notAcknowledgedButApplied).toBeGreaterThan(0);
    expect(await rig.failovers()).toBe(1);
  });
});
