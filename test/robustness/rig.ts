/**
 * One worker process over real redis-servers, with the test in the master's place: it can hand out maps and
 * sees the acknowledgements.
 *
 *   test ─▶ RawClient ─▶ worker (src/apps/worker.ts) ─▶ redis-server × n
 *     └── IPC: start, map ─▶   ◀─ ready, ack, stats
 */
import { type Subprocess, spawn } from "bun";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { WorkerMessage } from "../../src/proxy/master/worker-messages.ts";
import type { ServerSight } from "../../src/proxy/upstream/server-sights.ts";
import { type ProxyConfig, parseProxyConfig } from "../../src/proxy/proxy-config.ts";
import { slotOf } from "../../src/routing/slot-of.ts";
import { type ClusterMap, evenRanges, type SlotRange } from "../../src/topology/cluster-map.ts";
import { freePort, RedisProcess } from "../support/redis-process.ts";
import { until } from "../support/until.ts";
import { RawClient } from "./raw-client.ts";

const WORKER = join(import.meta.dir, "../../src/apps/worker.ts");
const SLOTS = 1024;

/** Both transports, for `describe.each`. */
export const TRANSPORTS =
  process.platform === "linux" ? (["epoll", "portable"] as const) : (["portable"] as const);
export type Transport = (typeof TRANSPORTS)[number];

export type Settings = Partial<Record<keyof ProxyConfig, string | number>>;

/** The map in which the servers share the slots evenly, as groups g1, g2 … */
export function mapOf(servers: readonly string[], version = 1, term = 1, ranges?: SlotRange[]): ClusterMap {
  const groups = servers.map((primary, i) => ({ id: `g${i + 1}`, number: i + 1, primary, replicas: [] }));
  const shares =
    ranges ??
    evenRanges(
      SLOTS,
      groups.map((group) => group.id),
    );
  return { cluster: "rig", version, term, hash: "crc32", slots: SLOTS, groups, ranges: shares, options: {} };
}

export function slotOfKey(key: string): number {
  const bytes = Buffer.from(key, "latin1");
  return slotOf(bytes, 0, bytes.length, SLOTS - 1);
}

export class Rig {
  readonly servers: readonly RedisProcess[];
  readonly port: number;
  /** Map versions that the worker has acknowledged, in order. */
  readonly acks: number[] = [];
  counters: Readonly<Record<string, number>> = {};
  /** Calls by slot, as the worker samples them. */
  readonly slotCalls = new Map<number, number>();
  /** What the worker has told last of each server. */
  sights: readonly ServerSight[] = [];
  readonly #process: Subprocess;
  readonly #clients: RawClient[] = [];

  private constructor(servers: readonly RedisProcess[], config: ProxyConfig, map: ClusterMap, port: number) {
    this.servers = servers;
    this.port = port;
    this.#process = spawn([process.execPath, WORKER], {
      stdio: ["ignore", "inherit", "inherit"],
      ipc: (message) => this.#onMessage(message as WorkerMessage),
      serialization: "json",
    });
    this.#process.send({ type: "start", worker: 0, generation: 1, config, map });
  }

  #ready = false;
  #failure = "";

  #onMessage(message: WorkerMessage): void {
    if (message.type === "ready") this.#ready = true;
    else if (message.type === "ack") this.acks.push(message.version);
    else if (message.type === "stats") this.#onStats(message);
    else if (message.type === "servers") this.sights = message.servers;
    else if (message.type === "failed") this.#failure = message.message;
  }

  #onStats({ counters, slotCalls = [] }: Extract<WorkerMessage, { type: "stats" }>): void {
    this.counters = counters;
    for (let i = 0; i < slotCalls.length; i += 2)
      this.slotCalls.set(slotCalls[i], (this.slotCalls.get(slotCalls[i]) ?? 0) + slotCalls[i + 1]);
  }

  /** Starts a worker over `servers`, which stay the caller's; it serves when this resolves. */
  static async start(servers: readonly RedisProcess[], io: Transport, settings: Settings = {}): Promise<Rig> {
    const port = await freePort();
    const values = { map_file: "none", log_level: "error", listen: `127.0.0.1:${port}`, io, ...settings };
    const config = parseProxyConfig(values, { file: "rig" });
    const rig = new Rig(servers, config, mapOf(servers.map((server) => server.addr)), port);
    await until(() => {
      if (rig.#failure !== "") throw new Error(rig.#failure);
      return rig.#ready;
    }, "the worker is ready");
    return rig;
  }

  get pid(): number {
    return this.#process.pid;
  }

  get alive(): boolean {
    return this.#process.exitCode === null && this.#process.signalCode === null;
  }

  sendMap(map: ClusterMap): void {
    this.#process.send({ type: "map", map });
  }

  /** Tells the worker whether the controllers are lost. */
  sendControl(lost: boolean): void {
    this.#process.send({ type: "control", lost });
  }

  /** A connection to the worker, closed with the rig. */
  async connect(): Promise<RawClient> {
    const client = await RawClient.connect(this.port);
    this.#clients.push(client);
    return client;
  }

  /** A key of group `index` (0 is g1), as the first map has it; the same key for the same arguments. */
  keyIn(index: number, prefix = "key"): string {
    const range = evenRanges(
      SLOTS,
      this.servers.map((_, i) => String(i)),
    )[index];
    for (let i = 0; ; i++) {
      const slot = slotOfKey(`${prefix}:${i}`);
      if (slot >= range.from && slot <= range.to) return `${prefix}:${i}`;
    }
  }

  /** `count` different keys of group `index`. */
  keysIn(index: number, count: number, prefix = "key"): string[] {
    return Array.from({ length: count }, (_, i) => this.keyIn(index, `${prefix}:${i}`));
  }

  rssBytes(): number {
    return rssBytesOf(this.pid);
  }

  async dispose(): Promise<void> {
    for (const client of this.#clients) client.close();
    this.#process.kill("SIGKILL");
    await this.#process.exited;
  }
}

/** Resident memory of a process, from /proc; 0 where there is no /proc. */
export function rssBytesOf(pid: number): number {
  return statusBytes(pid, "VmRSS");
}

/** The most that it has ever been since `resetPeak`. */
export function peakBytesOf(pid: number): number {
  return statusBytes(pid, "VmHWM");
}

function statusBytes(pid: number, field: string): number {
  const text = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(new RegExp(`${field}:\\s+(\\d+) kB`).exec(text)?.[1] ?? 0) * 1024;
}
