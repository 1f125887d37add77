/**
 * Workers over the same redis-servers, each on a port of its own, with the test in their master's place: it
 * hands out maps and passes questions between workers of one proxy.
 *
 *   test ─▶ RespClient ─▶ worker 0 ─┬─▶ g1, g2, g3
 *        ─▶ RespClient ─▶ worker 1 ─┘
 */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import type { WorkerMessage } from "../../src/proxy/master/worker-messages.ts";
import { parseProxyConfig } from "../../src/proxy/proxy-config.ts";
import { slotOf } from "../../src/routing/slot-of.ts";
import type { ClusterMap } from "../../src/topology/cluster-map.ts";
import { type ConfigOverrides, evenMap } from "../support/proxy-process.ts";
import { freePort, RedisProcess } from "../support/redis-process.ts";
import { RespClient } from "../support/resp-client.ts";
import { until } from "../support/until.ts";

const WORKER = join(import.meta.dir, "../../src/apps/worker.ts");

interface RigOptions {
  readonly io: string;
  readonly groups?: number;
  readonly workers?: number;
  /** Whether the workers are of one proxy and know of each other. */
  readonly peers?: boolean;
  readonly config?: ConfigOverrides;
  /** As on redis-server's command line. */
  readonly serverArgs?: readonly string[];
}

interface Worker {
  readonly child: ChildProcess;
  readonly port: number;
  /** What it has logged, one entry per line. */
  readonly log: Record<string, unknown>[];
  ready: boolean;
}

export class PubSubRig {
  readonly servers: readonly RedisProcess[];
  map: ClusterMap;
  readonly #workers: Worker[] = [];
  readonly #clients: RespClient[] = [];

  private constructor(servers: readonly RedisProcess[]) {
    this.servers = servers;
    this.map = evenMap(servers.map((server) => server.addr));
  }

  static async start({
    io,
    groups = 3,
    workers = 1,
    peers = false,
    config = {},
    serverArgs = [],
  }: RigOptions) {
    const servers = Array.from({ length: groups }, () => RedisProcess.start(serverArgs));
    const rig = new PubSubRig(await Promise.all(servers));
    for (let i = 0; i < workers; i++) await rig.#addWorker(i, io, peers ? workers : 1, config);
    return rig;
  }

  async #addWorker(index: number, io: string, workers: number, overrides: ConfigOverrides): Promise<void> {
    const port = await freePort();
    const values = { map_file: "given", log_level: "warn", listen: `127.0.0.1:${port}`, io, workers };
    const config = parseProxyConfig({ ...values, ...overrides }, { file: "test" });
    const child = spawn(process.execPath, [WORKER], { stdio: ["ignore", "pipe", "inherit", "ipc"] });
    const worker: Worker = { child, port, log: [], ready: false };
    let rest = "";
    child.stdout?.on("data", (chunk: Buffer) => {
      const lines = (rest + chunk.toString()).split("\n");
      rest = lines.pop() ?? "";
      worker.log.push(...lines.map((line) => JSON.parse(line) as Record<string, unknown>));
    });
    this.#workers.push(worker);
    child.on("message", (message: WorkerMessage) => this.#onMessage(worker, message));
    child.send({ type: "start", worker: workers > 1 ? index : 0, generation: 1, config, map: this.map });
    await until(() => worker.ready, "the worker listens");
  }

  readonly #asked = new Map<number, { asker: Worker; id: number; left: number; answers: unknown[] }>();
  #nextId = 1;

  #onMessage(worker: Worker, message: WorkerMessage): void {
    if (message.type === "ready") worker.ready = true;
    if (message.type === "ask") {
      const id = this.#nextId++;
      const others = this.#workers.filter((other) => other !== worker);
      this.#asked.set(id, { asker: worker, id: message.id, left: others.length, answers: [] });
      for (const other of others) other.child.send({ type: "ask", id, question: message.question });
    }
    if (message.type === "answer") {
      const asked = this.#asked.get(message.id);
      if (asked === undefined) return;
      asked.answers.push(message.answer);
      if (--asked.left > 0) return;
      asked.asker.child.send({ type: "answers", id: asked.id, answers: asked.answers, missing: [] });
    }
  }

  /** A connection to worker `index`, closed with the rig. */
  async connect(index = 0, protocol: 2 | 3 = 2): Promise<RespClient> {
    const client = await RespClient.connect(this.#workers[index].port);
    this.#clients.push(client);
    if (protocol === 3) await client.command("HELLO", "3");
    return client;
  }

  /** The log lines of worker `index` with this message. */
  logged(message: string, index = 0): Record<string, unknown>[] {
    return this.#workers[index].log.filter((line) => line["event"] === message);
  }

  port(index = 0): number {
    return this.#workers[index].port;
  }

  /** Puts the map with these changes in force everywhere. */
  sendMap(changes: Partial<ClusterMap>): void {
    this.map = { ...this.map, ...changes, version: this.map.version + 1 };
    for (const worker of this.#workers) worker.child.send({ type: "map", map: this.map });
  }

  slotOf(name: string): number {
    const bytes = Buffer.from(name, "latin1");
    return slotOf(bytes, 0, bytes.length, this.map.slots - 1);
  }

  groupOf(name: string): number {
    const slot = this.slotOf(name);
    const range = this.map.ranges.find((each) => each.from <= slot && slot <= each.to);
    return this.map.groups.findIndex((group) => group.id === range?.group);
  }

  /** A channel whose messages are published at group `index`. */
  channelIn(index: number, prefix = "ch"): string {
    for (let i = 0; ; i++) if (this.groupOf(`${prefix}:${i}`) === index) return `${prefix}:${i}`;
  }

  rssBytes(index = 0): Promise<number> {
    const pid = this.#workers[index].child.pid;
    return Bun.file(`/proc/${pid}/status`)
      .text()
      .then((text) => Number(/VmRSS:\s+(\d+)/.exec(text)?.[1] ?? 0) * 1024);
  }

  async dispose(): Promise<void> {
    for (const client of this.#clients) client.close();
    for (const { child } of this.#workers) {
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGKILL");
      await ended;
    }
    await Promise.all(this.servers.map((server) => server.dispose()));
  }
}

/** Encodes what a server sends: "*" arrays for RESP2, ">" pushes for RESP3; null and numbers as they are. */
export function frame(protocol: 2 | 3, ...words: readonly (string | number | null)[]): string {
  const items = words.map((word) => {
    if (word === null) return protocol === 3 ? "_\r\n" : "$-1\r\n";
    return typeof word === "number" ? `:${word}\r\n` : `$${word.length}\r\n${word}\r\n`;
  });
  return `${protocol === 3 ? ">" : "*"}${words.length}\r\n${items.join("")}`;
}

/** The next `count` replies and pushes as text. */
export async function next(client: RespClient, count = 1): Promise<string[]> {
  return (await client.replies(count)).map((raw) => raw.toString("latin1"));
}
