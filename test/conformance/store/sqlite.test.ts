import { Database } from "bun:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../../src/platform/clock.ts";
import { systemRandom } from "../../../src/platform/random.ts";
import { systemTimers } from "../../../src/platform/timers.ts";
import { openSqliteStore } from "../../../src/store/sqlite/open-store.ts";
import { createTopology } from "../../../src/topology/change-topology.ts";
import { runStoreSuite } from "./store-suite.ts";

const makeFolder = (): Promise<string> => mkdtemp(join(tmpdir(), "shoal-store-"));

runStoreSuite("sqlite", async () => {
  const folder = await makeFolder();
  let nowMs = 1_000_000;
  const clock = { nowMs: () => nowMs, wallMs: () => nowMs };
  return {
    open: () =>
      openSqliteStore({ clock, timers: systemTimers, random: systemRandom }, join(folder, "store.sqlite")),
    pass: async (ms) => {
      nowMs += ms;
    },
    dispose: () => rm(folder, { recursive: true }),
  };
});

describe("store: sqlite, the file", () => {
  const env = { clock: systemClock, timers: systemTimers, random: systemRandom };
  let folder: string;
  let path: string;

  beforeEach(async () => {
    folder = await makeFolder();
    path = join(folder, "store.sqlite");
  });
  afterEach(() => rm(folder, { recursive: true }));

  const messageOf = (promise: Promise<unknown>): Promise<string> =>
    promise.then(
      () => "no error",
      (error: Error) => error.message,
    );

  test("a file of a newer version is refused, by name", async () => {
    await (await openSqliteStore(env, path)).close();
    const raw = new Database(path);
    raw.run("PRAGMA user_version = 99");
    raw.close();
    expect(await messageOf(openSqliteStore(env, path))).toBe(
      `Cannot open store ${path}: it was written by a newer Shoal (schema version 99, this one has 1)`,
    );
  });

  test("another program's database and a file of rubbish are refused", async () => {
    const raw = new Database(path, { create: true });
    raw.run("CREATE TABLE mine (x)");
    raw.close();
    expect(await messageOf(openSqliteStore(env, path))).toContain("another program's SQLite file");
    const rubbish = join(folder, "rubbish.sqlite");
    await writeFile(rubbish, "rubbish".repeat(2000));
    expect(await messageOf(openSqliteStore(env, rubbish))).toContain("not a SQLite database");
    expect(await messageOf(openSqliteStore(env, join(folder, "no", "such.sqlite")))).toContain(
      "cannot be opened",
    );
  });

  test("a full medium is an error with words, and the stored topology stays", async () => {
    const store = await openSqliteStore(env, path, 80 * 1024);
    const { leader } = await store.acquireLeadership({ id: "1", incarnation: "i", addr: "h:1" }, 5000, true);
    const spec = {
      name: "c",
      slots: 1024,
      groups: [{ id: "g1", primary: "h:1", replicas: [] }],
      options: {},
    };
    const topology = createTopology(spec, leader.term);
    await store.writeTopology(leader.term, topology);
    const large = { ...topology, version: 2, options: { note: "x".repeat(200_000) } };
    expect(await messageOf(store.writeTopology(leader.term, large))).toContain("the disk is full");
    expect(await store.readTopology()).toEqual(topology);
    await store.writeTopology(leader.term, { ...topology, version: 2 });
    await store.close();
  });
});
