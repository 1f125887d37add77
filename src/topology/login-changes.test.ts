import { expect, test } from "bun:test";
import { type TopologyEvent, changeTopology, createTopology } from "./change-topology.ts";
import { type ClusterTopology, deriveMap } from "./cluster-topology.ts";
import { loginOf } from "./login-changes.ts";

function run(events: readonly TopologyEvent[]): ClusterTopology {
  const groups = [{ id: "g1", primary: "h:1", replicas: [] }];
  let topology = createTopology({ name: "c", slots: 1024, groups, options: {} }, 1);
  for (const event of events) topology = changeTopology(topology, event, 1) ?? topology;
  return topology;
}

const made: TopologyEvent = { type: "login-made", proxy: "p1", password: "first" };
const fenced: TopologyEvent = { type: "login-fenced", proxy: "p1" };
const renewed: TopologyEvent = { type: "login-renewed", proxy: "p1", password: "second" };

test("a login is made once, shut once, and opened again only with another password, by a later map", () => {
  expect(loginOf(run([made, made]), "p1")).toEqual({ proxy: "p1", password: "first", sinceVersion: 2 });
  expect(run([made, renewed]).version).toBe(2);
  const shut = run([made, fenced, fenced]);
  expect(loginOf(shut, "p1")).toMatchObject({ password: "first", fencedVersion: 3 });
  expect(loginOf(run([made, fenced, renewed]), "p1")).toEqual({
    proxy: "p1",
    password: "second",
    sinceVersion: 4,
  });
});

test("only what is shut may be forgotten; no password is in the map", () => {
  expect(run([made, { type: "login-dropped", proxy: "p1" }]).logins).toHaveLength(1);
  expect(run([made, fenced, { type: "login-dropped", proxy: "p1" }]).logins).toEqual([]);
  expect(JSON.stringify(deriveMap(run([made])))).not.toContain("first");
});
