/** A redis-server of a test's own: its own folder, a free port on the loopback, stopped by its pid. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../src/platform/clock.ts";
import { createPinoLog } from "../../src/platform/pino-log.ts";
import { PortableNet } from "../../src/platform/portable/portable-net.ts";
import { systemRandom } from "../../src/platform/random.ts";
import { systemTimers } from "../../src/platform/timers.ts";
import { RedisServer } from "../../src/redis/redis-server.ts";
import { until } from "./until.ts";

/**
 * Ports that the kernel gives to nobody by itself: one of those that it hands out could be an outgoing
 * connection's before, or between, the runs of a server that is stopped and started again.
 */
const PORTS = { from: 12_000, to: 22_000 };
const taken = new Set<number>();

/** A port that nobody listened on a moment ago; another one each time. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = PORTS.from + Math.floor(Math.random() * (PORTS.to - PORTS.from));
    if (taken.has(port) || !(await isFree(port))) continue;
    taken.add(port);
    return port;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ host: "127.0.0.1", port }, () => server.close(() => resolve(true)));
  });
}

/** env for tests that speak to real servers; logs errors only. */
export function testEnv() {
  return {
    clock: systemClock,
    timers: systemTimers,
    random: systemRandom,
    net: new PortableNet(systemTimers),
    log: createPinoLog("error", { part: "test" }, "/dev/null"),
  };
}

export class RedisProcess {
  readonly port: number;
  readonly folder: string;
  readonly client: RedisServer;
  readonly #args: readonly string[];
  #child: ChildProcess | null = null;

  constructor(port: number, folder: string, args: readonly string[]) {
    this.port = port;
    this.folder = folder;
    this.#args = args;
    const password = args.includes("--requirepass") ? args[args.indexOf("--requirepass") + 1] : null;
    this.client = new RedisServer(testEnv(), {
      address: this.addr,
      credentials: password === null ? null : { user: null, password },
      connectTimeoutMs: 2000,
      commandTimeoutMs: 5000,
    });
  }

  /** Starts one and waits until it answers. `args` as on redis-server's command line. */
  static async start(args: readonly string[] = []): Promise<RedisProcess> {
    const folder = await mkdtemp(join(tmpdir(), "shoal-redis-"));
    const redis = new RedisProcess(await freePort(), folder, args);
    await redis.launch();
    return redis;
  }

  get addr(): string {
    return `127.0.0.1:${this.port}`;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** Starts the process (again) on the same folder and port. */
  async launch(): Promise<void> {
    const fixed = ["--port", String(this.port), "--bind", "127.0.0.1", "--dir", this.folder, "--save", ""];
    const quick = ["--repl-diskless-sync-delay", "0"];
    this.#child = spawn("redis-server", [...fixed, ...quick, ...this.#args], { stdio: "ignore" });
    await until(async () => {
      await this.client.ping();
      return true;
    }, `redis-server answers on ${this.addr}`);
  }

  command(...words: string[]): Promise<unknown> {
    return this.client.command(words);
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  /** Ends the process and waits for it; its folder stays. */
  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
  }

  async dispose(): Promise<void> {
    this.client.close();
    await this.kill();
    await rm(this.folder, { recursive: true, force: true });
  }
}
