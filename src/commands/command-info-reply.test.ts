import { expect, test } from "bun:test";
import { commandFromInfoReply, dataFromInfoReply } from "./command-info-reply.ts";
import * as c from "./command.ts";
import { findKeys } from "./key-finder.ts";
import { FIND_NOT_KNOWN, KeyPositions } from "./key-positions.ts";
import { requestOf } from "./testing/request-of.ts";

const nextId = (): number => 1000;

/** JSON.SET as a module of Redis 7 is shown, in both protocols. */
const SPEC_FLAT = [
  ["flags", ["RW", "access"]],
  ["begin_search", ["type", "index", "spec", ["index", 1]]],
  ["find_keys", ["type", "range", "spec", ["lastkey", 0, "keystep", 1, "limit", 0]]],
].flat(1);
const SPEC_MAP = new Map<string, unknown>([
  ["flags", new Set(["RW", "access"])],
  [
    "begin_search",
    new Map<string, unknown>([
      ["type", "index"],
      ["spec", new Map([["index", 1]])],
    ]),
  ],
  ["find_keys", { type: "range", spec: { lastkey: 0, keystep: 1, limit: 0 } }],
]);

test("reads an entry of RESP2 and of RESP3 alike", () => {
  const flat = ["json.set", -4, ["write", "module"], 1, 1, 1, ["@write"], [], [SPEC_FLAT], []];
  const rich = [
    "json.set",
    -4n,
    new Set(["write", "module"]),
    1,
    1,
    1,
    new Set(["@write"]),
    [],
    [SPEC_MAP],
    [],
  ];
  const bytes = new TextEncoder().encode("json.set");
  expect(dataFromInfoReply(rich)).toEqual(dataFromInfoReply(flat));
  expect(dataFromInfoReply([bytes, ...flat.slice(1)])).toEqual(dataFromInfoReply(flat));
  const command = commandFromInfoReply(flat, nextId);
  expect(command).toMatchObject({ name: "json.set", id: 1000, arity: -4, route: c.ROUTE_KEY, firstKey: 1 });
  expect(command?.flags).toBe(c.FLAG_WRITE | c.FLAG_MODULE);
});

test("says null for a command that the server does not know", () => {
  expect(commandFromInfoReply(null, nextId)).toBeNull();
  expect(commandFromInfoReply([], nextId)).toBeNull();
});

test("reads the key range of servers before 7.0", () => {
  const command = commandFromInfoReply(["m.pairs", -3, ["write"], 1, -1, 2], nextId);
  const out = new KeyPositions();
  expect(command === null ? -9 : findKeys(command, requestOf(["m.pairs", "k", "v", "l", "w"]), out)).toBe(2);
  expect([...out.at.subarray(0, 2)]).toEqual([1, 3]);
});

test("does not guess where it is not told", () => {
  const movable = commandFromInfoReply(["m.movable", -3, ["write", "movablekeys"], 1, 1, 1], nextId);
  const keyless = commandFromInfoReply(["m.keyless", -1, ["readonly"], 0, 0, 0], nextId);
  expect(movable).toMatchObject({ route: c.ROUTE_LATER, firstKey: 0, finder: c.FINDER_UNKNOWN });
  expect(keyless).toMatchObject({ route: c.ROUTE_LATER });
  const out = new KeyPositions();
  expect(movable === null ? 0 : findKeys(movable, requestOf(["m.movable", "a", "b"]), out)).toBe(
    FIND_NOT_KNOWN,
  );
});

test("fans out by the tips of a command that it has never seen", () => {
  const tips = (...words: string[]): unknown[] => ["m.all", 1, ["readonly"], 0, 0, 0, [], words, [], []];
  const sum = commandFromInfoReply(tips("request_policy:all_shards", "response_policy:agg_sum"), nextId);
  const special = commandFromInfoReply(tips("request_policy:all_shards", "response_policy:special"), nextId);
  expect(sum).toMatchObject({ route: c.ROUTE_ALL_GROUPS, merge: c.MERGE_SUM });
  expect(special).toMatchObject({ route: c.ROUTE_LATER });
});
