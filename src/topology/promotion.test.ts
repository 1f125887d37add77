import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { TopologyGroup, TopologyServer } from "./cluster-topology.ts";
import type { ServerObservation, UpObservation } from "./group-health.ts";
import { acksAll, acksOf, chooseSuccessor, judgeRestart, lostBytesBound } from "./promotion.ts";

const A = "h:1";
const HISTORY = { id: "now", runId: "run-a", offset: 100, previous: "before" };

const server = (addr: string, more: Partial<TopologyServer> = {}): TopologyServer => ({
  addr,
  role: addr === A ? "primary" : "replica",
  joined: true,
  ...(addr === A ? {} : { syncedTo: "now" }),
  ...more,
});
const group = (replicas: TopologyServer[], more: Partial<TopologyGroup> = {}): TopologyGroup => ({
  id: "g1",
  number: 1,
  servers: [server(A), ...replicas],
  history: HISTORY,
  ...more,
});
const up = (more: Partial<UpObservation> = {}): UpObservation => ({
  state: "up",
  pid: 1,
  runId: "r",
  role: "replica",
  follows: A,
  linkUp: false,
  syncing: false,
  offset: 200,
  replicationId: "now",
  replicationIdBefore: "",
  priority: 100,
  attached: 0,
  loading: false,
  appendOnly: false,
  keys: 5,
  ...more,
});
const DOWN: ServerObservation = { state: "down", reason: "x", sinceMs: 0 };
const seen = (...entries: Array<[string, ServerObservation]>) => new Map([[A, DOWN], ...entries]);
const reasonOf = (one: TopologyServer, look: ServerObservation, more: Partial<TopologyGroup> = {}) =>
  chooseSuccessor(group([one], more), seen([one.addr, look]), { acks: 0 }).refusals.at(0)?.reason ?? null;

describe("chooseSuccessor", () => {
  test.each<[string, TopologyServer[], Array<[string, ServerObservation]>, string]>([
    [
      "the highest offset",
      [server("h:2"), server("h:3")],
      [
        ["h:2", up({ offset: 200, priority: 1 })],
        ["h:3", up({ offset: 201 })],
      ],
      "h:3",
    ],
    [
      "of equal offsets the lowest priority",
      [server("h:2"), server("h:3")],
      [
        ["h:2", up()],
        ["h:3", up({ priority: 10 })],
      ],
      "h:3",
    ],
    [
      "then the primary's zone",
      [server("h:2", { zone: "z2" }), server("h:3", { zone: "z1" })],
      [
        ["h:2", up()],
        ["h:3", up()],
      ],
      "h:3",
    ],
    [
      "then the address",
      [server("h:3"), server("h:2")],
      [
        ["h:2", up()],
        ["h:3", up()],
      ],
      "h:2",
    ],
    [
      "not the one with more that is of another history",
      [server("h:2"), server("h:3")],
      [
        ["h:2", up()],
        ["h:3", up({ offset: 999, replicationId: "other" })],
      ],
      "h:2",
    ],
  ])("takes %s", (_, replicas, looks, expected) => {
    const zoned = group(replicas, { servers: [server(A, { zone: "z1" }), ...replicas] });
    expect(chooseSuccessor(zoned, seen(...looks), { acks: 0 }).to).toBe(expected);
  });

  test.each<[string, TopologyServer, ServerObservation, string | null]>([
    ["one that follows", server("h:2"), up(), null],
    [
      "one that was promoted before the crash",
      server("h:2"),
      up({ replicationIdBefore: "now", role: "primary" }),
      null,
    ],
    [
      "one that had everything at the last switch",
      server("h:2"),
      up({ replicationId: "before", offset: 100 }),
      null,
    ],
    ["one that had not", server("h:2"), up({ replicationId: "before", offset: 99 }), "its offset is unknown"],
    ["one that is silent", server("h:2"), DOWN, "does not answer"],
    ["one that loads", server("h:2"), up({ loading: true }), "still reading its files"],
    ["one that copies", server("h:2"), up({ syncing: true }), "in the middle of a copy"],
    ["one that never was a copy", server("h:2", { joined: false }), up(), "never been a full copy"],
    ["one with priority 0", server("h:2"), up({ priority: 0 }), "replica-priority 0"],
    ["one of an older history (L5)", server("h:2", { syncedTo: "before" }), up(), "has not been in sync"],
    ["one that fell behind", server("h:2", { syncedTo: undefined }), up(), "has not been in sync"],
    ["one that was started again", server("h:2"), up({ replicationId: "fresh" }), "was started again"],
  ])("judges %s", (_, one, look, reason) => {
    if (reason === null) expect(reasonOf(one, look)).toBeNull();
    else expect(reasonOf(one, look)).toContain(reason);
  });

  test("an empty one is never taken while another has keys, forced or not (L6)", () => {
    const both = group([server("h:2"), server("h:3", { syncedTo: "before" })]);
    const looks = seen(["h:2", up({ keys: 0, offset: 999 })], ["h:3", up()]);
    expect(chooseSuccessor(both, looks, { acks: 0 }).to).toBeNull();
    expect(chooseSuccessor(both, looks, { acks: 0, to: "h:2", forced: true }).to).toBeNull();
    expect(chooseSuccessor(both, looks, { acks: 0, forced: true }).to).toBe("h:3");
    expect(reasonOf(server("h:2"), up({ keys: 0 }))).toBeNull();
  });

  test("a group that never had a replica in sync has no successor, and says so", () => {
    expect(reasonOf(server("h:2", { syncedTo: undefined }), up(), { history: undefined })).toContain(
      "in sync",
    );
  });

  test("who had everything that the chosen one has is told", () => {
    const three = group([server("h:2"), server("h:3"), server("h:4")]);
    const looks = seen(["h:2", up()], ["h:3", up()], ["h:4", up({ offset: 199 })]);
    expect(chooseSuccessor(three, looks, { acks: 0 })).toMatchObject({
      to: "h:2",
      offset: 200,
      inSync: ["h:3"],
    });
  });

  // The oracle: replicas confirm in any order and some of them are out of reach; who is chosen has every
  // write that `acks` of them have confirmed.
  test("with acks, whoever is chosen has every confirmed write; random", () => {
    const replica = fc.record({ offset: fc.integer({ min: 0, max: 50 }), reached: fc.boolean() });
    const replicas = fc.array(replica, { minLength: 1, maxLength: 5 });
    const seed = Number(process.env["SEED"] ?? Date.now() % 2 ** 31);
    const check = fc.property(replicas, fc.integer({ min: 1, max: 3 }), (all, acks) => {
      const servers = all.map((_, i) => server(`h:${i + 2}`));
      const looks = all.map(({ offset, reached }, i): [string, ServerObservation] => {
        return [`h:${i + 2}`, reached ? up({ offset }) : DOWN];
      });
      const choice = chooseSuccessor(group(servers), seen(...looks), { acks });
      if (choice.to === null) return;
      const confirmed = all.map(({ offset }) => offset).sort((a, b) => b - a)[acks - 1] ?? 0;
      if (choice.offset < confirmed) throw new Error(`${choice.offset} lacks ${confirmed}`);
    });
    console.log(`seed ${seed}`);
    fc.assert(check, { seed, numRuns: 2000 });
  });

  test("with acks nobody is chosen while so many copies are silent that they may have the only one", () => {
    const two = group([server("h:2"), server("h:3")]);
    const looks = seen(["h:2", up()], ["h:3", DOWN]);
    expect(chooseSuccessor(two, looks, { acks: 0 }).to).toBe("h:2");
    expect(chooseSuccessor(two, looks, { acks: 2 }).to).toBe("h:2");
    const refused = chooseSuccessor(two, looks, { acks: 1 });
    expect(refused).toMatchObject({ to: null, refusals: [{ addr: "h:3" }] });
    // Started again: it has what it had, but nobody knows how much that is.
    const again = seen(["h:2", up()], ["h:3", up({ replicationId: "fresh" })]);
    expect(chooseSuccessor(two, again, { acks: 1 }).to).toBeNull();
    expect(chooseSuccessor(two, again, { acks: 0 }).to).toBe("h:2");
    // It was no copy any more, and could not become one again: nothing was confirmed by it alone.
    const away = group([server("h:2"), server("h:3", { syncedTo: undefined, shutOut: true })]);
    expect(chooseSuccessor(away, looks, { acks: 1 }).to).toBe("h:2");
    // It may have found its way back to the primary, seen by nobody.
    for (const syncedTo of [undefined, "before"]) {
      const unseen = group([server("h:2"), server("h:3", { syncedTo, joined: false })]);
      expect(chooseSuccessor(unseen, looks, { acks: 1 })).toMatchObject({ to: null });
    }
    expect(chooseSuccessor(two, looks, { acks: 1, forced: true }).to).toBe("h:2");
  });
});

describe("a replica that nobody has seen in sync yet", () => {
  const late = server("h:3", { syncedTo: undefined, joined: false });
  const choose = (more: Partial<UpObservation>, one = late) =>
    chooseSuccessor(group([server("h:2"), one]), seen(["h:2", up()], [one.addr, up(more)]), { acks: 1 }).to;

  test("takes over when it has more than one that was seen: it may have confirmed that alone", () => {
    expect(choose({ offset: 201 })).toBe("h:3");
    expect(choose({ offset: 199 })).toBe("h:2");
    expect(choose({ offset: 201, replicationId: "other" })).toBe("h:2");
    expect(choose({ offset: 201, loading: true })).toBe("h:2");
    expect(choose({ offset: 201, syncing: true })).toBe("h:2");
    expect(choose({ offset: 201, priority: 0 })).toBe("h:2");
  });

  test("does not when there is none to compare it with (L5)", () => {
    const alone = group([late]);
    expect(chooseSuccessor(alone, seen(["h:3", up({ offset: 999 })]), { acks: 0 }).to).toBeNull();
  });
});

describe("judgeRestart", () => {
  const restarted = (more: Partial<UpObservation> = {}) =>
    up({ role: "primary", runId: "run-b", follows: null, ...more });
  const judge = (primary: UpObservation, replica: ServerObservation, one = server("h:2")) =>
    judgeRestart(
      group([one]),
      primary,
      new Map([
        [A, primary],
        [one.addr, replica],
      ]),
      0,
    ).action;

  test("a copy that is there goes before what the primary has read from its files", () => {
    expect(judge(restarted(), up())).toBe("replace");
    expect(judge(restarted({ keys: 0 }), up())).toBe("replace");
    expect(judge(restarted({ loading: true }), up())).toBe("replace");
  });

  test("without one the primary stays, but an empty one never while a replica has keys, or may have", () => {
    const again = up({ replicationId: "fresh" });
    expect(judge(restarted(), again)).toBe("trust");
    expect(judge(restarted({ loading: true }), again)).toBe("wait");
    expect(judge(restarted({ keys: 0 }), again)).toBe("wait");
    expect(judge(restarted({ keys: 0 }), DOWN)).toBe("wait");
    expect(judge(restarted({ keys: 0 }), { ...again, keys: 0 })).toBe("trust");
    expect(judge(restarted({ keys: 0 }), DOWN, server("h:2", { joined: false }))).toBe("trust");
  });
});

describe("judgeRestart with acks", () => {
  const primary = up({ role: "primary", runId: "run-b", follows: null });
  const judge = (...looks: ServerObservation[]) => judgeWith({}, ...looks);
  const judgeWith = (more: Partial<UpObservation>, ...looks: ServerObservation[]) => {
    const replicas = looks.map((_, i) => server(`h:${i + 2}`));
    const all = new Map<string, ServerObservation>([[A, { ...primary, ...more }]]);
    looks.forEach((look, i) => all.set(`h:${i + 2}`, look));
    return judgeRestart(group(replicas), { ...primary, ...more }, all, 1);
  };

  test("a copy that is silent and may have the only confirmed write is waited for", () => {
    expect(judge(up(), DOWN)).toMatchObject({ action: "wait", why: expect.stringContaining("h:3") });
    expect(judge(up(), up()).action).toBe("replace");
    expect(judge(DOWN).action).toBe("wait");
    expect(judge(up({ replicationId: "fresh" }), up()).action).toBe("wait");
    // Every write is in its file, so it has what was confirmed.
    expect(judgeWith({ appendOnly: true }, DOWN)).toMatchObject({ action: "trust" });
    expect(judgeWith({ appendOnly: true, keys: 0 }, DOWN)).toMatchObject({ action: "wait" });
    // All were started again, as by `shoal down` and `shoal up`: there is nothing better.
    const again = up({ replicationId: "fresh" });
    expect(judge(again, again).action).toBe("trust");
    expect(judge(again, DOWN).action).toBe("wait");
    expect(judge(up(), { ...DOWN, state: "suspect" })).toEqual({ action: "wait", why: null });
    expect(judge({ state: "unknown" })).toEqual({ action: "wait", why: null });
  });
});

test.each<[string | undefined, number]>([
  [undefined, 0],
  ["async", 0],
  ["replica", 1],
  ["replica 2", 2],
  ["replica 2 500ms", 2],
  ["orders:*=replica 3 500ms, *=async", 3],
  ["a*=replica 2, b*=replica, *=async", 1],
])("acksOf(%p) is %p", (option, acks) => {
  expect(acksOf(option)).toBe(acks);
});

test.each([
  [undefined, false],
  ["async", false],
  ["replica", true],
  ["orders:*=replica,*=async", false],
  // No rule for the other keys: they are asynchronous.
  ["orders:*=replica 2", false],
  ["orders:*=replica 2,*=replica", true],
  ["log:*=async,*=replica", false],
  // It never counts.
  ["*=replica,log:*=async", true],
  ["whole=replica", false],
])("acksAll(%p) is %p: nothing acknowledged can be lost", (option, all) => {
  expect(acksAll(option)).toBe(all);
});

test("the bound of what is lost", () => {
  expect(lostBytesBound(150, true, 100)).toBe(50);
  expect(lostBytesBound(100, true, 150)).toBe(0);
  expect(lostBytesBound(150, false, 100)).toBeNull();
  expect(lostBytesBound(null, true, 100)).toBeNull();
});
