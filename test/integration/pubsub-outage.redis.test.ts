/** Subscriptions across lost servers, moved slots and switched primaries. */
import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { SlotRange } from "../../src/topology/cluster-map.ts";
import { TRANSPORTS } from "../support/proxy-process.ts";
import { RedisProcess } from "../support/redis-process.ts";
import { encodeRequest, type RespClient } from "../support/resp-client.ts";
import { until } from "../support/until.ts";
import { frame, next, PubSubRig } from "./pubsub-rig.ts";

setDefaultTimeout(30_000);

async function subscribed(rig: PubSubRig, word: string, ...names: string[]): Promise<RespClient> {
  const client = await rig.connect();
  client.write(encodeRequest([word, ...names]));
  await client.replies(names.length);
  return client;
}

/** Subscribers that `server` counts for a channel. */
async function countAt(server: RedisProcess, channel: string): Promise<unknown> {
  return ((await server.command("PUBSUB", "NUMSUB", channel)) as unknown[])[1];
}

describe.each(TRANSPORTS.map((io) => ({ io })))("subscriptions over $io", ({ io }) => {
  let rig: PubSubRig;
  const extra: RedisProcess[] = [];
  afterEach(async () => {
    await rig.dispose();
    for (const server of extra.splice(0)) await server.dispose();
  });

  test("come back after the server was killed and restarted; the log tells the gap", async () => {
    rig = await PubSubRig.start({ io });
    const names = Array.from({ length: 50 }, (_, i) => rig.channelIn(1, `lost${i}`));
    const elsewhere = rig.channelIn(0);
    const client = await subscribed(rig, "SUBSCRIBE", ...names, elsewhere);
    const patterns = await subscribed(rig, "PSUBSCRIBE", "lost*");
    const server = rig.servers[1];
    await server.kill();
    await until(() => rig.logged("subscriptions lost").length > 0, "the loss is seen");
    expect(rig.logged("subscriptions lost")[0]).toMatchObject({ group: "g2", channels: 50, patterns: 1 });
    const other = await rig.connect();
    expect(await other.text("SUBSCRIBE", rig.channelIn(1, "new"))).toStartWith("-ERR Cannot reach server");
    // The failed one has left nothing behind: the session is not a listener.
    expect(await other.text("ECHO", "x")).toBe("$1\r\nx\r\n");
    expect(await other.text("PUBLISH", elsewhere, "still")).toBe(":1\r\n");
    expect(await next(client)).toEqual([frame(2, "message", elsewhere, "still")]);
    await server.launch();
    await until(() => rig.logged("subscriptions restored").length > 0, "subscribed again");
    expect(rig.logged("subscriptions restored")[0]).toMatchObject({ group: "g2", channels: 50, patterns: 1 });
    expect(rig.logged("subscriptions restored")[0]["gapMs"]).toBeGreaterThan(0);
    for (const name of names) {
      await until(async () => (await other.text("PUBLISH", name, "back")) === ":2\r\n", "published");
      expect(await next(client)).toEqual([frame(2, "message", name, "back")]);
      expect(await next(patterns)).toEqual([frame(2, "pmessage", "lost*", name, "back")]);
    }
  });

  test("a server that hangs is found by its silence", async () => {
    rig = await PubSubRig.start({ io, config: { server_timeout_ms: 500 } });
    const channel = rig.channelIn(0);
    const client = await subscribed(rig, "SUBSCRIBE", channel);
    rig.servers[0].signal("SIGSTOP");
    try {
      await until(() => rig.logged("subscriptions lost").length > 0, "the hang is seen");
    } finally {
      rig.servers[0].signal("SIGCONT");
    }
    await until(() => rig.logged("subscriptions restored").length > 0, "subscribed again");
    expect(await rig.servers[0].command("PUBLISH", channel, "x")).toBe(1);
    expect(await next(client)).toEqual([frame(2, "message", channel, "x")]);
  });

  test("a connection that the server kills is made again", async () => {
    rig = await PubSubRig.start({ io });
    const channel = rig.channelIn(2);
    const client = await subscribed(rig, "SUBSCRIBE", channel);
    for (let round = 1; round <= 3; round++) {
      await rig.servers[2].command("CLIENT", "KILL", "TYPE", "pubsub");
      await until(() => rig.logged("subscriptions restored").length === round, "subscribed again");
      expect(await rig.servers[2].command("PUBLISH", channel, `${round}`)).toBe(1);
      expect(await next(client)).toEqual([frame(2, "message", channel, `${round}`)]);
    }
  });

  test("follow their slot to another group, exactly once meanwhile", async () => {
    rig = await PubSubRig.start({ io });
    const channel = rig.channelIn(0, "moves");
    const client = await subscribed(rig, "SUBSCRIBE", channel);
    const pattern = await subscribed(rig, "PSUBSCRIBE", "moves*");
    const slot = rig.slotOf(channel);
    const ranges = rig.map.ranges.flatMap((range): SlotRange[] => {
      if (range.group !== "g1") return [range];
      const cut = [
        { from: range.from, to: slot - 1, group: "g1" },
        { from: slot, to: slot, group: "g3" },
        { from: slot + 1, to: range.to, group: "g1" },
      ];
      return cut.filter(({ from, to }) => from <= to);
    });
    rig.sendMap({ ranges });
    await until(async () => (await countAt(rig.servers[2], channel)) === 1, "subscribed at the new group");
    expect(await countAt(rig.servers[0], channel)).toBe(1);
    // A proxy that has not heard yet, and one that has.
    await rig.servers[0].command("PUBLISH", channel, "old way");
    const publisher = await rig.connect();
    expect(await publisher.text("PUBLISH", channel, "new way")).toBe(":2\r\n");
    const got = await next(client, 2);
    expect(got.toSorted()).toEqual(["new way", "old way"].map((text) => frame(2, "message", channel, text)));
    expect(await next(pattern, 2)).toHaveLength(2);
    await until(async () => (await countAt(rig.servers[0], channel)) === 0, "left the old group", 15_000);
    expect(await publisher.text("PUBLISH", channel, "last")).toBe(":2\r\n");
    expect(await next(client)).toEqual([frame(2, "message", channel, "last")]);
    expect(await publisher.text("PUBSUB", "NUMSUB", channel)).toContain(":1\r\n");
  });

  test("go to the new primary at once, and are not heard twice from its replica", async () => {
    rig = await PubSubRig.start({ io });
    const replica = await RedisProcess.start(["--replicaof", "127.0.0.1", String(rig.servers[0].port)]);
    extra.push(replica);
    await until(
      async () => String(await replica.command("INFO", "replication")).includes("master_link_status:up"),
      "the replica follows",
    );
    const channel = rig.channelIn(0);
    const client = await subscribed(rig, "SUBSCRIBE", channel);
    const pattern = await subscribed(rig, "PSUBSCRIBE", "ch*");
    await replica.command("REPLICAOF", "NO", "ONE");
    await rig.servers[0].command("REPLICAOF", "127.0.0.1", String(replica.port));
    const groups = rig.map.groups.map((group) =>
      group.id === "g1" ? { ...group, primary: replica.addr } : group,
    );
    rig.sendMap({ groups });
    await until(async () => (await countAt(replica, channel)) === 1, "subscribed at the new primary");
    await until(
      async () => String(await rig.servers[0].command("INFO", "replication")).includes("link_status:up"),
      "the old primary follows",
    );
    expect(await countAt(rig.servers[0], channel)).toBe(0);
    const publisher = await rig.connect();
    for (let i = 0; i < 5; i++) {
      expect(await publisher.text("PUBLISH", channel, `${i}`)).toBe(":2\r\n");
      expect(await next(client)).toEqual([frame(2, "message", channel, `${i}`)]);
      expect(await next(pattern)).toEqual([frame(2, "pmessage", "ch*", channel, `${i}`)]);
    }
    expect(rig.logged("subscriptions move to the new primary")[0]).toMatchObject({ group: "g1", topics: 2 });
  });

  test("a new group gets the patterns", async () => {
    rig = await PubSubRig.start({ io });
    const pattern = await subscribed(rig, "PSUBSCRIBE", "p*");
    const added = await RedisProcess.start();
    extra.push(added);
    rig.sendMap({
      groups: [...rig.map.groups, { id: "g4", number: 4, primary: added.addr, replicas: [] }],
    });
    await until(async () => (await added.command("PUBSUB", "NUMPAT")) === 1, "the pattern is there");
    await added.command("PUBLISH", "px", "hello");
    expect(await next(pattern)).toEqual([frame(2, "pmessage", "p*", "px", "hello")]);
  });
});
