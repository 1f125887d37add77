import { describe, expect, test } from "bun:test";
import { type ClusterSpec, changeTopology, createTopology } from "./change-topology.ts";
import { deriveMap, parseStoredTopology } from "./cluster-topology.ts";

const SPEC: ClusterSpec = {
  name: "c",
  slots: 1024,
  groups: [
    { id: "g1", primary: "h:1", replicas: ["h:2"] },
    { id: "g2", primary: "h:3", replicas: [] },
    { id: "g3", primary: "h:4", replicas: [] },
  ],
  options: {},
};

describe("createTopology", () => {
  test("version 1, numbers from 1, slots dealt out, the map derived", () => {
    const topology = createTopology(SPEC, 5);
    expect(topology).toMatchObject({ version: 1, term: 5, nextGroupNumber: 4 });
    expect(deriveMap(topology)).toEqual({
      cluster: "c",
      version: 1,
      term: 5,
      hash: "crc32",
      slots: 1024,
      groups: [
        { id: "g1", number: 1, primary: "h:1", replicas: ["h:2"] },
        { id: "g2", number: 2, primary: "h:3", replicas: [] },
        { id: "g3", number: 3, primary: "h:4", replicas: [] },
      ],
      ranges: [
        { from: 0, to: 340, group: "g1" },
        { from: 341, to: 681, group: "g2" },
        { from: 682, to: 1023, group: "g3" },
      ],
      options: {},
    });
    expect(parseStoredTopology(JSON.stringify(topology))).toEqual(topology);
  });

  test.each([
    [{ groups: [] }, "Cannot create cluster c: it has no groups"],
    [{ name: "a b" }, 'Cannot create cluster "a b"'],
    [{ slots: 1000 }, "slot count 1000 is not one of 1024"],
    [{ groups: [{ id: "1", primary: "h:1", replicas: [] }] }, 'Cannot create group "1"'],
    [{ groups: [{ id: "g1", primary: "h", replicas: [] }] }, 'Cannot read address "h"'],
    [{ groups: [{ id: "g1", primary: "h:1", replicas: ["h:1"] }] }, "h:1: it stands twice in group g1"],
    [
      { groups: [...SPEC.groups, { id: "g4", primary: "h:2", replicas: [] }] },
      "h:2: it stands in groups g1 and g4",
    ],
    [{ groups: [...SPEC.groups, { id: "g1", primary: "h:9", replicas: [] }] }, "group g1 stands in it twice"],
  ])("refuses %j", (change, message) => {
    expect(() => createTopology({ ...SPEC, ...change }, 1)).toThrow(message);
  });
});

describe("changeTopology", () => {
  const topology = createTopology(SPEC, 1);

  test("a new leader stamps it, once", () => {
    const next = changeTopology(topology, { type: "led" }, 2);
    expect(next).toMatchObject({ version: 2, term: 2 });
    expect(changeTopology(next!, { type: "led" }, 2)).toBeNull();
    expect(() => changeTopology(next!, { type: "led" }, 1)).toThrow("term 1 is older than 2");
  });

  test("a replica joins, once", () => {
    const next = changeTopology(topology, { type: "joined", addr: "h:2" }, 1);
    expect(next?.groups[0].servers[1]).toEqual({ addr: "h:2", role: "replica", joined: true });
    expect(topology.groups[0].servers[1].joined).toBe(false);
    expect(changeTopology(next!, { type: "joined", addr: "h:2" }, 1)).toBeNull();
    expect(changeTopology(topology, { type: "joined", addr: "h:99" }, 1)).toBeNull();
  });
});

test("a stored topology of another format is refused", () => {
  expect(() => parseStoredTopology('{"format":2}')).toThrow("format 2, this Shoal knows 1");
  expect(() => parseStoredTopology("{")).toThrow("not JSON");
});
