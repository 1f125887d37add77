/** Client libraries, unchanged and with their default settings, publish and subscribe through two proxies. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { spawn, spawnSync } from "node:child_process";
import Redis from "ioredis";
import { createClient } from "redis";
import { TRANSPORTS } from "../support/proxy-process.ts";
import { until } from "../support/until.ts";
import { PubSubRig } from "./pubsub-rig.ts";

setDefaultTimeout(30_000);

/** Debian's package is for Debian's Python, which need not be the first on the PATH. */
const PYTHON = ["python3", "/usr/bin/python3"].find(
  (python) => spawnSync(python, ["-c", "import redis"]).status === 0,
);

const REDIS_PY = `
import sys, time, redis
here = redis.Redis(port=int(sys.argv[1]), decode_responses=True)
there = redis.Redis(port=int(sys.argv[2]), decode_responses=True)
p = here.pubsub()
p.subscribe("py:a", "py:b", **{"py:c": lambda message: handled.append(message["data"])})
p.psubscribe("py:*")
handled = []
def take(count):
    got = []
    while len(got) < count:
        message = p.get_message(timeout=5)
        if message is None and handled: got.append(("handled", handled.pop()))
        elif message is not None: got.append((message["type"], message["channel"], message["data"]))
    return got
assert [kind for kind, _, _ in take(4)] == ["subscribe"] * 3 + ["psubscribe"]
assert there.publish("py:a", "one") == 2
assert sorted(take(2)) == [("message", "py:a", "one"), ("pmessage", "py:a", "one")]
assert here.publish("py:c", "two") == 2
assert sorted(take(2)) == [("handled", "two"), ("pmessage", "py:c", "two")]
pipe = there.pipeline()
pipe.set("py:key", 1); pipe.publish("py:b", "three"); pipe.get("py:key")
assert pipe.execute() == [True, 2, "1"]
assert sorted(take(2)) == [("message", "py:b", "three"), ("pmessage", "py:b", "three")]
assert dict(there.pubsub_numsub("py:a", "py:none")) == {"py:a": 1, "py:none": 0}
assert set(there.pubsub_channels("py:*")) == {"py:a", "py:b", "py:c"}
assert there.pubsub_numpat() == 1
p.unsubscribe(); p.punsubscribe()
take(4)
assert there.publish("py:a", "none") == 0
p.close()
`;

describe.each(TRANSPORTS.map((io) => ({ io })))("libraries over $io", ({ io }) => {
  let rig: PubSubRig;
  beforeAll(async () => {
    rig = await PubSubRig.start({ io, workers: 2 });
  });
  afterAll(() => rig.dispose());

  test("ioredis: messages, patterns, shard channels, resubscribing by itself", async () => {
    const listener = new Redis(rig.port(0), "127.0.0.1");
    const publisher = new Redis(rig.port(1), "127.0.0.1");
    const got: string[] = [];
    listener.on("message", (channel: string, text: string) => got.push(`${channel} ${text}`));
    listener.on("pmessage", (pattern: string, channel: string, text: string) =>
      got.push(`${pattern} ${channel} ${text}`),
    );
    listener.on("smessage", (channel: string, text: string) => got.push(`shard ${channel} ${text}`));
    expect(await listener.subscribe("io:1", "io:2")).toBe(2);
    expect(await listener.psubscribe("io:*")).toBe(3);
    await listener.ssubscribe("io:s");
    expect(await publisher.publish("io:1", "a")).toBe(2);
    expect(await publisher.publish("io:3", "b")).toBe(1);
    expect(await publisher.spublish("io:s", "c")).toBe(1);
    const expected = ["io:* io:1 a", "io:* io:3 b", "io:1 a", "shard io:s c"];
    await until(() => got.length >= expected.length, "all has come");
    expect(got.toSorted()).toEqual(expected);
    // The library's own answer to a lost connection: it subscribes again.
    const again = new Promise((resolve) => listener.once("ready", resolve));
    listener.stream.destroy();
    await again;
    await until(async () => (await publisher.publish("io:2", "d")) === 2, "subscribed again");
    await until(() => got.includes("io:2 d"), "the message has come");
    const exec = await publisher.multi().set("io:key", "v").publish("io:1", "e").get("io:key").exec();
    expect(exec?.map(([, value]) => value)).toEqual(["OK", 2, "v"]);
    await until(() => got.includes("io:1 e"), "the message has come");
    expect(await listener.unsubscribe("io:1")).toBe(2);
    expect(await publisher.publish("io:1", "f")).toBe(1);
    listener.disconnect();
    publisher.disconnect();
  });

  test("node-redis: one RESP3 connection that listens and works", async () => {
    const client = createClient({ RESP: 3, socket: { host: "127.0.0.1", port: rig.port(0) } });
    const publisher = createClient({ socket: { host: "127.0.0.1", port: rig.port(1) } });
    await Promise.all([client.connect(), publisher.connect()]);
    const got: string[] = [];
    await client.subscribe(["nr:1", "nr:2"], (text, channel) => got.push(`${channel} ${text}`));
    await client.pSubscribe("nr:*", (text, channel) => got.push(`pattern ${channel} ${text}`));
    await client.sSubscribe("nr:s", (text, channel) => got.push(`shard ${channel} ${text}`));
    for (let i = 0; i < 100; i++) {
      await Promise.all([
        client.set(`nr:key:${i}`, `${i}`),
        publisher.publish("nr:1", `${i}`),
        client.publish("nr:2", `${i}`),
      ]);
      expect(await client.get(`nr:key:${i}`)).toBe(`${i}`);
    }
    await publisher.sPublish("nr:s", "x");
    await until(() => got.length >= 401, "all has come");
    for (const prefix of ["nr:1 ", "nr:2 ", "pattern nr:1 ", "pattern nr:2 "]) {
      const mine = got.filter((line) => line.startsWith(prefix));
      expect(mine).toEqual(Array.from({ length: 100 }, (_, i) => `${prefix}${i}`));
    }
    expect(got).toContain("shard nr:s x");
    await client.unsubscribe();
    await client.pUnsubscribe();
    expect(await publisher.publish("nr:1", "none")).toBe(0);
    expect(await client.ping()).toBe("PONG");
    client.destroy();
    publisher.destroy();
  });

  test.skipIf(PYTHON === undefined)("redis-py", async () => {
    const child = spawn(PYTHON as string, ["-c", REDIS_PY, String(rig.port(0)), String(rig.port(1))]);
    let output = "";
    child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
    const code = await new Promise((resolve) => child.on("exit", resolve));
    expect({ code, output }).toEqual({ code: 0, output: "" });
  });
});
