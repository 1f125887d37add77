import { expect, test } from "bun:test";
import fc from "fast-check";
import { changeTopology, createTopology } from "./change-topology.ts";
import {
  type ClusterTopology,
  type GroupSwitch,
  deriveMap,
  parseStoredTopology,
} from "./cluster-topology.ts";
import { SWITCHES_KEPT, type SwitchEvent, switchTotalsOf } from "./switch-changes.ts";

const groups = [{ id: "g1", primary: "h:1", replicas: ["h:2", "h:3"], link: "first" }];
const FRESH = createTopology({ name: "c", slots: 1024, groups, options: {} }, 1);

const apply = (topology: ClusterTopology, ...events: SwitchEvent[]): ClusterTopology =>
  events.reduce((state, event) => changeTopology(state, event, 1) ?? state, topology);

const plan = (to: string, more: Partial<GroupSwitch> = {}): GroupSwitch => ({
  kind: "failover",
  from: "h:1",
  to,
  reason: "dead",
  startedAtMs: 0,
  lastAnswerAtMs: 0,
  fromOffset: 5,
  link: "second",
  ...more,
});
const begun = (to: string, more: Partial<GroupSwitch> = {}): SwitchEvent => ({
  type: "switch-begun",
  group: "g1",
  plan: plan(to, more),
});
const SYNCED = apply(FRESH, { type: "synced", group: "g1", addrs: ["h:2", "h:3"], id: "one", runId: "r1" });
const HISTORY = { id: "two", runId: "r2", offset: 50, previous: "one" };
const promoted = (primary: string, inSync: string[] = []): SwitchEvent => ({
  type: "promoted",
  group: "g1",
  primary,
  history: HISTORY,
  inSync,
});

test("in sync, away, in sync again: kept per server and history, nothing twice", () => {
  const [group] = SYNCED.groups;
  expect(group.history).toEqual({ id: "one", runId: "r1", offset: 0 });
  expect(group.servers.map((server) => [server.joined, server.syncedTo])).toEqual([
    [true, undefined],
    [true, "one"],
    [true, "one"],
  ]);
  const again: SwitchEvent = { type: "synced", group: "g1", addrs: ["h:2"], id: "one", runId: "r1" };
  expect(changeTopology(SYNCED, again, 1)).toBeNull();
  const away = apply(SYNCED, { type: "fell-behind", addr: "h:2" });
  expect(away.groups[0].servers[1]).toEqual({ addr: "h:2", role: "replica", joined: true });
  expect(changeTopology(away, { type: "fell-behind", addr: "h:2" }, 1)).toBeNull();
  expect(changeTopology(away, { type: "fell-behind", addr: "h:99" }, 1)).toBeNull();
  const out = apply(away, { type: "fell-behind", addr: "h:2", shutOut: { link: "first" } });
  expect(out.groups[0].servers[1].shutOut).toBe(true);
  expect(apply(out, again).groups).toEqual(SYNCED.groups);
  expect(apply(out, { type: "let-in", addr: "h:2" }).groups).toEqual(away.groups);
  expect(changeTopology(away, { type: "let-in", addr: "h:2" }, 1)).toBeNull();
  // Replicas sign in with another password since then, and it may know that one.
  const late: SwitchEvent = { type: "fell-behind", addr: "h:2", shutOut: { link: "of the past" } };
  expect(changeTopology(away, late, 1)).toBeNull();
  expect(apply(away, again).groups).toEqual(SYNCED.groups);
});

test("a failover: the intent, then the outcome; who was not there is a copy no more (L5)", () => {
  const middle = apply(SYNCED, begun("h:2"));
  expect(deriveMap(middle).groups).toEqual(deriveMap(SYNCED).groups);
  const after = apply(middle, promoted("h:2", ["h:3"]));
  const [group] = after.groups;
  expect(deriveMap(after).groups[0]).toMatchObject({ primary: "h:2", replicas: ["h:1", "h:3"] });
  expect([group.switch, group.link, group.history]).toEqual([undefined, "second", HISTORY]);
  expect(group.servers.map((server) => server.syncedTo)).toEqual([undefined, undefined, "two"]);
  expect(changeTopology(after, promoted("h:2"), 1)).toBeNull();
  // A copy of the first history is no copy of the second.
  const late = apply(middle, promoted("h:2")).groups[0];
  expect(late.servers[2].syncedTo).toBe("one");
});

test("a switchover is held until it is over, either way", () => {
  const held = apply(SYNCED, begun("h:2", { kind: "switchover" }));
  expect(deriveMap(held).groups[0].held).toBe(true);
  expect(deriveMap(apply(held, promoted("h:2"))).groups[0].held).toBeUndefined();
  expect(apply(held, { type: "switch-ended", group: "g1" }).groups).toEqual(SYNCED.groups);
  expect(changeTopology(SYNCED, { type: "switch-ended", group: "g1" }, 1)).toBeNull();
});

test("the chosen one may change while it is under way; another switch may not begin", () => {
  const middle = apply(SYNCED, begun("h:2"));
  expect(changeTopology(middle, begun("h:2"), 1)).toBeNull();
  expect(apply(middle, begun("h:3")).groups[0].switch?.to).toBe("h:3");
  // The same address, another process.
  expect(apply(middle, begun("h:2", { toRunId: "r7" })).groups[0].switch?.toRunId).toBe("r7");
  expect(() => apply(middle, begun("h:3", { from: "h:9" }))).toThrow("another switch is under way");
  expect(() => apply(SYNCED, begun("h:9"))).toThrow("Cannot switch group g1 to h:9: it has no such server");
  expect(() => apply(SYNCED, { type: "switch-ended", group: "g9" })).toThrow("no such group");
});

test("a primary that was started again and is trusted has no copies until they have synchronised", () => {
  const trusted = apply(SYNCED, { type: "primary-trusted", group: "g1", id: "new", runId: "r9" });
  expect(trusted.groups[0].history).toEqual({ id: "new", runId: "r9", offset: 0 });
  expect(trusted.groups[0].servers[1].syncedTo).toBe("one");
});

test("writes stopped by a setting: what it was is kept through the switch, of two the first", () => {
  const stopped = (before: string): SwitchEvent => ({ type: "writes-stopped", addr: "h:1", before });
  const held = apply(SYNCED, begun("h:2", { kind: "switchover" }), stopped("1"));
  expect(changeTopology(held, stopped("1000000"), 1)).toBeNull();
  const after = apply(held, promoted("h:2"));
  expect(after.groups[0].servers[0]).toMatchObject({ addr: "h:1", role: "replica", writesStopped: "1" });
  const resumed = apply(after, { type: "writes-resumed", addr: "h:1" });
  expect(resumed.groups[0].servers[0].writesStopped).toBeUndefined();
  expect(changeTopology(resumed, { type: "writes-resumed", addr: "h:1" }, 1)).toBeNull();
});

test("records of switches are kept up to a bound", () => {
  let topology = SYNCED;
  for (let i = 0; i < SWITCHES_KEPT + 5; i++) {
    const [from, to] = i % 2 === 0 ? ["h:1", "h:2"] : ["h:2", "h:1"];
    const times = { startedAtMs: i, endedAtMs: i };
    const record = {
      group: "g1",
      kind: "failover",
      from,
      to,
      reason: "",
      lostBytesMax: 0,
      ...times,
    } as const;
    topology = apply(topology, { ...promoted(to), record } as SwitchEvent);
  }
  expect(topology.switches?.length).toBe(SWITCHES_KEPT);
  expect(topology.switches?.at(-1)?.endedAtMs).toBe(SWITCHES_KEPT + 4);
  // Counted all the same; a topology of before there were totals begins with those that it remembers.
  expect(topology.switchTotals).toEqual({ "g1 failover": SWITCHES_KEPT + 5 });
  expect(switchTotalsOf({ ...topology, switchTotals: undefined })).toEqual({ "g1 failover": SWITCHES_KEPT });
});

test("any order of events keeps a valid topology that can be stored; random", () => {
  const addr = fc.constantFrom("h:1", "h:2", "h:3");
  const word = fc.constantFrom("one", "two", "three");
  const event: fc.Arbitrary<SwitchEvent> = fc.oneof(
    addr.map((to) => begun(to)),
    addr.map((to) => begun(to, { kind: "switchover" })),
    fc.constant<SwitchEvent>({ type: "switch-ended", group: "g1" }),
    fc.tuple(addr, fc.subarray(["h:1", "h:2", "h:3"])).map(([to, others]) => promoted(to, others)),
    fc
      .tuple(fc.subarray(["h:2", "h:3"]), word, word)
      .map(([addrs, id, runId]): SwitchEvent => ({ type: "synced", group: "g1", addrs, id, runId })),
    addr.map((one): SwitchEvent => ({ type: "fell-behind", addr: one })),
    addr.map((one): SwitchEvent => ({ type: "fell-behind", addr: one, shutOut: { link: "first" } })),
    addr.map((one): SwitchEvent => ({ type: "let-in", addr: one })),
    fc
      .tuple(word, word)
      .map(([id, runId]): SwitchEvent => ({ type: "primary-trusted", group: "g1", id, runId })),
    word.map((link): SwitchEvent => ({ type: "link-set", group: "g1", link })),
    fc.tuple(addr, word).map(([one, before]): SwitchEvent => ({ type: "writes-stopped", addr: one, before })),
    addr.map((one): SwitchEvent => ({ type: "writes-resumed", addr: one })),
  );
  const seed = Number(process.env["SEED"] ?? Date.now() % 2 ** 31);
  console.log(`seed ${seed}`);
  const check = fc.property(fc.array(event, { maxLength: 30 }), (events) => {
    let topology = FRESH;
    for (const one of events) {
      const next = changeTopology(topology, one, 1);
      if (next === null) continue;
      expect(next.version).toBe(topology.version + 1);
      expect(parseStoredTopology(JSON.stringify(next))).toEqual(JSON.parse(JSON.stringify(next)));
      const [group] = next.groups;
      if (group.switch === undefined) expect(group.held).toBeUndefined();
      topology = next;
    }
  });
  fc.assert(check, { seed, numRuns: 500 });
});
