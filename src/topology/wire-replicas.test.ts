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
const SYNCED = { group: "g1", addrs: ["127.0.0.1:2"], id: "h", runId: "r" };
const JOINED = changeTopology(FRESH, { type: "synced", ...SYNCED }, 1)!;
/** The time before histories were kept: nothing is taken from it that it does not say. */
const OLD = changeTopology(FRESH, { type: "joined", addr: "127.0.0.1:2" }, 1)!;

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
  replicationId: "h",
  replicationIdBefore: "",
  priority: 100,
  attached: 0,
  loading: false,
  appendOnly: false,
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
    const plan = planWiring(topology, seen(primary, replica));
    expect([plan.effects, plan.synced, plan.problems]).toEqual([[FOLLOW], [], []]);
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
    const plan = planWiring(JOINED, seen(primary, replica));
    expect([plan.effects, plan.synced, plan.problems]).toEqual([[], [], []]);
  });

  test("waits while the group is being switched, and for the judgement of a restarted primary", () => {
    const plan = {
      kind: "failover",
      from: "127.0.0.1:1",
      to: "127.0.0.1:2",
      reason: "",
      fromOffset: 0,
    } as const;
    const times = { startedAtMs: 0, lastAnswerAtMs: 0 };
    const event = { type: "switch-begun", group: "g1", plan: { ...plan, ...times } } as const;
    const none = { effects: [], synced: [], away: [], awayCopies: [], problems: [] };
    expect(planWiring(changeTopology(JOINED, event, 1)!, seen(up({ keys: 1 }), up()))).toEqual(none);
    expect(planWiring(JOINED, seen(up({ keys: 1, runId: "r2" }), up()))).toEqual(none);
  });

  test("notes a replica in sync for the first time and in a new history, not again", () => {
    const online = following();
    expect(planWiring(FRESH, seen(up(), online)).synced).toEqual([SYNCED]);
    expect(planWiring(OLD, seen(up(), online)).synced).toEqual([SYNCED]);
    expect(planWiring(JOINED, seen(up(), online)).synced).toEqual([]);
    const again = { replicationId: "h2" };
    expect(planWiring(JOINED, seen(up(again), following(again))).synced).toEqual([{ ...SYNCED, id: "h2" }]);
    // They are not looked at in the same moment: the replica may still show the id before.
    expect(planWiring(JOINED, seen(up(again), online)).synced).toEqual([]);
  });

  test("after a switch a replica is a copy only when it has what the primary had then", () => {
    const history = { id: "h2", runId: "r", offset: 100, previous: "h" };
    const event = { type: "promoted", group: "g1", primary: "127.0.0.1:2", history } as const;
    const switched = changeTopology(JOINED, event, 1)!;
    const look = (offset: number) => {
      const id = { replicationId: "h2" };
      const replica = up({ role: "replica", follows: "127.0.0.1:2", linkUp: true, offset, ...id });
      return planWiring(switched, seen(replica, up({ offset: 150, ...id }))).synced.length;
    };
    expect([look(99), look(100), look(150)]).toEqual([0, 1, 1]);
  });

  test("a replica that is away from a living primary is a copy no more; by number, not by address", () => {
    expect(planWiring(JOINED, seen(up(), DOWN)).away).toEqual(["127.0.0.1:2"]);
    expect(planWiring(JOINED, seen(up(), following({ linkUp: false }))).away).toEqual(["127.0.0.1:2"]);
    // Only we can't reach it: its primary still counts it.
    expect(planWiring(JOINED, seen(up({ attached: 1 }), DOWN)).away).toEqual([]);
    expect(planWiring(JOINED, seen(DOWN, DOWN)).away).toEqual([]);
    // It was told how to follow, so it may do so unseen; once it is shut out it can't.
    expect(planWiring(OLD, seen(up(), DOWN)).away).toEqual(["127.0.0.1:2"]);
    const addr = "127.0.0.1:2";
    const out = changeTopology(OLD, { type: "fell-behind", addr, shutOut: {} }, 1)!;
    expect(planWiring(out, seen(up(), DOWN)).away).toEqual([]);
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
    [{ ...DOWN, state: "suspect" }, following(), "suspect", "online", null],
    [up(), { ...DOWN, state: "suspect" }, "degraded", "suspect", null],
  ];
  for (const [primary, second, state, health, lag] of table) {
    const observations = seen(primary, second);
    expect(groupState(group, observations)).toBe(state as never);
    expect(replicaHealth(group, replica, observations)).toBe(health as never);
    expect(replicaLagBytes(group, replica, observations)).toBe(lag);
  }
});
