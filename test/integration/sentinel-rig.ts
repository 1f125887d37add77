/** A cluster whose primaries are replaced by real redis-sentinel processes, and a proxy in front of it. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "smol-toml";
import { RedisServer } from "../../src/redis/redis-server.ts";
import { freePort, testEnv } from "../support/redis-process.ts";
import { RespClient } from "../support/resp-client.ts";
import { until } from "../support/until.ts";
import { FailoverRig, type RigOptions } from "./failover-rig.ts";

const SHOAL = join(import.meta.dirname, "../../bin/shoal");

/** One redis-sentinel with a folder and a configuration of its own, which it rewrites. */
export class SentinelProcess {
  readonly port: number;
  readonly client: RedisServer;
  /** Its log. */
  output = "";
  readonly #folder: string;
  #child: ChildProcess | null = null;

  private constructor(port: number, folder: string, password: string) {
    this.port = port;
    this.#folder = folder;
    this.client = new RedisServer(testEnv(), {
      address: this.addr,
      credentials: password === "" ? null : { user: null, password },
      connectTimeoutMs: 2000,
      commandTimeoutMs: 5000,
    });
  }

  /** Not started yet. */
  static async create(password: string): Promise<SentinelProcess> {
    const folder = await mkdtemp(join(tmpdir(), "shoal-sentinel-"));
    const sentinel = new SentinelProcess(await freePort(), folder, password);
    const lines = [`port ${sentinel.port}`, "bind 127.0.0.1", `dir ${folder}`];
    if (password !== "") lines.push(`requirepass ${password}`);
    await writeFile(join(folder, "sentinel.conf"), `${lines.join("\n")}\n`);
    return sentinel;
  }

  get addr(): string {
    return `127.0.0.1:${this.port}`;
  }

  async launch(): Promise<void> {
    const child = spawn("redis-sentinel", [join(this.#folder, "sentinel.conf")], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    child.stdout.on("data", (bytes) => (this.output += String(bytes)));
    this.#child = child;
    await until(async () => {
      await this.client.ping();
      return true;
    }, `redis-sentinel answers on ${this.addr}`);
  }

  /** "host:port" of the primary that it names for a group; null when it does not know the group. */
  async primaryOf(group: string): Promise<string | null> {
    const reply = await this.client.command(["SENTINEL", "GET-MASTER-ADDR-BY-NAME", `test.${group}`]);
    return Array.isArray(reply) ? `${String(reply[0])}:${String(reply[1])}` : null;
  }

  /** Of what it says about a group: one field. */
  async field(group: string, name: string): Promise<string | undefined> {
    const reply = await this.client.command(["SENTINEL", "MASTER", `test.${group}`]).catch(() => null);
    return Array.isArray(reply) ? String(reply[reply.indexOf(name) + 1]) : undefined;
  }

  /** The replicas that it would choose among. */
  async replicasOf(group: string): Promise<string[]> {
    const reply = await this.client.command(["SENTINEL", "REPLICAS", `test.${group}`]);
    return (reply as string[][]).map((row) => row[row.indexOf("name") + 1]);
  }

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
    await rm(this.#folder, { recursive: true, force: true });
  }
}

export interface SentinelRigOptions extends RigOptions {
  /** What clients of the sentinels must show. */
  readonly sentinelPassword?: string;
}

export class SentinelRig implements AsyncDisposable {
  readonly fleet: FailoverRig;
  readonly sentinels: readonly SentinelProcess[];
  #proxy: ChildProcess | null = null;

  private constructor(fleet: FailoverRig, sentinels: readonly SentinelProcess[]) {
    this.fleet = fleet;
    this.sentinels = sentinels;
  }

  /** Every sentinel knows every group, its replicas and the other sentinels when this resolves. */
  static async start({ sentinelPassword = "", ...options }: SentinelRigOptions = {}): Promise<SentinelRig> {
    const sentinels = await Promise.all([1, 2, 3].map(() => SentinelProcess.create(sentinelPassword)));
    try {
      const fleet = await FailoverRig.start({
        ...options,
        config: {
          failover: "sentinel",
          sentinels: sentinels.map((one) => one.addr),
          sentinels_password: sentinelPassword,
          sentinels_failover_timeout_ms: 2000,
          ...options.config,
        },
      });
      // Not before: a sentinel asks the primary for its replicas at once, and then every ten seconds.
      await Promise.all(sentinels.map((one) => one.launch()));
      const rig = new SentinelRig(fleet, sentinels);
      for (let i = 1; i <= fleet.servers.length; i++) await rig.complete(`g${i}`);
      return rig;
    } catch (error) {
      await Promise.all(sentinels.map((one) => one.dispose()));
      throw error;
    }
  }

  /** All sentinels know each other, and `replicas` replicas of the group. */
  async complete(group = "g1", replicas = this.fleet.servers[0].length - 1): Promise<void> {
    await until(
      async () => {
        for (const sentinel of this.sentinels) {
          if ((await sentinel.field(group, "num-other-sentinels")) !== "2") return false;
          if ((await sentinel.replicasOf(group)).length !== replicas) return false;
        }
        return true;
      },
      `the sentinels know group ${group}, ${replicas} replicas of it and each other`,
      30_000,
    );
  }

  /** A proxy that follows the controllers; a client of it comes back. */
  async startProxy(): Promise<() => Promise<RespClient>> {
    const { folder, controllers } = this.fleet;
    const port = await freePort();
    const file = join(folder, "proxy.toml");
    const urls = controllers.map((controller) => controller.target.url);
    const listen = `127.0.0.1:${port}`;
    const values = { id: "p1", listen, controllers: urls, state_dir: folder, workers: 1, log_level: "error" };
    await writeFile(file, stringify(values));
    this.#proxy = spawn(SHOAL, ["proxy", "--config", file], { stdio: "ignore" });
    await until(
      async () => {
        const client = await RespClient.connect(port);
        const reply = await client.text("SET", "first", "1");
        client.close();
        return reply === "+OK\r\n";
      },
      "the proxy serves",
      20_000,
    );
    return () => RespClient.connect(port);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const proxy = this.#proxy;
    if (proxy !== null && proxy.exitCode === null) {
      const ended = new Promise((resolve) => proxy.once("exit", resolve));
      // Told, not killed: its workers end with it.
      proxy.kill("SIGTERM");
      await ended;
    }
    await this.fleet.dispose();
    await Promise.all(this.sentinels.map((one) => one.dispose()));
  }
}
