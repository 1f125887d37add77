/** What keeps moved keys safe: passwords, replicas, servers that are replaced meanwhile. */
import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { type RawClient, ReplyFault } from "../robustness/raw-client.ts";
import { Rig, type Settings, TRANSPORTS } from "../robustness/rig.ts";
import { RedisProcess } from "../support/redis-process.ts";
import { until } from "../support/until.ts";
import { moveMap, settle } from "./moving-rig.ts";

setDefaultTimeout(60_000);

let servers: RedisProcess[] = [];
let replicas: RedisProcess[] = [];
let rig: Rig;
let client: RawClient;

async function start(io: (typeof TRANSPORTS)[number], settings: Settings = {}): Promise<void> {
  rig = await Rig.start(servers, io, settings);
  client = await rig.connect();
}

/** A replica of each server, in sync. */
async function startReplicas(): Promise<void> {
  replicas = await Promise.all(
    servers.map((server) => RedisProcess.start(["--replicaof", "127.0.0.1", String(server.port)])),
  );
  for (const server of servers)
    await until(
      async () => /state=online/.test(String(await server.command("INFO", "replication"))),
      "it is in sync",
    );
}

async function startMove(options: Readonly<Record<string, string | number>>): Promise<void> {
  await settle(rig, { ...moveMap(rig, "locked", 2), options });
  await settle(rig, { ...moveMap(rig, "moving", 3), options });
}

afterEach(async () => {
  await rig.dispose();
  await Promise.all([...servers, ...replicas].map((server) => server.dispose()));
  replicas = [];
});

describe.each(TRANSPORTS)("moving safely (%s)", (io) => {
  test("servers with a password: the source logs in at the target as the proxy does", async () => {
    const secret = ["--requirepass", "sesame"];
    servers = await Promise.all([RedisProcess.start(secret), RedisProcess.start(secret)]);
    for (const server of servers)
      await server.command("ACL", "SETUSER", "mover", "on", ">open", "~*", "&*", "+@all");
    await start(io, { server_username: "mover", server_password: "open" });
    const keys = rig.keysIn(0, 3);
    for (const key of keys) await client.call("SET", key, "v");
    await startMove({});
    expect(await client.call("MGET", ...keys)).toEqual(["v", "v", "v"]);
    expect(await servers[0].command("DBSIZE")).toBe(0);
    const slow = JSON.stringify([
      await servers[0].command("SLOWLOG", "GET"),
      await servers[0].command("ACL", "LOG"),
    ]);
    expect(slow).not.toContain("sesame");
  });

  test("L8b: with acks a moved key is at the target's replica, and gone from the source's", async () => {
    servers = await Promise.all([RedisProcess.start(), RedisProcess.start()]);
    await startReplicas();
    await start(io);
    const [key, other] = rig.keysIn(0, 2);
    for (const each of [key, other]) await servers[0].command("SET", each, "v");
    await servers[0].command("WAIT", "1", "1000");
    await startMove({ acks: "replica 1 100" });
    replicas[0].signal("SIGSTOP");
    const reply = client.call("GET", key);
    await until(() => rig.counters["pullRetries"] > 0, "the source's replica is waited for");
    replicas[0].signal("SIGCONT");
    expect(await reply).toBe("v");
    expect(await replicas[0].command("EXISTS", key)).toBe(0);
    expect(await replicas[1].command("GET", key)).toBe("v");
    expect(await client.call("DEL", key)).toBe(1);
    // The source fails over: what was moved does not come back to life.
    await servers[0].kill();
    await replicas[0].command("REPLICAOF", "NO", "ONE");
    const map = moveMap(rig, "moving", 4);
    const groups = map.groups.map((group) =>
      group.id === "g1" ? { ...group, primary: replicas[0].addr } : group,
    );
    await settle(rig, { ...map, groups, options: { acks: "async" } });
    expect(await client.call("GET", key)).toBeNull();
    expect(await client.call("GET", other)).toBe("v");
  });

  test("L8b: no replica confirms it: the client is told, and the source keeps the key", async () => {
    servers = await Promise.all([RedisProcess.start(), RedisProcess.start()]);
    await start(io);
    const key = rig.keyIn(0);
    await servers[0].command("SET", key, "v");
    await startMove({ acks: "replica 1 50", hold_timeout_ms: 300 });
    const reply = await client.call("GET", key);
    expect((reply as ReplyFault).text).toMatch(
      /^NOREPLICAS Cannot move key '.*' from group g1 to group g2: 0 of 1/,
    );
    expect(await servers[0].command("GET", key)).toBe("v");
  });

  test("the source's primary is replaced in the middle of a pull", async () => {
    servers = await Promise.all([RedisProcess.start(), RedisProcess.start()]);
    await startReplicas();
    await start(io);
    const keys = rig.keysIn(0, 10);
    for (const key of keys) await servers[0].command("SET", key, "1");
    await servers[0].command("WAIT", "1", "1000");
    await startMove({});
    await servers[0].kill();
    const clients = await Promise.all(keys.map(() => rig.connect()));
    const replies = clients.map((each, i) => each.call("INCR", keys[i]));
    await until(() => rig.counters["pullRetries"] > 0, "a pull has been repeated");
    await replicas[0].command("REPLICAOF", "NO", "ONE");
    const map = moveMap(rig, "moving", 4);
    const groups = map.groups.map((group) =>
      group.id === "g1" ? { ...group, primary: replicas[0].addr } : group,
    );
    await settle(rig, { ...map, groups });
    expect(await Promise.all(replies)).toEqual(keys.map(() => 2));
    expect(await replicas[0].command("DBSIZE")).toBe(0);
  });
});
