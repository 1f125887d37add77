/** Who may be copied: the one moment at which a stale look would let replicas in at an empty primary. */
import { afterEach, expect, test } from "bun:test";
import type { ServerObservation } from "../../topology/group-health.ts";
import { RedisProcess, testEnv } from "../../../test/support/redis-process.ts";
import { REPLICATION_USER, ReplicationLogins } from "./replication-logins.ts";

const cleanups: Array<() => Promise<unknown>> = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function setUp(managed = true) {
  const primary = await RedisProcess.start();
  const replica = await RedisProcess.start();
  cleanups.push(
    () => primary.dispose(),
    () => replica.dispose(),
  );
  const { runId } = await primary.client.info();
  const group = {
    id: "g1",
    number: 1,
    servers: [
      { addr: primary.addr, role: "primary", joined: true },
      { addr: replica.addr, role: "replica", joined: true, syncedTo: "h" },
    ],
    history: { id: "h", runId, offset: 0 },
    link: "secret",
  };
  const observations = new Map<string, Partial<ServerObservation>>([[primary.addr, { state: "up", runId }]]);
  const health = {
    observations,
    onObserved: () => {},
    serverAt: (addr: string) => (addr === primary.addr ? primary.client : replica.client),
  };
  const state = { topology: { groups: [group] }, leading: true };
  const logins = new ReplicationLogins(testEnv(), state as never, health as never, managed);
  const users = async () => (await primary.command("ACL", "USERS")) as string[];
  return { primary, replica, logins, users };
}

test("L6: a primary that was started again since the last look gets no user", async () => {
  const { primary, logins, users } = await setUp();
  expect(await logins.admit(primary.addr, "secret")).toEqual({ user: REPLICATION_USER, password: "secret" });
  expect(await users()).toContain(REPLICATION_USER);
  await primary.kill();
  await primary.launch();
  // The last look is that of the process before, so for all that is known it is the trusted one.
  await expect(logins.admit(primary.addr, "another")).rejects.toThrow(
    "it was started again and is not judged",
  );
  expect(await users()).toEqual(["default"]);
});

test("a replica that is cut off keeps its data and cannot come back, until it is withdrawn", async () => {
  const { primary, replica, logins } = await setUp();
  await logins.admit(primary.addr, "secret");
  await primary.command("SET", "k", "v");
  await replica.client.replicaOf(primary.addr, { user: REPLICATION_USER, password: "secret" });
  expect(await primary.command("WAIT", "1", "5000")).toBe(1);
  await logins.cutOff(replica.client, "next");
  expect(await primary.command("WAIT", "1", "1500")).toBe(0);
  expect(await replica.command("GET", "k")).toBe("v");
  await logins.withdraw(replica.client);
  expect((await replica.client.configGet("masteruser")).get("masteruser")).toBe("");
  expect(await primary.command("WAIT", "1", "5000")).toBe(1);
});

test("logins that are off are nobody's business", async () => {
  const { primary, replica, logins, users } = await setUp(false);
  expect(logins.newLink()).toBeUndefined();
  expect(await logins.admit(primary.addr, "secret")).toBeNull();
  await logins.cutOff(replica.client, "secret");
  expect(await users()).toEqual(["default"]);
});
