import { describe, expect, test } from "bun:test";
import { changeTopology, createTopology } from "./change-topology.ts";
import { type ServerObservation, groupState, replicaHealth, replicaLagBytes } from "./group-health.ts";
import { planWiring } from "./wire-replicas.ts";

const FRESH = createTopology(
  {
    name: "c",
    slots: 1024,
    groups: [{ id: "g1", primary: "127.0.0.1:1", replicas: ["127.0.0.1:2"] }],
    options: {},
  },
  1,
);
const JOINED = changeTopology(FRESH, { type: "joined", addr: "127.0.0.1:2" }, 1)!;

type Up = Extract<ServerObservation, { state: "up" }>;

const up = (more: Partial<Up> = {}): Up => ({
  state: "up",
  pid: 1,
  runId: "r",
  role: "primary",
  follows: null,
  linkUp: false,
  syncing: false,
  offset: 0,
  loading: false,
  keys: 0,
  ...more,
});
const following = (more: Partial<Up> = {}): Up =>
  up({ role: "replica", follows: "127.0.0.1:1", linkUp: true, ...more });
const DOWN: ServerObservation = { state: "down", reason: "x", sinceMs: 0 };

const seen = (primary: ServerObservation, replica: ServerObservation) =>
  new Map([
    ["127.0.0.1:1", primary],
    ["127.0.0.1:2", replica],
  ]);

const FOLLOW = { type: "follow", group: "g1", addr: "127.0.0.1:2", primary: "127.0.0.1:1" } as const;

describe("planWiring", () => {
  test.each<[string, typeof FRESH, ServerObservation, ServerObservation]>([
    ["an empty new server", FRESH, up({ keys: 5 }), up()],
    ["an empty new server of an empty primary", FRESH, up(), up()],
    ["an empty replica of somebody else", FRESH, up(), up({ role: "replica", follows: "10.0.0.9:1" })],
    ["a restarted replica with the group's data", JOINED, up({ keys: 5 }), up({ keys: 4 })],
    [
      "a replica that follows an old primary",
      JOINED,
      up({ keys: 5 }),
      following({ follows: "127.0.0.1:9", keys: 5 }),
    ],
  ])("wires %s", (_, topology, primary, replica) => {
    expect(planWiring(topology, seen(primary, replica))).toEqual({
      effects: [FOLLOW],
      joined: [],
      problems: [],
    });
  });

  test.each<[string, typeof FRESH, ServerObservation, ServerObservation, string]>([
    ["data of its own", FRESH, up({ keys: 5 }), up({ keys: 1 }), "holds 1 keys of its own"],
    ["the last copy", JOINED, up(), up({ keys: 7 }), "holds 7 keys and the primary is empty"],
    [
      "a primary that follows",
      FRESH,
      following({ follows: "10.0.0.9:1" }),
      up(),
      "but follows 10.0.0.9:1: not changed",
    ],
  ])("reports and leaves alone: %s", (_, topology, primary, replica, message) => {
    const plan = planWiring(topology, seen(primary, replica));
    expect(plan.effects).toEqual([]);
    expect(plan.problems[0].message).toContain(message);
  });

  test.each<[string, ServerObservation, ServerObservation]>([
    ["a primary that is down", DOWN, up()],
    ["a primary that is loading", up({ loading: true }), up()],
    ["a replica that is loading", up(), up({ loading: true })],
    ["a replica that is down", up(), DOWN],
    ["a replica that is syncing", up(), following({ syncing: true, linkUp: false })],
    ["a replica that is told and not connected", up(), following({ linkUp: false })],
    ["a replica that has it by another name", up(), following({ follows: "localhost:1", linkUp: false })],
  ])("waits for %s", (_, primary, replica) => {
    expect(planWiring(JOINED, seen(primary, replica))).toEqual({ effects: [], joined: [], problems: [] });
  });

  test("notes a replica in sync for the first time, not again", () => {
    expect(planWiring(FRESH, seen(up(), following())).joined).toEqual(["127.0.0.1:2"]);
    expect(planWiring(JOINED, seen(up(), following())).joined).toEqual([]);
  });
});

test("group state, replica health and lag, as observed", () => {
  const [group] = JOINED.groups;
  const replica = group.servers[1];
  const table: Array<[ServerObservation, ServerObservation, string, string, number | null]> = [
    [up({ offset: 50 }), following({ offset: 40 }), "ok", "online", 10],
    [up({ offset: 50 }), following({ offset: 51 }), "ok", "online", 0],
    [up(), following({ linkUp: false, syncing: true }), "degraded", "syncing", null],
    [up(), up(), "degraded", "unwired", null],
    [up(), DOWN, "degraded", "down", null],
    [DOWN, following(), "down", "online", null],
    [up({ loading: true }), following(), "down", "online", 0],
    [following(), following(), "down", "online", 0],
    [{ state: "unknown" }, following(), "unknown", "online", null],
  ];
  for (const [primary, second, state, health, lag] of table) {
    const observations = seen(primary, second);
    expect(groupState(group, observations)).toBe(state as never);
    expect(replicaHealth(group, replica, observations)).toBe(health as never);
    expect(replicaLagBytes(group, replica, observations)).toBe(lag);
  }
});
