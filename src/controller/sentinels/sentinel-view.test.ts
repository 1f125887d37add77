import { expect, test } from "bun:test";
import { ReplyError } from "../../redis/reply-decoder.ts";
import type { TopologyGroup, TopologyServer } from "../../topology/cluster-topology.ts";
import { createTopology } from "../../topology/change-topology.ts";
import type { ServerObservation } from "../../topology/group-health.ts";
import {
  type MonitoredGroup,
  namedPrimary,
  readMasters,
  readReplicas,
  serverMeant,
  toForget,
} from "./sentinel-view.ts";

const GROUPS = [
  { id: "g1", primary: "10.0.0.1:1", replicas: ["10.0.0.2:2", "redis-3:3"] },
  { id: "g2", primary: "localhost:9", replicas: [] },
];
const TOPOLOGY = createTopology({ name: "my.shop", slots: 1024, groups: GROUPS, options: {} }, 1);
const [G1] = TOPOLOGY.groups;

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

test("answers of a sentinel are read; during a failover the address by name is the right one", () => {
  const row = ["name", "c.g1", "ip", "10.0.0.1", "port", "1", "flags", "master,o_down,failover_in_progress"];
  const numbers = ["config-epoch", "7", "quorum", "2", "num-other-sentinels", "2", "parallel-syncs", "1"];
  const times = ["down-after-milliseconds", "3000", "failover-timeout", "10000"];
  const sight = readMasters([[...row, ...numbers, ...times]], ["c.g1"], [["10.0.0.2", "2"]]);
  const settings = { epoch: 7, parallelSyncs: 1, failoverUnderWay: true };
  expect(sight?.get("c.g1")).toEqual(view("10.0.0.2:2", settings));
  // Between the two questions it was removed.
  expect(readMasters([[...row, ...numbers, ...times]], ["c.g1"], [null])?.get("c.g1")?.addr).toBe(
    "10.0.0.1:1",
  );
  expect(readMasters(new ReplyError("ERR unknown command"), [], [])).toBeNull();
  expect(readReplicas([["ip", "10.0.0.2", "port", "2"], []])).toEqual(["10.0.0.2:2", "undefined:undefined"]);
});

test("the highest epoch says who is primary; one that is cut off with its old one does not", () => {
  const old = new Map([["n", view("h:1", { epoch: 3 })]]);
  const next = new Map([["n", view("h:2", { epoch: 4, failoverUnderWay: true })]]);
  expect(namedPrimary([old, null, next, old], "n")).toEqual({
    addr: "h:2",
    epoch: 4,
    failoverUnderWay: true,
  });
  expect(namedPrimary([null, new Map()], "n")).toBeNull();
});

test("servers are known by address; one with a name by its port, when that is one's alone", () => {
  expect(serverMeant(G1, "10.0.0.2:2")).toBe("10.0.0.2:2");
  expect(serverMeant(G1, "10.0.0.77:3")).toBe("redis-3:3");
  expect(serverMeant(G1, "10.0.0.77:2")).toBeNull();
  expect(serverMeant(TOPOLOGY.groups[1], "127.0.0.1:9")).toBe("localhost:9");
});

test("forgotten: strangers, and who has gone without being a copy; not who follows or is one", () => {
  const server = (addr: string, syncedTo?: string): TopologyServer => ({
    addr,
    role: "replica",
    joined: true,
    ...(syncedTo === undefined ? {} : { syncedTo }),
  });
  const copies = [server("h:2", "now"), server("h:3", "before"), server("h:4"), server("h:5")];
  const primary: TopologyServer = { addr: "h:1", role: "primary", joined: true };
  const history = { id: "now", runId: "r", offset: 0 };
  const group: TopologyGroup = { ...G1, servers: [primary, ...copies], history };
  const up = (follows: string | null) => ({ state: "up", follows }) as unknown as ServerObservation;
  const down: ServerObservation = { state: "down", reason: "", sinceMs: 0 };
  const seen = new Map([
    ["h:2", down],
    ["h:3", down],
    ["h:4", up("h:1")],
    ["h:5", up(null)],
  ]);
  expect(toForget(group, seen, ["h:2", "h:3", "h:4", "h:5", "h:6"])).toEqual(["h:3", "h:5", "h:6"]);
  expect(toForget({ ...group, history: undefined }, seen, ["h:3"])).toEqual(["h:3"]);
});
