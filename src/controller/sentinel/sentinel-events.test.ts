import { expect, test } from "bun:test";
import { messagesBetween } from "./sentinel-events.ts";
import type { SentinelMaster, SentinelReplica } from "./sentinel-master.ts";

function replica(addr: string, down = false): SentinelReplica {
  return { addr, down, linkUp: !down, priority: 100, offset: 0, runId: "" };
}

function master(addr: string, changes: Partial<SentinelMaster> = {}): SentinelMaster {
  const quiet = { down: false, agreedDown: false, switching: false };
  return { name: "g1", addr, runId: "", ...quiet, replicas: [replica("h:2")], ...changes };
}

/** "+channel text" of each step. */
function told(...steps: SentinelMaster[][]): string[][] {
  return steps.slice(1).map((step, i) => {
    return messagesBetween(steps[i], step, 2).map(({ channel, text }) => `${channel} ${text}`);
  });
}

test("a failover, step by step", () => {
  const after = master("h:2", { replicas: [replica("h:1", true)] });
  expect(
    told(
      [master("h:1")],
      [master("h:1", { down: true })],
      [master("h:1", { down: true, agreedDown: true, switching: true })],
      [after],
      [{ ...after, replicas: [replica("h:1")] }],
    ),
  ).toEqual([
    ["+sdown master g1 h 1"],
    ["+odown master g1 h 1 #quorum 2/2", "+try-failover master g1 h 1"],
    [
      "+failover-end master g1 h 1",
      "+switch-master g1 h 1 h 2",
      "+slave slave h:1 h 1 @ g1 h 2",
      "+sdown slave h:1 h 1 @ g1 h 2",
    ],
    ["-sdown slave h:1 h 1 @ g1 h 2"],
  ]);
});

test("a failover that is over before anybody has looked says all that it is made of", () => {
  expect(told([master("h:1")], [master("h:2", { replicas: [replica("h:1", true)] })])[0]).toEqual([
    "+sdown master g1 h 1",
    "+odown master g1 h 1 #quorum 2/2",
    "+try-failover master g1 h 1",
    "+failover-end master g1 h 1",
    "+switch-master g1 h 1 h 2",
    "+slave slave h:1 h 1 @ g1 h 2",
    "+sdown slave h:1 h 1 @ g1 h 2",
  ]);
});

test("a switchover kills nobody; a primary that comes back in time takes back what was said", () => {
  expect(told([master("h:1")], [master("h:2", { replicas: [replica("h:1")] })])[0]).toEqual([
    "+try-failover master g1 h 1",
    "+failover-end master g1 h 1",
    "+switch-master g1 h 1 h 2",
    "+slave slave h:1 h 1 @ g1 h 2",
  ]);
  const down = master("h:1", { down: true, agreedDown: true });
  expect(told([down], [master("h:1")])).toEqual([["-odown master g1 h 1", "-sdown master g1 h 1"]]);
});

test("masters and replicas come and go; without a change nothing is said", () => {
  const more = master("h:1", { replicas: [replica("h:2"), replica("h:3", true)] });
  expect(told([], [master("h:1")], [more], [more], [])).toEqual([
    ["+monitor master g1 h 1 quorum 2"],
    ["+slave slave h:3 h 3 @ g1 h 1", "+sdown slave h:3 h 3 @ g1 h 1"],
    [],
    ["-monitor master g1 h 1"],
  ]);
});
