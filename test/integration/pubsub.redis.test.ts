/** Pub/Sub through the proxy, over real servers, on both transports. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { TRANSPORTS } from "../support/proxy-process.ts";
import { encodeRequest, type RespClient } from "../support/resp-client.ts";
import { until } from "../support/until.ts";
import { frame, next, PubSubRig } from "./pubsub-rig.ts";

/** Subscribes and reads the confirmations. */
async function subscribe(client: RespClient, word: string, ...names: string[]): Promise<void> {
  client.write(encodeRequest([word, ...names]));
  await client.replies(names.length);
}

/** What has come until the reply to a PING: everything that was on its way. */
async function untilPong(client: RespClient): Promise<string[]> {
  client.write(encodeRequest(["PING", "end"]));
  const seen: string[] = [];
  for (;;) {
    const [text] = await next(client);
    if (text === "*2\r\n$4\r\npong\r\n$3\r\nend\r\n" || text === "$3\r\nend\r\n") return seen;
    seen.push(text);
  }
}

describe.each(TRANSPORTS.map((io) => ({ io })))("Pub/Sub over $io", ({ io }) => {
  let rig: PubSubRig;
  beforeAll(async () => {
    rig = await PubSubRig.start({ io, workers: 2 });
  });
  afterAll(() => rig.dispose());

  test("a message through any worker reaches each subscriber once, in order", async () => {
    const channels = [0, 1, 2].map((group) => rig.channelIn(group, "order"));
    const subscribers = [await rig.connect(0), await rig.connect(1), await rig.connect(0, 3)];
    for (const client of subscribers) await subscribe(client, "SUBSCRIBE", ...channels);
    const publishers = [await rig.connect(0), await rig.connect(1)];
    const count = 200;
    for (let i = 0; i < count; i++) {
      const publisher = publishers[i % 2];
      for (const channel of channels) await publisher.command("PUBLISH", channel, `m${i}`);
    }
    for (const [index, client] of subscribers.entries()) {
      const protocol = index === 2 ? 3 : 2;
      const got = await next(client, count * channels.length);
      for (const channel of channels) {
        const mine = got.filter((text) => text.includes(channel));
        expect(mine).toEqual(
          Array.from({ length: count }, (_, i) => frame(protocol, "message", channel, `m${i}`)),
        );
      }
      expect(await untilPong(client)).toEqual([]);
    }
  }, 20_000);

  test("one upstream subscription per channel and worker; the last one out ends it", async () => {
    const channel = rig.channelIn(1, "one");
    const clients = await Promise.all(Array.from({ length: 10 }, () => rig.connect(0)));
    for (const client of clients) await subscribe(client, "SUBSCRIBE", channel);
    const server = rig.servers[1];
    expect(await server.command("PUBSUB", "NUMSUB", channel)).toEqual([channel, 1]);
    expect(await rig.servers[0].command("PUBSUB", "NUMSUB", channel)).toEqual([channel, 0]);
    const publisher = await rig.connect(0);
    expect(await publisher.text("PUBLISH", channel, "x")).toBe(":10\r\n");
    expect(await (await rig.connect(1)).text("PUBLISH", channel, "x")).toBe(":1\r\n");
    for (const client of clients.slice(1)) client.close();
    await next(clients[0], 2);
    await clients[0].command("UNSUBSCRIBE", channel);
    await until(
      async () => ((await server.command("PUBSUB", "NUMSUB", channel)) as unknown[])[1] === 0,
      "the server has nobody left",
    );
    expect(await publisher.text("PUBLISH", channel, "x")).toBe(":0\r\n");
  });

  test("a PUBLISH right after the confirmation is seen", async () => {
    const publisher = await rig.connect(1);
    for (let i = 0; i < 100; i++) {
      const client = await rig.connect(0);
      const channel = `fresh:${i}`;
      await subscribe(client, "SUBSCRIBE", channel);
      expect(await publisher.text("PUBLISH", channel, "now")).toBe(":1\r\n");
      expect(await next(client)).toEqual([frame(2, "message", channel, "now")]);
      client.close();
    }
  });

  test("patterns: all groups, once per pattern that fits", async () => {
    const client = await rig.connect(0);
    await subscribe(client, "PSUBSCRIBE", "news.*", "news.?", "*[xy]", "a\\*");
    const publisher = await rig.connect(1);
    const expected: string[] = [];
    for (let i = 0; i < 30; i++) {
      await publisher.command("PUBLISH", `news.${i}`, "m");
      expected.push(frame(2, "pmessage", "news.*", `news.${i}`, "m"));
      if (i < 10) expected.push(frame(2, "pmessage", "news.?", `news.${i}`, "m"));
    }
    await publisher.command("PUBLISH", "ax", "m");
    await publisher.command("PUBLISH", "az", "m");
    await publisher.command("PUBLISH", "a*", "m");
    expected.push(frame(2, "pmessage", "*[xy]", "ax", "m"), frame(2, "pmessage", "a\\*", "a*", "m"));
    const got = await next(client, expected.length);
    expect(got.toSorted()).toEqual(expected.toSorted());
    expect(await untilPong(client)).toEqual([]);
    const own = await rig.connect(0);
    expect(await own.text("PUBLISH", "news.5", "m")).toBe(":2\r\n");
    expect(await own.text("PUBSUB", "NUMPAT")).toBe(":4\r\n");
  });

  test("shard channels are a name space of their own", async () => {
    const client = await rig.connect(0);
    const names = [0, 1, 2].map((group) => rig.channelIn(group, "shard"));
    await subscribe(client, "SSUBSCRIBE", ...names);
    const publisher = await rig.connect(1);
    for (const name of names) {
      expect(await publisher.text("PUBLISH", name, "no")).toBe(":0\r\n");
      expect(await publisher.text("SPUBLISH", name, "yes")).toBe(":1\r\n");
    }
    const got = await next(client, 3);
    expect(got.toSorted()).toEqual(names.map((name) => frame(2, "smessage", name, "yes")).toSorted());
    const other = await rig.connect(1);
    const listed = (await other.text("PUBSUB", "SHARDCHANNELS", "shard:*")).split("\r\n");
    expect(names.every((name) => listed.includes(name))).toBe(true);
    expect(await other.text("PUBSUB", "SHARDNUMSUB", names[0])).toBe(
      `*2\r\n$${names[0].length}\r\n${names[0]}\r\n:1\r\n`,
    );
  });

  test("keyspace notifications of all groups, merged", async () => {
    for (const server of rig.servers) await server.command("CONFIG", "SET", "notify-keyspace-events", "KEA");
    const exact = await rig.connect(0);
    await subscribe(exact, "SUBSCRIBE", "__keyevent@0__:set");
    const pattern = await rig.connect(1, 3);
    await subscribe(pattern, "PSUBSCRIBE", "__keyspace@0__:note*");
    const writer = await rig.connect(0);
    const keys = Array.from({ length: 30 }, (_, i) => `note:${i}`);
    for (const key of keys) await writer.command("SET", key, "v");
    expect((await next(exact, 30)).toSorted()).toEqual(
      keys.map((key) => frame(2, "message", "__keyevent@0__:set", key)).toSorted(),
    );
    expect((await next(pattern, 30)).toSorted()).toEqual(
      keys
        .map((key) => frame(3, "pmessage", "__keyspace@0__:note*", `__keyspace@0__:${key}`, "set"))
        .toSorted(),
    );
    expect(await untilPong(exact)).toEqual([]);
    for (const server of rig.servers) await server.command("CONFIG", "SET", "notify-keyspace-events", "");
  });

  test("RESP3: messages between the replies of a busy pipeline, none torn", async () => {
    const channel = rig.channelIn(0, "mixed");
    const client = await rig.connect(0, 3);
    await subscribe(client, "SUBSCRIBE", channel);
    const value = "v".repeat(300_000);
    await client.command("SET", "big", value);
    const publisher = await rig.connect(1);
    const rounds = 60;
    for (let i = 0; i < rounds; i++)
      client.write(encodeRequest(i % 3 === 0 ? ["GET", "big"] : ["INCR", "n"]));
    const body = "m".repeat(40_000);
    for (let i = 0; i < rounds; i++) publisher.write(encodeRequest(["PUBLISH", channel, `${i}:${body}`]));
    const got = await next(client, rounds * 2);
    const messages = got.filter((text) => text.startsWith(">"));
    expect(messages).toEqual(
      Array.from({ length: rounds }, (_, i) => frame(3, "message", channel, `${i}:${body}`)),
    );
    const replies = got.filter((text) => !text.startsWith(">"));
    expect(replies.filter((text) => text.length > 300_000)).toHaveLength(20);
    expect(replies.filter((text) => text.startsWith(":"))).toEqual(
      Array.from({ length: 40 }, (_, i) => `:${i + 1}\r\n`),
    );
  }, 20_000);

  test("RESP3: to itself the message comes before PUBLISH's reply, also while blocked by BLPOP", async () => {
    const channel = rig.channelIn(2, "self");
    const client = await rig.connect(0, 3);
    await subscribe(client, "SUBSCRIBE", channel);
    for (let i = 0; i < 20; i++) {
      client.write(encodeRequest(["PUBLISH", channel, `${i}`]));
      expect(await next(client, 2)).toEqual([frame(3, "message", channel, `${i}`), ":1\r\n"]);
    }
    client.write(encodeRequest(["BLPOP", "nothing-there", "0"]));
    const other = await rig.connect(1);
    await until(async () => (await other.text("PUBLISH", channel, "wake")) === ":1\r\n", "published");
    expect(await next(client)).toEqual([frame(3, "message", channel, "wake")]);
    await other.command("RPUSH", "nothing-there", "x");
    expect(await next(client)).toEqual(["*2\r\n$13\r\nnothing-there\r\n$1\r\nx\r\n"]);
  });

  test("PUBLISH inside MULTI: with the transaction, or right after it", async () => {
    const key = rig.channelIn(0, "key");
    const here = rig.channelIn(0, "tx");
    const there = rig.channelIn(1, "tx");
    const client = await rig.connect(1);
    await subscribe(client, "SUBSCRIBE", here, there);
    const worker = await rig.connect(0);
    const commands = [["MULTI"], ["PUBLISH", there, "1"], ["SET", key, "v"], ["PUBLISH", here, "2"]];
    for (const words of [...commands, ["GET", key], ["EXEC"], ["PUBLISH", there, "3"]])
      worker.write(encodeRequest(words));
    const replies = await next(worker, 7);
    expect(replies[5]).toBe("*4\r\n:1\r\n+OK\r\n:1\r\n$1\r\nv\r\n");
    expect(replies[6]).toBe(":1\r\n");
    const got = await next(client, 3);
    expect(got.filter((text) => text.includes(there))).toEqual([
      frame(2, "message", there, "1"),
      frame(2, "message", there, "3"),
    ]);
    expect(got).toContain(frame(2, "message", here, "2"));

    // Nothing but PUBLISH; and a transaction that is thrown away publishes nothing.
    for (const words of [["MULTI"], ["PUBLISH", there, "4"], ["PUBLISH", here, "5"], ["EXEC"]])
      worker.write(encodeRequest(words));
    expect((await next(worker, 4))[3]).toBe("*2\r\n:1\r\n:1\r\n");
    expect((await next(client, 2)).toSorted()).toEqual(
      [frame(2, "message", there, "4"), frame(2, "message", here, "5")].toSorted(),
    );
    for (const words of [["MULTI"], ["PUBLISH", there, "6"], ["NOSUCH"], ["EXEC"]])
      worker.write(encodeRequest(words));
    expect((await next(worker, 4))[3]).toStartWith("-EXECABORT");
    await worker.command("WATCH", key);
    await (await rig.connect(1)).command("SET", key, "changed");
    for (const words of [["MULTI"], ["SET", key, "w"], ["PUBLISH", there, "7"], ["EXEC"]])
      worker.write(encodeRequest(words));
    expect((await next(worker, 4))[3]).toBe("*-1\r\n");
    expect(await untilPong(client)).toEqual([]);

    for (const words of [["MULTI"], ["SUBSCRIBE", here], ["EXEC"]]) worker.write(encodeRequest(words));
    const refused = await next(worker, 3);
    expect(refused[1]).toBe(
      "-ERR 'subscribe' inside a transaction is not supported by the proxy; subscribe before MULTI\r\n",
    );
    expect(refused[2]).toStartWith("-EXECABORT");
    for (const words of [["MULTI"], ["PUBSUB", "NUMPAT"], ["EXEC"]]) worker.write(encodeRequest(words));
    expect((await next(worker, 3))[1]).toStartWith("-CROSSSLOT 'pubsub|numpat' concerns all groups");
  });

  test("CLIENT LIST and KILL know listeners", async () => {
    const client = await rig.connect(0);
    const id = (await client.text("CLIENT", "ID")).slice(1).trim();
    await subscribe(client, "SUBSCRIBE", "l1", "l2");
    await subscribe(client, "PSUBSCRIBE", "l*");
    await subscribe(client, "SSUBSCRIBE", "l3");
    const other = await rig.connect(0);
    const list = await other.text("CLIENT", "LIST", "TYPE", "pubsub");
    const line = list.split("\n").find((each) => each.startsWith(`id=${id} `));
    expect(line).toContain(" flags=P ");
    expect(line).toContain(" sub=2 psub=1 ssub=1 ");
    expect(await other.text("CLIENT", "LIST", "TYPE", "normal")).not.toContain(`id=${id} `);
    expect(Number((await other.text("CLIENT", "KILL", "TYPE", "pubsub")).slice(1))).toBeGreaterThan(0);
    await client.untilClosed();
  });

  test("1,000 subscribers of one channel", async () => {
    const channel = rig.channelIn(2, "crowd");
    const clients = await Promise.all(Array.from({ length: 1000 }, (_, i) => rig.connect(i % 2)));
    await Promise.all(clients.map((client) => subscribe(client, "SUBSCRIBE", channel)));
    const publisher = await rig.connect(0);
    for (let i = 0; i < 20; i++) expect(await publisher.text("PUBLISH", channel, `m${i}`)).toBe(":501\r\n");
    const expected = Array.from({ length: 20 }, (_, i) => frame(2, "message", channel, `m${i}`));
    for (const client of clients) expect(await next(client, 20)).toEqual(expected);
    for (const client of clients) client.close();
  }, 30_000);
});

describe.each(TRANSPORTS.map((io) => ({ io })))("limits over $io", ({ io }) => {
  test("a subscriber that does not read is closed at the bound; the others get everything", async () => {
    const config = { client_output_bytes_max: 4 << 20 };
    const rig = await PubSubRig.start({ io, groups: 1, config });
    try {
      const [slow, quick] = [await rig.connect(), await rig.connect()];
      await subscribe(slow, "SUBSCRIBE", "c");
      await subscribe(quick, "SUBSCRIBE", "c");
      slow.pause();
      const publisher = await rig.connect();
      const body = "b".repeat(200_000);
      const before = await rig.rssBytes();
      const count = 150;
      let left = "";
      for (let i = 0; i < count; i++) {
        left = await publisher.text("PUBLISH", "c", body);
        expect(await next(quick)).toEqual([frame(2, "message", "c", body)]);
      }
      // Gone long before the end: the count no longer has it.
      expect(left).toBe(":1\r\n");
      expect((await rig.rssBytes()) - before).toBeLessThan(64 << 20);
    } finally {
      await rig.dispose();
    }
  }, 20_000);

  test("more subscribers than a turn's budget, long and short messages: whole and in order", async () => {
    const rig = await PubSubRig.start({ io, groups: 1 });
    try {
      const clients = await Promise.all(Array.from({ length: 1500 }, () => rig.connect()));
      await Promise.all(clients.map((client) => subscribe(client, "SUBSCRIBE", "crowd")));
      const publisher = await rig.connect();
      const bodies = ["first", "x".repeat(20_000), "", "last"];
      for (const body of bodies) publisher.write(encodeRequest(["PUBLISH", "crowd", body]));
      expect(await next(publisher, bodies.length)).toEqual(bodies.map(() => ":1500\r\n"));
      const expected = bodies.map((body) => frame(2, "message", "crowd", body));
      for (const client of clients) expect(await next(client, bodies.length)).toEqual(expected);
    } finally {
      await rig.dispose();
    }
  }, 30_000);

  test("a message of 20 MiB, to RESP2 and RESP3, from servers with a password", async () => {
    const config = { server_password: "secret" };
    const rig = await PubSubRig.start({ io, groups: 2, config, serverArgs: ["--requirepass", "secret"] });
    try {
      const channel = rig.channelIn(1);
      const clients = [await rig.connect(0, 2), await rig.connect(0, 3)];
      for (const client of clients) await subscribe(client, "SUBSCRIBE", channel);
      const body = "0123456789abcdef".repeat((20 << 20) / 16);
      const publisher = await rig.connect();
      for (const text of ["before", body, "after"])
        expect(await publisher.text("PUBLISH", channel, text)).toBe(":2\r\n");
      for (const [i, client] of clients.entries()) {
        const protocol = i === 0 ? 2 : 3;
        const got = await next(client, 3);
        const expected = ["before", body, "after"].map((text) => frame(protocol, "message", channel, text));
        expect(got.map((text, k) => text === expected[k])).toEqual([true, true, true]);
      }
    } finally {
      await rig.dispose();
    }
  }, 30_000);

  test("subscribe_at = all-groups: what scripts publish is heard too", async () => {
    const rig = await PubSubRig.start({ io, config: { subscribe_at: "all-groups" } });
    try {
      const channel = rig.channelIn(1);
      const client = await rig.connect();
      await subscribe(client, "SUBSCRIBE", channel);
      const worker = await rig.connect();
      const script = "return redis.call('publish', ARGV[1], KEYS[1])";
      for (const group of [0, 1, 2]) {
        const key = rig.channelIn(group, "key");
        expect(await worker.text("EVAL", script, "1", key, channel)).toBe(":1\r\n");
        expect(await next(client)).toEqual([frame(2, "message", channel, key)]);
      }
      expect(await worker.text("PUBLISH", channel, "plain")).toBe(":1\r\n");
      expect(await next(client)).toEqual([frame(2, "message", channel, "plain")]);
      expect(await untilPong(client)).toEqual([]);
    } finally {
      await rig.dispose();
    }
  });

  test("PUBSUB NUMSUB and CLIENT LIST see the subscribers of all workers of a proxy", async () => {
    const rig = await PubSubRig.start({ io, workers: 2, peers: true });
    try {
      const channel = rig.channelIn(2);
      for (let i = 0; i < 5; i++) await subscribe(await rig.connect(i % 2), "SUBSCRIBE", channel);
      const asker = await rig.connect(1);
      const expected = `*4\r\n$${channel.length}\r\n${channel}\r\n:5\r\n$4\r\nnone\r\n:0\r\n`;
      expect(await asker.text("PUBSUB", "NUMSUB", channel, "none")).toBe(expected);
      expect(await asker.text("PUBSUB", "CHANNELS")).toBe(`*1\r\n$${channel.length}\r\n${channel}\r\n`);
      const lines = (await asker.text("CLIENT", "LIST", "TYPE", "pubsub")).split("\n");
      expect(lines.filter((line) => line.includes(" flags=P "))).toHaveLength(5);
    } finally {
      await rig.dispose();
    }
  });
});
