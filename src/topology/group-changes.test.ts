import { describe, expect, test } from "bun:test";
import { changeTopology, createTopology } from "./change-topology.ts";
import { type ClusterTopology, deriveMap } from "./cluster-topology.ts";
import type { GroupEvent } from "./group-changes.ts";

const START = createTopology(
  {
    name: "c",
    slots: 1024,
    groups: [
      { id: "g1", primary: "127.0.0.1:1", replicas: ["127.0.0.1:2"] },
      { id: "g2", primary: "127.0.0.1:3", replicas: [] },
    ],
    options: {},
  },
  1,
);

function apply(topology: ClusterTopology, ...events: GroupEvent[]): ClusterTopology {
  return events.reduce((before, event) => changeTopology(before, event, 1) ?? before, topology);
}

const added: GroupEvent = { type: "group-added", primary: "127.0.0.1:5", replicas: ["127.0.0.1:6"] };

describe("groups", () => {
  test("an added one owns nothing; its number is never given again", () => {
    const three = apply(START, added);
    expect(three.groups[2]).toMatchObject({ id: "g3", number: 3 });
    expect(three.ranges).toEqual(START.ranges);
    const again = apply(three, { type: "group-removed", group: "g3" }, added);
    expect(again.groups.map((group) => group.id)).toEqual(["g1", "g2", "g4"]);
    expect(again.version).toBe(START.version + 3);
  });

  test("an id that somebody chose is stepped over", () => {
    const odd = { ...START, groups: [START.groups[0], { ...START.groups[1], id: "g3" }] };
    const ranges = odd.ranges.map((range) => (range.group === "g2" ? { ...range, group: "g3" } : range));
    expect(apply({ ...odd, ranges }, added).groups[2]).toMatchObject({ id: "g4", number: 4 });
  });

  test("an adopted one brings its slots, without a move", () => {
    const three = apply(START, { ...added, slots: [{ from: 500, to: 600 }] } as GroupEvent);
    expect(deriveMap(three).ranges).toEqual([
      { from: 0, to: 499, group: "g1" },
      { from: 500, to: 600, group: "g3" },
      { from: 601, to: 1023, group: "g2" },
    ]);
  });

  test("refusals say what to do", () => {
    expect(() => apply(START, { type: "group-removed", group: "g1" })).toThrow(
      "Cannot remove group g1: it owns slots 0-511; `shoal group drain g1` moves them away first",
    );
    expect(() => apply(START, { type: "group-removed", group: "g9" })).toThrow(
      "Cannot find group g9: the groups are g1, g2",
    );
    expect(() => apply(START, { ...added, primary: "localhost:3" } as GroupEvent)).toThrow(
      "Cannot add a group with server localhost:3: it is a primary of group g2 already",
    );
    expect(() => apply(START, { ...added, replicas: ["127.0.0.1:5"] } as GroupEvent)).toThrow("named twice");
    const only = apply(START, { type: "group-draining", group: "g1", draining: true });
    expect(only.groups[0].draining).toBe(true);
    expect(() => apply(only, { type: "group-draining", group: "g2", draining: true })).toThrow(
      "no other group that could take its slots",
    );
    expect(apply(only, { type: "group-draining", group: "g1", draining: false }).groups).toEqual(
      START.groups,
    );
  });

  test("one that slots are moving to stays", () => {
    const three = apply(START, added);
    const move = { to: "g3", phase: "locked" as const };
    const ranges = [{ ...three.ranges[0], move }, three.ranges[1]];
    expect(() => apply({ ...three, ranges }, { type: "group-removed", group: "g3" })).toThrow(
      "Cannot remove group g3: slots 0-511 move to it",
    );
    const assign = { type: "slots-assigned", slots: [{ from: 500, to: 600 }], group: "g2" } as const;
    expect(() => apply({ ...three, ranges }, assign)).toThrow(
      "Cannot assign slots 500-511 to g2: a move has",
    );
  });
});

describe("servers", () => {
  test("come as replicas and go", () => {
    const more = apply(START, { type: "server-added", group: "g2", addr: "h:9" });
    expect(more.groups[1].servers[1]).toEqual({ addr: "h:9", role: "replica", joined: false });
    expect(apply(more, { type: "server-removed", addr: "h:9" }).groups).toEqual(START.groups);
    const own = apply(START, { type: "server-added", group: "g2", addr: "h:9", adopted: true });
    expect(own.groups[1].servers[1].adopted).toBe(true);
  });

  test("have a zone when somebody says so", () => {
    const zoned = apply(START, { type: "zone-set", addr: "localhost:2", zone: "eu-1a" });
    expect(deriveMap(zoned).groups[0].zones).toEqual({ "127.0.0.1:2": "eu-1a" });
    expect(apply(zoned, { type: "zone-set", addr: "127.0.0.1:2", zone: "" }).groups).toEqual(START.groups);
    expect(() => apply(START, { type: "zone-set", addr: "127.0.0.1:2", zone: "a b" })).toThrow(
      "want up to 64",
    );
  });

  test("a primary does not go", () => {
    expect(() => apply(START, { type: "server-removed", addr: "localhost:1" })).toThrow(
      "it is the primary of group g1; `shoal failover g1` makes a replica the primary first",
    );
    expect(() => apply(START, { type: "server-removed", addr: "127.0.0.1:3" })).toThrow(
      "`shoal group drain g2`, then `shoal group remove g2`",
    );
    expect(() => apply(START, { type: "server-removed", addr: "h:9" })).toThrow("no group has it");
  });
});

describe("slots and options", () => {
  test("assigned slots change hands; the same again changes nothing", () => {
    const event = { type: "slots-assigned", slots: [{ from: 0, to: 511 }], group: "g2" } as const;
    const after = apply(START, event);
    expect(after.ranges).toEqual([{ from: 0, to: 1023, group: "g2" }]);
    expect(changeTopology(after, event, 1)).toBeNull();
  });

  test("options are checked, numbers become numbers, null takes them away", () => {
    const set = (options: Record<string, string | number | boolean | null>): GroupEvent => ({
      type: "options-set",
      options,
    });
    const some = apply(START, set({ hold_timeout_ms: "500", acks: "orders:*=replica 1 500ms, *=async" }));
    expect(some.options).toEqual({ hold_timeout_ms: 500, acks: "orders:*=replica 1 500ms, *=async" });
    expect(apply(some, set({ acks: null })).options).toEqual({ hold_timeout_ms: 500 });
    expect(() => apply(START, set({ ack: "async" }))).toThrow("did you mean acks?");
    expect(() => apply(START, set({ read_from: "me" }))).toThrow("want one of primary, replica");
    expect(() => apply(START, set({ hold_timeout_ms: "-1" }))).toThrow(
      "want a whole number from 0 to 600000",
    );
    expect(() => apply(START, set({ acks: "replica x" }))).toThrow('"replica x" is no rule');
  });
});
