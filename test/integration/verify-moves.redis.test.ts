/**
 * The checker while slots move to and fro, and whoever has to do with it is killed at random moments: clients
 * may see errors, but no acknowledged write is lost and no read is wrong.
 */
import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import type { VerifyReport } from "../../src/verify/tally.ts";
import { SeededRandom } from "../differential/streams/seeded-random.ts";
import { until } from "../support/until.ts";
import { UpRig } from "./up-rig.ts";

setDefaultTimeout(120_000);

const SECONDS = 10;

let rig: UpRig;

beforeEach(async () => {
  rig = await UpRig.create();
});

afterEach(() => rig.cleanUp());

test("L8, L10, L12: slots move, controller and proxies are killed: nothing lost or wrong", async () => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  const random = new SeededRandom(seed);
  console.log(`seed ${seed}`);
  const up = await rig.run(
    "up",
    "--detach",
    "--groups",
    "2",
    "--replicas",
    "0",
    "--proxies",
    "2",
    ...rig.ports,
  );
  expect(up).toMatchObject({ status: 0 });
  const words = [
    "--json",
    "--seconds",
    String(SECONDS),
    "--keys",
    "120",
    "--workers",
    "12",
    "--seed",
    String(seed),
  ];
  let running = true;
  const verifying = rig.run("verify-consistency", ...words).finally(() => (running = false));
  const moves = moveToAndFro(random, () => running);
  const kills = killSomebody(random, () => running);
  const { out, err } = await verifying;
  expect(await moves).toBeGreaterThan(0);
  expect(await kills).toBeGreaterThan(0);
  if (out === "") throw new Error(err);
  const report = JSON.parse(out) as VerifyReport;
  expect({ seed, findings: report.findings }).toEqual({ seed, findings: [] });
  expect([report.lost, report.wrong, report.unverified]).toEqual([0, 0, 0]);
  expect(report.acknowledged).toBeGreaterThan(200);
  await until(async () => (await rig.run("check")).status === 0, "every key is in its home", 40_000);
});

/** A random range of slots to one of the groups, again and again; how many arrived comes back. */
async function moveToAndFro(random: SeededRandom, goOn: () => boolean): Promise<number> {
  let arrived = 0;
  while (goOn()) {
    const from = random.int(1000);
    const range = `${from}-${Math.min(1023, from + 20 + random.int(300))}`;
    // Fails when the controller is killed while the command waits; the move goes on all the same.
    const { status } = await rig.run("slot", "move", range, "--to", `g${1 + random.int(2)}`);
    if (status === 0) arrived++;
  }
  return arrived;
}

/** SIGKILL to the controller or a proxy, which the supervisor starts again; how many were hit comes back. */
async function killSomebody(random: SeededRandom, goOn: () => boolean): Promise<number> {
  let hit = 0;
  while (goOn()) {
    await new Promise((resolve) => setTimeout(resolve, 1000 + random.int(2500)));
    const id = random.pick(["c1", "p1", "p2"]);
    const part = rig.record()?.parts.find((one) => one.id === id);
    if (part === undefined || !goOn()) continue;
    try {
      process.kill(part.process.pid, "SIGKILL");
      hit++;
    } catch {
      // It is dead already, and not yet started again.
    }
  }
  return hit;
}
