/**
 * What every kind of store must do, as one suite: each kind brings a way to open a store on one medium,
 * several times over (several controllers) and after one another (restarts).
 */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { errorCodeOf } from "../../../src/base/shoal-error.ts";
import type { Candidate, Store } from "../../../src/store/store.ts";
import { changeTopology, createTopology } from "../../../src/topology/change-topology.ts";
import type { ClusterTopology } from "../../../src/topology/cluster-topology.ts";
import { until } from "../../support/until.ts";

/** One medium: a file, a set of keys, a piece of memory. Its clock can be moved. */
export interface StoreMedium {
  open(): Promise<Store>;
  /** Lets `ms` pass, for leases. */
  pass(ms: number): Promise<void>;
  dispose(): Promise<void>;
}

const LEASE_MS = 3000;

const candidate = (id: string, incarnation = `${id}-1`): Candidate => ({
  id,
  incarnation,
  addr: `127.0.0.1:1${id}`,
});

const firstVersion = (term: number): ClusterTopology =>
  createTopology(
    { name: "c", slots: 1024, groups: [{ id: "g1", primary: "h:1", replicas: ["h:2"] }], options: {} },
    term,
  );

const codeOf = (promise: Promise<unknown>): Promise<string | null> =>
  promise.then(
    () => "no error",
    (error) => errorCodeOf(error) ?? String(error),
  );

/** Two stores on one medium, new for each test. */
interface Setting {
  medium: StoreMedium;
  a: Store;
  b: Store;
}

export function runStoreSuite(kind: string, createMedium: () => Promise<StoreMedium>): void {
  describe(`store: ${kind}`, () => {
    const s = {} as Setting;

    beforeEach(async () => {
      s.medium = await createMedium();
      s.a = await s.medium.open();
      s.b = await s.medium.open();
    });

    afterEach(async () => {
      await s.a.close();
      await s.b.close();
      await s.medium.dispose();
    });

    testLeadership(s);
    testTopology(s);
    testMembers(s);
  });
}

/** Who leads, and for how long. */
function testLeadership(s: Setting): void {
  test("one leads, the other is told who", async () => {
    const first = await s.a.acquireLeadership(candidate("1"), LEASE_MS, true);
    const second = await s.b.acquireLeadership(candidate("2"), LEASE_MS, true);
    expect(first.granted).toBe(true);
    expect(second).toEqual({ granted: false, leader: first.leader });
    expect(await s.b.readLeadership()).toEqual(first.leader);
  });

  test("a lease that has run out goes to the next one, under a higher term", async () => {
    const first = await s.a.acquireLeadership(candidate("1"), LEASE_MS, true);
    await s.medium.pass(LEASE_MS + 10);
    const second = await s.b.acquireLeadership(candidate("2"), LEASE_MS, true);
    expect(second.granted).toBe(true);
    expect(second.leader.term).toBeGreaterThan(first.leader.term);
    expect(await codeOf(s.a.renewLeadership(first.leader.term, LEASE_MS))).toBe("STALE");
  });

  test("a renewed lease stands", async () => {
    const { leader } = await s.a.acquireLeadership(candidate("1"), LEASE_MS, true);
    for (let i = 0; i < 4; i++) {
      await s.medium.pass(LEASE_MS / 2);
      await s.a.renewLeadership(leader.term, LEASE_MS);
    }
    expect((await s.b.acquireLeadership(candidate("2"), LEASE_MS, true)).granted).toBe(false);
  });

  test("a lease that was given up is free at once; giving up an old term changes nothing", async () => {
    const first = await s.a.acquireLeadership(candidate("1"), LEASE_MS, true);
    await s.a.releaseLeadership(first.leader.term);
    const second = await s.b.acquireLeadership(candidate("2"), LEASE_MS, true);
    expect(second.granted).toBe(true);
    await s.a.releaseLeadership(first.leader.term);
    await s.b.renewLeadership(second.leader.term, LEASE_MS);
    expect((await s.a.acquireLeadership(candidate("1"), LEASE_MS, true)).granted).toBe(false);
  });

  test("a restarted controller need not wait for its own lease, a second one of that name must", async () => {
    const first = await s.a.acquireLeadership(candidate("1", "x"), LEASE_MS, true);
    expect((await s.b.acquireLeadership(candidate("1", "y"), LEASE_MS, false)).granted).toBe(false);
    const restarted = await s.b.acquireLeadership(candidate("1", "y"), LEASE_MS, true);
    expect(restarted.granted).toBe(true);
    expect(restarted.leader.term).toBeGreaterThan(first.leader.term);
  });

  test("of many that ask at once, one leads", async () => {
    const stores = await Promise.all(Array.from({ length: 6 }, () => s.medium.open()));
    const ask = (store: Store, i: number) => store.acquireLeadership(candidate(`n${i}`), LEASE_MS, true);
    const grants = await Promise.all(stores.map(ask));
    expect(grants.filter((grant) => grant.granted)).toHaveLength(1);
    await Promise.all(stores.map((store) => store.close()));
  });
}

/** Who may write, and who is told. */
function testTopology(s: Setting): void {
  test("what was written is there for everybody, and after a restart", async () => {
    const { leader } = await s.a.acquireLeadership(candidate("1"), LEASE_MS, true);
    const topology = firstVersion(leader.term);
    await s.a.writeTopology(leader.term, topology);
    expect(await s.b.readTopology()).toEqual(topology);
    const again = await s.medium.open();
    expect(await again.readTopology()).toEqual(topology);
    await again.close();
  });

  test("a stale leader writes nothing, not even when it does not know yet", async () => {
    const first = await s.a.acquireLeadership(candidate("1"), LEASE_MS, true);
    await s.a.writeTopology(first.leader.term, firstVersion(first.leader.term));
    await s.medium.pass(LEASE_MS + 10);
    const second = await s.b.acquireLeadership(candidate("2"), LEASE_MS, true);
    const stored = (await s.a.readTopology()) as ClusterTopology;
    const next = { ...stored, version: 2 };
    expect(await codeOf(s.a.writeTopology(first.leader.term, next))).toBe("STALE");
    expect(await s.b.readTopology()).toEqual(stored);
    await s.b.writeTopology(second.leader.term, changeTopology(stored, { type: "led" }, second.leader.term)!);
    expect((await s.a.readTopology())?.term).toBe(second.leader.term);
  });

  test("versions follow one another: neither a gap nor the same one again is written", async () => {
    const { leader } = await s.a.acquireLeadership(candidate("1"), LEASE_MS, true);
    const topology = firstVersion(leader.term);
    expect(await codeOf(s.a.writeTopology(leader.term, { ...topology, version: 2 }))).toBe("STALE");
    await s.a.writeTopology(leader.term, topology);
    expect(await codeOf(s.a.writeTopology(leader.term, topology))).toBe("STALE");
    expect(await codeOf(s.a.writeTopology(leader.term, { ...topology, version: 3 }))).toBe("STALE");
    await s.a.writeTopology(leader.term, { ...topology, version: 2 });
  });

  test("nobody writes without leading", async () => {
    expect(await codeOf(s.a.writeTopology(1, firstVersion(1)))).toBe("STALE");
    expect(await s.a.readTopology()).toBeNull();
  });

  test("a watch is told of another's write, and of nothing once it is stopped", async () => {
    const { leader } = await s.a.acquireLeadership(candidate("1"), LEASE_MS, true);
    let calls = 0;
    const stop = s.b.watchTopology(() => calls++);
    const topology = firstVersion(leader.term);
    await s.a.writeTopology(leader.term, topology);
    await until(() => calls > 0, "the watch is told");
    stop();
    const before = calls;
    await s.a.writeTopology(leader.term, { ...topology, version: 2 });
    await s.b.readTopology();
    expect(calls).toBe(before);
  });
}

/** Who is alive. */
function testMembers(s: Setting): void {
  test("is empty at first", async () => {
    expect(await s.a.readTopology()).toBeNull();
    expect(await s.a.readLeadership()).toBeNull();
    expect(await s.a.readMembers()).toEqual([]);
  });

  test("members live as long as they say so", async () => {
    await s.a.announceMember({ id: "1", addr: "h:1", pid: 11 }, LEASE_MS);
    await s.b.announceMember({ id: "2", addr: "h:2", pid: 12 }, LEASE_MS * 3);
    expect((await s.a.readMembers()).map((member) => member.id)).toEqual(["1", "2"]);
    await s.medium.pass(LEASE_MS + 10);
    expect(await s.a.readMembers()).toEqual([{ id: "2", addr: "h:2", pid: 12 }]);
    await s.b.removeMember("2");
    expect(await s.a.readMembers()).toEqual([]);
  });
}
