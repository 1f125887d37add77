/** Reads from replicas: who answers, and that no session ever sees less than it has seen before. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { ClusterMap } from "../../src/topology/cluster-map.ts";
import { mapOf, Rig, type Transport, TRANSPORTS } from "../robustness/rig.ts";
import { RedisProcess } from "../support/redis-process.ts";
import { RespClient } from "../support/resp-client.ts";
import { until } from "../support/until.ts";

/** Two groups; the first has two replicas, the second one. */
class ReplicaRig {
  readonly primaries: RedisProcess[] = [];
  readonly replicas: RedisProcess[] = [];
  rig!: Rig;
  #version = 1;

  static async start(io: Transport): Promise<ReplicaRig> {
    const made = new ReplicaRig();
    for (let i = 0; i < 2; i++) made.primaries.push(await RedisProcess.start());
    for (const primary of [made.primaries[0], made.primaries[0], made.primaries[1]]) {
      const replica = await RedisProcess.start();
      made.replicas.push(replica);
      await replica.command("REPLICAOF", "127.0.0.1", String(primary.port));
    }
    for (const replica of made.replicas)
      await until(
        async () => String(await replica.command("INFO", "replication")).includes("link_status:up"),
        "in sync",
      );
    made.rig = await Rig.start(made.primaries, io);
    return made;
  }

  /** Puts a map with these options in force. */
  async use(options: ClusterMap["options"]): Promise<void> {
    const map = mapOf(
      this.primaries.map(({ addr }) => addr),
      ++this.#version,
    );
    const [a, b, c] = this.replicas.map(({ addr }) => addr);
    const groups = map.groups.map((group, i) => ({ ...group, replicas: i === 0 ? [a, b] : [c] }));
    this.rig.sendMap({ ...map, groups, options });
    await until(() => this.rig.acks.includes(this.#version), "the map is in force");
  }

  client(): Promise<RespClient> {
    return RespClient.connect(this.rig.port);
  }

  /** Calls of a command that a server has counted. */
  async calls(server: RedisProcess, command: string): Promise<number> {
    const stats = String(await server.command("INFO", "commandstats"));
    return Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0);
  }

  async dispose(): Promise<void> {
    await this.rig.dispose();
    for (const server of [...this.replicas, ...this.primaries]) {
      server.signal("SIGCONT");
      await server.dispose();
    }
  }
}

const text = async (client: RespClient, ...words: string[]): Promise<string> =>
  (await client.command(...words)).toString("latin1");
const bulk = (value: string | number): string => `$${String(value).length}\r\n${value}\r\n`;

describe.each([...TRANSPORTS])("%s", (io) => {
  let rig: ReplicaRig;
  beforeAll(async () => {
    rig = await ReplicaRig.start(io);
  });
  afterAll(() => rig.dispose());

  test("reads go to replicas, writes and what belongs to them to the primary", async () => {
    await rig.use({ read_from: "replica" });
    const client = await rig.client();
    const key = rig.rig.keyIn(0);
    const before = await rig.calls(rig.primaries[0], "get");
    expect(await text(client, "SET", key, "v")).toBe("+OK\r\n");
    for (let i = 0; i < 20; i++) expect(await text(client, "GET", key)).toBe(bulk("v"));
    expect(await rig.calls(rig.primaries[0], "get")).toBe(before);
    const answered = await Promise.all(rig.replicas.map((replica) => rig.calls(replica, "get")));
    expect(answered[0] + answered[1]).toBeGreaterThanOrEqual(20);
    // A transaction is the primary's, also when it only reads.
    await client.command("MULTI");
    await client.command("GET", key);
    expect(await text(client, "EXEC")).toBe(`*1\r\n${bulk("v")}`);
    expect(await rig.calls(rig.primaries[0], "get")).toBe(before + 1);
    client.close();
  });

  test("keys of several groups come from the replicas of each", async () => {
    await rig.use({ read_from: "replica" });
    const client = await rig.client();
    const [a, b] = [rig.rig.keyIn(0, "m"), rig.rig.keyIn(1, "m")];
    await client.command("MSET", a, "1", b, "2");
    const before = await rig.calls(rig.primaries[1], "mget");
    expect(await text(client, "MGET", a, b, a)).toBe(`*3\r\n${bulk(1)}${bulk(2)}${bulk(1)}`);
    expect(await rig.calls(rig.primaries[1], "mget")).toBe(before);
    expect(await rig.calls(rig.replicas[2], "mget")).toBeGreaterThan(0);
    client.close();
  });

  test("in other databases and in RESP3 too", async () => {
    await rig.use({ read_from: "replica" });
    const client = await rig.client();
    const key = rig.rig.keyIn(0, "db");
    await client.command("HELLO", "3");
    await client.command("SELECT", "7");
    await client.command("HSET", key, "f", "v");
    expect(await text(client, "HGETALL", key)).toBe(`%1\r\n${bulk("f")}${bulk("v")}`);
    await client.command("SELECT", "0");
    expect(await text(client, "EXISTS", key)).toBe(":0\r\n");
    client.close();
  });

  test.each(["replica", "prefer-replica", "nearest"])(
    "L13: %s: a session reads its own writes",
    async (read_from) => {
      await rig.use({ read_from });
      const sessions = await Promise.all(Array.from({ length: 6 }, () => rig.client()));
      await Promise.all(
        sessions.map(async (client, n) => {
          const key = rig.rig.keyIn(0, `own:${n}`);
          for (let i = 0; i < 60; i++) {
            // Both ways: the read behind the write's reply, and in one pipeline with it.
            if (i % 2 === 0) expect(await text(client, "SET", key, String(i))).toBe("+OK\r\n");
            else void client.command("SET", key, String(i));
            expect(await text(client, "GET", key)).toBe(bulk(i));
          }
          client.close();
        }),
      );
    },
  );
});

describe("when replicas come and go", () => {
  let rig: ReplicaRig;
  beforeAll(async () => {
    rig = await ReplicaRig.start(TRANSPORTS[0]);
  });
  afterAll(() => rig.dispose());

  test("connections of one request each, one after the other, are answered by replicas too", async () => {
    await rig.use({ read_from: "prefer-replica" });
    const key = rig.rig.keyIn(0, "brief");
    for (let i = 0; i < 2; i++) {
      let before = -1;
      // Later than any sample of offsets that a first connection has caused.
      const untilMs = performance.now() + 1000 * i;
      await until(async () => {
        before = await rig.calls(rig.primaries[0], "get");
        const client = await rig.client();
        await client.command("GET", key);
        client.close();
        return performance.now() > untilMs && (await rig.calls(rig.primaries[0], "get")) === before;
      }, "a replica answers");
    }
  });

  test("the primary answers when no replica can, unless only replicas may", async () => {
    await rig.use({ read_from: "prefer-replica" });
    const client = await rig.client();
    const key = rig.rig.keyIn(1, "lone");
    await client.command("SET", key, "v");
    rig.replicas[2].signal("SIGSTOP");
    try {
      await until(async () => (await text(client, "GET", key)) === bulk("v"), "the primary answers");
      const before = await rig.calls(rig.primaries[1], "get");
      await until(async () => {
        await client.command("GET", key);
        return (await rig.calls(rig.primaries[1], "get")) > before;
      }, "reads go to the primary");
      await rig.use({ read_from: "replica" });
      await until(
        async () => (await text(client, "GET", key)).startsWith("-ERR No replica of group g2 can be read"),
        "the error says so",
      );
    } finally {
      rig.replicas[2].signal("SIGCONT");
    }
    await until(async () => (await text(client, "GET", key)) === bulk("v"), "it can be read again");
    client.close();
  }, 30_000);

  test("max_staleness_ms bounds the age; without it replicas answer while the primary hangs", async () => {
    await rig.use({ read_from: "replica" });
    const client = await rig.client();
    const key = rig.rig.keyIn(1, "age");
    await client.command("SET", key, "v");
    expect(await text(client, "GET", key)).toBe(bulk("v"));
    rig.primaries[1].signal("SIGSTOP");
    try {
      expect(await text(client, "GET", key)).toBe(bulk("v"));
      await rig.use({ read_from: "replica", max_staleness_ms: 300 });
      await until(
        async () => (await text(client, "GET", key)).startsWith("-ERR No replica"),
        "it is too old",
      );
    } finally {
      rig.primaries[1].signal("SIGCONT");
    }
    await until(async () => (await text(client, "GET", key)) === bulk("v"), "it is fresh again");
    client.close();
  }, 30_000);

  test("READONLY and READWRITE are about one connection", async () => {
    await rig.use({});
    const [reader, other] = [await rig.client(), await rig.client()];
    const key = rig.rig.keyIn(0, "said");
    await other.command("SET", key, "v");
    expect(await text(reader, "READONLY")).toBe("+OK\r\n");
    const before = await rig.calls(rig.primaries[0], "get");
    const ofReplicas = async (): Promise<number> =>
      (await rig.calls(rig.replicas[0], "get")) + (await rig.calls(rig.replicas[1], "get"));
    const answered = await ofReplicas();
    await until(async () => {
      expect(await text(reader, "GET", key)).toBe(bulk("v"));
      return (await ofReplicas()) > answered;
    }, "a replica answers");
    expect(await text(other, "GET", key)).toBe(bulk("v"));
    expect(await rig.calls(rig.primaries[0], "get")).toBeGreaterThan(before);
    expect(await text(reader, "READWRITE")).toBe("+OK\r\n");
    const then = await ofReplicas();
    for (let i = 0; i < 10; i++) await reader.command("GET", key);
    expect(await ofReplicas()).toBe(then);
    reader.close();
    other.close();
  });
});
