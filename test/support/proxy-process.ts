/**
 * One worker of a proxy as a process of its own, over redis-servers that the test has started.
 *
 *   test ─▶ RespClient ─▶ worker (src/apps/worker.ts) ─▶ redis-server × n
 *     └── IPC, in the master's place: start ─▶  ◀─ ready
 */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import type { WorkerMessage } from "../../src/proxy/master/worker-messages.ts";
import { type ProxyConfig, parseProxyConfig } from "../../src/proxy/proxy-config.ts";
import { type ClusterMap, evenRanges } from "../../src/topology/cluster-map.ts";
import { freePort } from "./redis-process.ts";
import { RespClient } from "./resp-client.ts";
import { until } from "./until.ts";

const WORKER = join(import.meta.dir, "../../src/apps/worker.ts");
const SLOTS = 1024;

/** Both transports where both can run. */
export const TRANSPORTS =
  process.platform === "linux" ? (["epoll", "portable"] as const) : (["portable"] as const);

/** What of proxy.toml a test wants different from its defaults. */
export type ConfigOverrides = Readonly<Record<string, string | number | boolean | readonly string[]>>;

/** The map in which `servers` (addresses) are the groups g1, g2 … and share the slots evenly. */
export function evenMap(servers: readonly string[]): ClusterMap {
  const groups = servers.map((primary, i) => ({ id: `g${i + 1}`, number: i + 1, primary, replicas: [] }));
  const ids = groups.map((group) => group.id);
  const ranges = evenRanges(SLOTS, ids);
  return { cluster: "test", version: 1, term: 1, hash: "crc32", slots: SLOTS, groups, ranges, options: {} };
}

export class ProxyProcess {
  readonly port: number;
  readonly #child: ChildProcess;

  private constructor(port: number, child: ChildProcess) {
    this.port = port;
    this.#child = child;
  }

  /** Starts a worker over `servers` (addresses); it listens when this resolves. */
  static async start(servers: readonly string[], overrides: ConfigOverrides = {}): Promise<ProxyProcess> {
    const port = await freePort();
    const values = { map_file: "given", log_level: "error", listen: `127.0.0.1:${port}`, ...overrides };
    const config: ProxyConfig = parseProxyConfig(values, { file: "test" });
    const child = spawn(process.execPath, [WORKER], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    let ready = false;
    let failure = "";
    child.on("message", (message: WorkerMessage) => {
      if (message.type === "ready") ready = true;
      if (message.type === "failed") failure = message.message;
    });
    child.send({ type: "start", worker: 0, generation: 1, config, map: evenMap(servers) });
    const proxy = new ProxyProcess(port, child);
    try {
      await until(() => ready || failure !== "", "the worker listens");
      if (failure !== "") throw new Error(`the worker did not start: ${failure}`);
    } catch (error) {
      await proxy.dispose();
      throw error;
    }
    return proxy;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  connect(): Promise<RespClient> {
    return RespClient.connect(this.port);
  }

  /** Ends the process and waits for it. */
  async dispose(): Promise<void> {
    const child = this.#child;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
  }
}
