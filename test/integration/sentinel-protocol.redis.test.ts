/**
 * The Sentinel face of the controllers: real Sentinel clients find their way by it, through the death of a
 * primary and of a proxy, and it answers as a real redis-sentinel does.
 *
 *   shoal up (controller c1, two proxies, g1 and g2) + c2, which follows
 *   clients ──Sentinel protocol──▶ c1, c2 ──▶ "shoal": a proxy   "g1": the primary of g1
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ClusterStatus } from "../../src/contract/schemas.ts";
import { RedisProcess, freePort } from "../support/redis-process.ts";
import { type ReplyTree, RespClient, decodeReplyTree, encodeRequest } from "../support/resp-client.ts";
import { until } from "../support/until.ts";
import { ControllerProcess } from "./failover-rig.ts";
import { membersOf } from "./fleet-rig.ts";
import { UpRig } from "./up-rig.ts";

setDefaultTimeout(60_000);

const SCRIPTS = join(import.meta.dir, "../clients/scripts");
const NEW_PYTHON = join(import.meta.dir, "../../node_modules/.python");

let rig: UpRig;
let second: ControllerProcess;
/** Of c1 and c2. */
let ports: [number, number];
const children: ChildProcess[] = [];
const clients: RespClient[] = [];

beforeAll(async () => {
  rig = await UpRig.create();
  ports = [await freePort(), await freePort()];
  const outcome = await rig.run("up", "--detach", ...rig.small, "--sentinel-port", String(ports[0]));
  if (outcome.status !== 0) throw new Error(outcome.err);
  second = new ControllerProcess(rig.folder, "c2", await freePort());
  await second.configure({
    store: { kind: "sqlite", path: join(rig.dir, "controller", "shoal.db") },
    cluster: { name: "shoal" },
    sentinel_listen: `127.0.0.1:${ports[1]}`,
  });
  await second.start();
});

afterAll(async () => {
  for (const child of children) child.kill("SIGKILL");
  for (const client of clients) client.close();
  await second.kill();
  await rig.run("down");
  rig.cleanUp();
});

async function status(): Promise<ClusterStatus> {
  return second.status();
}

async function connect(port: number): Promise<RespClient> {
  const client = await RespClient.connect(port);
  clients.push(client);
  return client;
}

/** What a face says that `name` stands for, as "host:port"; null for nothing. */
async function masterAt(port: number, name: string): Promise<string | null> {
  const client = await connect(port);
  const { items } = decodeReplyTree(await client.command("SENTINEL", "get-master-addr-by-name", name));
  client.close();
  return items.length === 2 ? `${items[0].text}:${items[1].text}` : null;
}

/** Fields of a reply, by name. */
async function fieldsOf(client: RespClient, ...words: string[]): Promise<Record<string, string>> {
  return toRecord(decodeReplyTree(await client.command(...words)));
}

function toRecord(tree: ReplyTree): Record<string, string> {
  return Object.fromEntries([...membersOf(tree)].map(([name, value]) => [name, value.text]));
}

/** Collects what a face publishes. */
async function listen(port: number): Promise<string[]> {
  const client = await connect(port);
  await client.command("PSUBSCRIBE", "*");
  const heard: string[] = [];
  const go = async (): Promise<void> => {
    for (;;) {
      const { items } = decodeReplyTree(await client.reply());
      heard.push(`${items[2].text} ${items[3].text}`);
      if (client.closed) return;
    }
  };
  // Without a message for ten seconds a reply is given up, and so is the connection at the end.
  const again = (): Promise<void> => go().catch(() => (client.closed ? undefined : again()));
  void again();
  return heard;
}

/** A client library at work. */
class ClientScript {
  readonly name: string;
  #output = "";

  constructor(command: readonly string[], master: string) {
    this.name = `${command.join(" ")} on ${master}`;
    const [program, ...args] = command;
    const child = spawn(program, [...args, master, ...ports.map(String)], {
      cwd: SCRIPTS,
      stdio: ["pipe", "pipe", "inherit"],
    });
    children.push(child);
    child.stdout.on("data", (bytes) => (this.#output += String(bytes)));
  }

  /** Of the servers that it has reached, one after the other. */
  get ports(): number[] {
    return this.#output.split("\n").slice(0, -1).map(Number);
  }

  reaches(port: number): Promise<void> {
    const reached = (): boolean => this.ports.at(-1) === port;
    return until(reached, `${this.name} reaches ${port}`, 20_000).catch((error) => {
      throw new Error(`${this.name} was at ${this.ports.join(", ")}`, { cause: error });
    });
  }
}

/** Those libraries that are here; with CI=true all of them have to be. */
function libraries(): string[][] {
  const newest = ["env", `PYTHONPATH=${NEW_PYTHON}`, "python3"];
  const wanted: Array<[probe: string[], command: string[], optional?: boolean]> = [
    [
      ["node", "-e", 'require.resolve("ioredis")'],
      ["node", "sentinel-ioredis.mjs"],
    ],
    [
      ["node", "-e", 'require.resolve("redis")'],
      ["node", "sentinel-node-redis.mjs"],
    ],
    [
      ["/usr/bin/python3", "-c", "import redis"],
      ["/usr/bin/python3", "sentinel-redis-py.py"],
    ],
    [[...newest, "-c", "import redis.cache"], [...newest, "sentinel-redis-py.py"], true],
  ];
  return wanted.flatMap(([[program, ...args], command, optional = false]) => {
    if (spawnSync(program, args, { cwd: SCRIPTS }).status === 0) return [command];
    if (process.env["CI"] === "true" && !optional) throw new Error(`${command.join(" ")} cannot run`);
    return [];
  });
}

describe("Sentinel clients", () => {
  let proxyPort = 0;
  let onCluster: ClientScript[];
  let onGroup: ClientScript[];

  beforeAll(async () => {
    await until(async () => (await masterAt(ports[1], "shoal")) !== null, "c2 knows the proxies");
    const found = libraries();
    onCluster = found.map((command) => new ClientScript(command, "shoal"));
    onGroup = found.map((command) => new ClientScript(command, "g1"));
  });

  test("the cluster's name is a proxy, a group's its primary; every controller says the same", async () => {
    const primary = (await status()).groups[0].primary.addr;
    const proxy = (await masterAt(ports[0], "shoal")) as string;
    proxyPort = Number(proxy.split(":")[1]);
    expect([rig.port, rig.port + 1]).toContain(proxyPort);
    expect(await masterAt(ports[1], "shoal")).toBe(proxy);
    for (const port of ports) {
      expect(await masterAt(port, "g1")).toBe(primary);
      expect(await masterAt(port, "nobody")).toBeNull();
    }
    const face = await connect(ports[1]);
    const other = rig.port + rig.port + 1 - proxyPort;
    const [replica] = decodeReplyTree(await face.command("SENTINEL", "replicas", "shoal")).items;
    expect(toRecord(replica)).toMatchObject({
      port: String(other),
      flags: "slave",
      "master-port": proxy.split(":")[1],
    });
    await until(async () => {
      const found = decodeReplyTree(await face.command("SENTINEL", "sentinels", "g1")).items.map(toRecord);
      return found.length === 1 && found[0]["port"] === String(ports[0]) && found[0]["flags"] === "sentinel";
    }, "c2 names c1's face");
    expect(await face.text("SENTINEL", "ckquorum", "g1")).toMatch(/^\+OK \d+ usable Sentinels\. Quorum/);
  });

  test("ioredis, node-redis, redis-py and redis-cli reach both", async () => {
    const primary = Number((await status()).groups[0].primary.addr.split(":")[1]);
    for (const script of onCluster) await script.reaches(proxyPort);
    for (const script of onGroup) await script.reaches(primary);
    const cli = spawnSync("redis-cli", ["-p", String(ports[0]), "SENTINEL", "get-master-addr-by-name", "g1"]);
    expect(String(cli.stdout)).toBe(`127.0.0.1\n${primary}\n`);
  });

  test("a primary dies: every controller says +switch-master, and the clients follow", async () => {
    const { primary, replicas } = (await status()).groups[0];
    const heard = await Promise.all(ports.map(listen));
    process.kill(primary.pid as number, "SIGKILL");
    const [from, to] = [primary.addr, replicas[0].addr].map((addr) => addr.replace(":", " "));
    for (const [i, messages] of heard.entries()) {
      await until(() => messages.includes(`+switch-master g1 ${from} ${to}`), `c${i + 1} tells it`, 15_000);
      expect(messages.filter((text) => text.startsWith("+switch-master"))).toHaveLength(1);
      const order = [`+sdown master g1 ${from}`, `+switch-master g1 ${from} ${to}`];
      // Who has looked too late to see it down says the end only.
      const told = messages.filter((text) => order.includes(text));
      expect(told).toEqual(order.slice(-told.length));
      expect(messages).toContain(`+slave slave ${primary.addr} ${from} @ g1 ${to}`);
      expect(await masterAt(ports[i], "g1")).toBe(replicas[0].addr);
    }
    for (const script of onGroup) await script.reaches(Number(to.split(" ")[1]));
    // Nobody who uses the cluster has noticed: its proxies have held the requests.
    for (const script of onCluster) expect(script.ports).toEqual([proxyPort]);
    const face = await connect(ports[1]);
    await until(async () => {
      const [old] = decodeReplyTree(await face.command("SENTINEL", "replicas", "g1")).items;
      return toRecord(old)["flags"] === "slave,s_down";
    }, "the old primary is a replica that is down");
  });

  test("a proxy dies: the cluster's name is the other one, and the clients are there", async () => {
    const heard = await Promise.all(ports.map(listen));
    const other = rig.port + rig.port + 1 - proxyPort;
    // It would start the proxy again, before anybody has missed it.
    process.kill(rig.record()?.supervisor.pid as number, "SIGKILL");
    const proxy = (await status()).proxies.find(({ addr }) => addr.endsWith(`:${proxyPort}`));
    process.kill(proxy?.pid as number, "SIGKILL");
    const text = `+switch-master shoal 127.0.0.1 ${proxyPort} 127.0.0.1 ${other}`;
    for (const [i, messages] of heard.entries()) {
      await until(() => messages.includes(text), `c${i + 1} tells it`, 15_000);
      expect(messages).toContain(
        `+slave slave 127.0.0.1:${proxyPort} 127.0.0.1 ${proxyPort} @ shoal 127.0.0.1 ${other}`,
      );
    }
    for (const script of onCluster) await script.reaches(other);
  });
});

describe("beside a real redis-sentinel", () => {
  let servers: RedisProcess[];
  let folder: string;
  let real: ChildProcess;
  let realPort: number;

  beforeAll(async () => {
    servers = await Promise.all([RedisProcess.start(), RedisProcess.start()]);
    const [{ port }, replica] = servers;
    await replica.command("REPLICAOF", "127.0.0.1", String(port));
    // redis-sentinel asks its master for replicas at once, and then only after ten seconds.
    const online = async (): Promise<boolean> =>
      String(await servers[0].command("INFO", "replication")).includes("state=online");
    await until(online, "the replica follows");
    realPort = await freePort();
    folder = mkdtempSync(join(tmpdir(), "shoal-sentinel-"));
    const file = join(folder, "sentinel.conf");
    writeFileSync(file, `port ${realPort}\ndir ${folder}\nsentinel monitor g2 127.0.0.1 ${port} 1\n`);
    real = spawn("redis-sentinel", [file], { stdio: "ignore" });
    await until(
      async () => {
        const client = await RespClient.connect(realPort);
        const fields = await fieldsOf(client, "SENTINEL", "master", "g2").finally(() => client.close());
        return fields["num-slaves"] === "1";
      },
      "redis-sentinel has found the replica",
      20_000,
    );
  });

  afterAll(async () => {
    real.kill("SIGKILL");
    await Promise.all(servers.map((server) => server.dispose()));
    rmSync(folder, { recursive: true, force: true });
  });

  /** What both answer with the same bytes. */
  const SAME: readonly (readonly string[])[] = [
    ["PING"],
    ["PING", "x"],
    ["PING", "a", "b"],
    ["GET", "a"],
    ["SELECT", "1"],
    ["CLUSTER", "INFO"],
    ["CONFIG", "GET", "*"],
    ["AUTH", "x"],
    ["AUTH", "default", "x"],
    ["AUTH", "a", "b"],
    ["HELLO", "4"],
    ["HELLO", "x"],
    ["HELLO", "3", "AUTH", "a", "b"],
    ["HELLO", "3", "SETNAME"],
    ["PUBLISH", "a", "b"],
    ["CLIENT", "GETNAME"],
    ["CLIENT", "SETNAME", "a b"],
    ["CLIENT", "SETNAME", "me"],
    ["CLIENT", "NOPE"],
    ["SENTINEL"],
    ["SENTINEL", "nope"],
    ["SENTINEL", "masters", "x"],
    ["SENTINEL", "get-master-addr-by-name"],
    ["SENTINEL", "get-master-addr-by-name", "nope"],
    ["SENTINEL", "master", "nope"],
    ["SENTINEL", "replicas", "nope"],
    ["SENTINEL", "slaves", "nope"],
    ["SENTINEL", "sentinels", "nope"],
    ["SENTINEL", "ckquorum", "nope"],
    ["SENTINEL", "pending-scripts"],
    ["SENTINEL", "is-master-down-by-addr", "127.0.0.1", "1", "0", "*"],
    ["SENTINEL", "is-master-down-by-addr", "127.0.0.1", "x", "0", "*"],
    ["SUBSCRIBE"],
    ["SUBSCRIBE", "a", "b"],
    ["PSUBSCRIBE", "c*"],
    ["PING"],
    ["PING", "y"],
    ["SENTINEL", "myid"],
    ["UNSUBSCRIBE", "a"],
    ["PUNSUBSCRIBE"],
    ["UNSUBSCRIBE"],
    ["UNSUBSCRIBE"],
  ];

  test.each(["2", "3"])(
    "RESP%s: the same answers to what does not depend on the cluster",
    async (protocol) => {
      const [ours, theirs] = await Promise.all([connect(ports[1]), connect(realPort)]);
      for (const client of [ours, theirs]) await client.command("HELLO", protocol);
      for (const words of SAME) {
        // In RESP3 a subscriber may ask anything; an id is one's own.
        if (protocol === "3" && words[1] === "myid") continue;
        const count = words[0].endsWith("SUBSCRIBE") && words.length > 2 ? words.length - 1 : 1;
        for (const client of [ours, theirs]) client.write(encodeRequest(words));
        const [a, b] = await Promise.all([ours.replies(count), theirs.replies(count)]);
        expect([words, a.map(String)]).toEqual([words, b.map(String)]);
      }
    },
  );

  test.each(["2", "3"])("RESP%s: the same fields in the same order", async (protocol) => {
    const [ours, theirs] = await Promise.all([connect(ports[1]), connect(realPort)]);
    for (const client of [ours, theirs]) await client.command("HELLO", protocol);
    const shapeOf = (tree: ReplyTree): unknown => [tree.type, [...membersOf(tree).keys()]];
    const both = (...words: string[]): Promise<ReplyTree[]> =>
      Promise.all([ours, theirs].map(async (client) => decodeReplyTree(await client.command(...words))));
    const [master, realMaster] = await both("SENTINEL", "master", "g2");
    expect(shapeOf(master)).toEqual(shapeOf(realMaster));
    const [hello, realHello] = await both("HELLO", protocol);
    expect(shapeOf(hello)).toEqual(shapeOf(realHello));
    for (const word of ["replicas", "slaves"]) {
      const [list, realList] = await both("SENTINEL", word, "g2");
      expect([list.type, shapeOf(list.items[0])]).toEqual([realList.type, shapeOf(realList.items[0])]);
    }
    const [role, realRole] = await both("ROLE");
    expect([role.type, role.items[0], role.items[1].type]).toEqual([
      realRole.type,
      realRole.items[0],
      realRole.items[1].type,
    ]);
    const [info, realInfo] = await both("INFO", "sentinel");
    const linesOf = (tree: ReplyTree): string[] => tree.text.replace(/^txt:/, "").match(/^\w+(?=:)/gm) ?? [];
    const known = linesOf(info).filter((line) => !/^master[12]$/.test(line));
    expect([info.type, known]).toEqual([realInfo.type, linesOf(realInfo)]);
  });
});
