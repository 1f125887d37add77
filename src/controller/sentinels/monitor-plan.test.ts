import { expect, test } from "bun:test";
import { createTopology } from "../../topology/change-topology.ts";
import type { ClusterTopology } from "../../topology/cluster-topology.ts";
import { type MonitorSettings, planMonitoring } from "./monitor-plan.ts";
import { type MonitoredGroup, monitorName } from "./sentinel-view.ts";

const GROUPS = [
  { id: "g1", primary: "10.0.0.1:1", replicas: ["10.0.0.2:2", "redis-3:3"] },
  { id: "g2", primary: "localhost:9", replicas: [] },
];
const TOPOLOGY = createTopology({ name: "my.shop", slots: 1024, groups: GROUPS, options: {} }, 1);

const view = (addr: string, more: Partial<MonitoredGroup> = {}): MonitoredGroup => ({
  addr,
  epoch: 0,
  quorum: 2,
  downAfterMs: 3000,
  failoverTimeoutMs: 10_000,
  parallelSyncs: 2,
  otherSentinels: 2,
  failoverUnderWay: false,
  ...more,
});

const SETTINGS: MonitorSettings = {
  quorum: 2,
  downAfterMs: 3000,
  failoverTimeoutMs: 10_000,
  credentials: null,
};
const plan = (
  sight: ReadonlyMap<string, MonitoredGroup>,
  more: object = {},
  topology: ClusterTopology = TOPOLOGY,
) =>
  planMonitoring({
    topology,
    settings: SETTINGS,
    sight,
    named: () => null,
    aside: new Set(),
    signedIn: new Set(),
    ...more,
  });
const known = (): Map<string, MonitoredGroup> =>
  new Map([
    [monitorName("my.shop", "g1"), view("10.0.0.1:1")],
    [monitorName("my.shop", "g2"), view("127.0.0.1:9", { parallelSyncs: 1 })],
  ]);

test("a sentinel that knows nothing is told all; one that knows all, nothing", () => {
  const credentials = { user: "shoal", password: "pw" };
  const [first, second] = plan(new Map(), { settings: { ...SETTINGS, credentials } });
  const wanted = ["quorum", "2", "down-after-milliseconds", "3000", "failover-timeout", "10000"];
  const signIn = ["auth-user", "shoal", "auth-pass", "pw"];
  expect(first).toEqual({
    kind: "monitor",
    name: "my.shop.g1",
    commands: [
      ["SENTINEL", "MONITOR", "my.shop.g1", "10.0.0.1", "1", "2"],
      ["SENTINEL", "SET", "my.shop.g1", ...wanted, "parallel-syncs", "2", ...signIn],
    ],
  });
  expect(second.commands[0]).toEqual(["SENTINEL", "MONITOR", "my.shop.g2", "127.0.0.1", "9", "2"]);
  expect(plan(known())).toEqual([]);
  // Passwords can't be read back, so each leader says them once.
  const signedIn = new Set(["my.shop.g1"]);
  const again = plan(known(), { settings: { ...SETTINGS, credentials }, signedIn });
  expect(again).toEqual([
    { kind: "set", name: "my.shop.g2", commands: [["SENTINEL", "SET", "my.shop.g2", ...signIn]] },
  ]);
});

test("settings that differ are set, groups that went are removed, other names are left alone", () => {
  const sight = known();
  sight.set("my.shop.g1", view("10.0.0.1:1", { downAfterMs: 30_000, quorum: 1 }));
  sight.set("my.shop.g7", view("h:7"));
  sight.set("my.g1", view("h:8"));
  sight.set("my.shop.x.g1", view("h:9"));
  expect(plan(sight).map(({ commands }) => commands[0].slice(1).join(" "))).toEqual([
    "SET my.shop.g1 quorum 2 down-after-milliseconds 3000",
    "REMOVE my.shop.g7",
  ]);
});

test("nothing is said about a group that is switched by us, nor of one whose switch is not known yet", () => {
  expect(plan(new Map(), { aside: new Set(["g1", "g2"]) })).toEqual([]);
  const named = (name: string) =>
    name === "my.shop.g1" ? { addr: "10.0.0.2:2", epoch: 1, failoverUnderWay: false } : null;
  expect(plan(new Map(), { named }).map(({ name }) => name)).toEqual(["my.shop.g2"]);
  // One that names another primary is not told otherwise: it has replaced it.
  const sight = known();
  sight.set("my.shop.g1", view("10.0.0.2:2"));
  expect(plan(sight)).toEqual([]);
});
