import { describe, expect, test } from "bun:test";
import { systemClock } from "../platform/clock.ts";
import { PortableNet } from "../platform/portable/portable-net.ts";
import { systemRandom } from "../platform/random.ts";
import { systemTimers } from "../platform/timers.ts";
import type { Outcome, Words } from "./driver.ts";
import { QueueModel } from "./queue-model.ts";
import { SeededRandom } from "./seeded-random.ts";
import { isClean } from "./tally.ts";
import { FakeDriver, FakeRedis } from "./testing/fake-redis.ts";
import { Verifier } from "./verifier.ts";

const env = {
  clock: systemClock,
  timers: systemTimers,
  random: systemRandom,
  net: new PortableNet(systemTimers),
};
const OPTIONS = { seconds: 1, keys: 24, workers: 6, queues: 1, settleSeconds: 2, seed: null };

type Around = (commands: readonly Words[], run: () => Outcome) => Outcome;

/** Runs for a second on a server that answers after a turn or two of the loop. */
async function verify(around?: Around) {
  const server = new FakeRedis(() => systemClock.nowMs());
  const pause = () => new Promise<void>((resolve) => setImmediate(resolve));
  const verifier = new Verifier(env, new FakeDriver(server, pause, around), OPTIONS);
  const report = await verifier.run();
  return { report, server, seed: verifier.seed };
}

describe("a run", () => {
  test("on a server that does as it should is clean, and leaves nothing behind", async () => {
    const { report, server } = await verify();
    expect(report.findings).toEqual([]);
    expect(isClean(report)).toBe(true);
    expect(report.acknowledged).toBeGreaterThan(100);
    expect(server.keys).toEqual([]);
  });

  test("forgives errors, and writes that ran without an answer", async () => {
    const random = new SeededRandom(5);
    const { report } = await verify((_, run) => {
      const dice = random.int(100);
      if (dice < 2) return { kind: "refused", text: "ERR Cannot reach server a:1" };
      if (dice < 4) return { kind: "doubt", text: "the connection was lost" };
      if (dice < 6) {
        run();
        return { kind: "doubt", text: "the connection was lost" };
      }
      return run();
    });
    expect(report.findings).toEqual([]);
    expect(isClean(report)).toBe(true);
    expect(report.errors.inDoubt).toBeGreaterThan(0);
    expect(report.notAcknowledgedButApplied).toBeGreaterThan(0);
  });

  test("finds acknowledged writes that were never made", async () => {
    const random = new SeededRandom(6);
    const { report } = await verify((commands, run) => {
      if (commands[0][0] === "SADD" && random.int(50) === 0) return { kind: "reply", reply: 1 };
      return run();
    });
    expect(report.lost).toBeGreaterThan(0);
    expect(isClean(report)).toBe(false);
  });

  test("finds a write that was sent twice on the way", async () => {
    const random = new SeededRandom(7);
    const { report } = await verify((commands, run) => {
      if (commands[0][0] === "INCR" && random.int(50) === 0) run();
      return run();
    });
    expect(report.duplicated).toBeGreaterThan(0);
    expect(report.lost).toBe(0);
  });

  test("finds replies that have changed places", async () => {
    const random = new SeededRandom(8);
    let last: Outcome | null = null;
    const { report } = await verify((commands, run) => {
      const outcome = run();
      if (commands[0][0] !== "GET") return outcome;
      const given = last !== null && random.int(20) === 0 ? last : outcome;
      last = outcome;
      return given;
    });
    expect(report.wrong).toBeGreaterThan(0);
    expect(report.faults.crossed).toBeGreaterThan(0);
  });

  test("finds a deleted key that comes back", async () => {
    const { report } = await verify((commands, run) => {
      const [name, key] = commands[0];
      return name === "DEL" && key.includes(":list:") ? { kind: "reply", reply: 1 } : run();
    });
    expect(report.lost).toBeGreaterThan(0);
    expect(report.findings.join()).toContain("it was deleted, and is there again");
  });

  test("counts what it could not look at", async () => {
    let dead = false;
    setTimeout(() => (dead = true), 500);
    const { report } = await verify((_, run) => (dead ? { kind: "refused", text: "ERR gone" } : run()));
    expect(report.unverified).toBeGreaterThan(0);
    expect(isClean(report)).toBe(false);
    expect(report.gaps[0].longestMs).toBeGreaterThan(300);
  });
});

describe("a queue", () => {
  test("an element that was pushed and never came out", () => {
    const queue = new QueueModel("q");
    for (let i = 0; i < 3; i++) queue.pushed(queue.next());
    queue.popped("q|1|");
    queue.popped("q|3|");
    expect(queue.close().map(({ fault, count }) => [fault, count])).toEqual([["lost", 1]]);
  });

  test("a pop without a reply may have taken one", () => {
    const queue = new QueueModel("q");
    for (let i = 0; i < 2; i++) queue.pushed(queue.next());
    queue.popped("q|1|");
    queue.popDoubtful();
    expect(queue.close()).toEqual([]);
  });

  test("twice, out of order, from another list", () => {
    const queue = new QueueModel("q");
    for (let i = 0; i < 3; i++) queue.pushed(queue.next());
    const faults = ["q|2|", "q|2|", "q|1|", "other|1|"].flatMap((element) => {
      return queue.popped(element).map((finding) => finding.fault);
    });
    expect(faults).toEqual(["duplicated", "order", "crossed"]);
  });
});
