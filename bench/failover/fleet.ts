/**
 * The servers of one system. As root on Linux each has a network namespace of its own on a bridge, so that
 * the way from one server to another can be cut while clients still reach both; elsewhere they are on
 * loopback.
 *
 *   host .254 (clients, proxy) ── bridge ─┬─ ns 1: .1      redis-server
 *                                         ├─ ns 2: .2      redis-server
 *                                         └─ ns 200: .200  controller or sentinels
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RedisServer } from "../../src/redis/redis-server.ts";
import { testEnv } from "../../test/support/redis-process.ts";
import { until } from "../../test/support/until.ts";

/** The kernel takes its time with interfaces of namespaces that are gone: each fleet has names of its own. */
let fleets = 0;
/** The namespace of those who watch the servers: sentinels, the controller. */
const WATCHERS_INDEX = 200;
const START_MS_MAX = 20_000;

export interface FleetServer {
  readonly index: number;
  readonly host: string;
  readonly port: number;
  readonly addr: string;
  readonly folder: string;
  readonly args: readonly string[];
  readonly client: RedisServer;
  child: ChildProcess | null;
}

export class Fleet {
  /** Whether ways between servers can be cut. */
  readonly separate: boolean;
  /** Where sentinels and the controller listen. */
  readonly watchersAddress: string;
  readonly folder = mkdtempSync(join(tmpdir(), "shoal-failover-"));
  readonly servers: FleetServer[] = [];
  /** Of its own, so that two runs at once do not meet. */
  readonly #subnet = `10.77.${(process.pid + fleets) % 250}`;
  readonly #prefix = `sh${process.pid % 100_000}f${fleets++}`;
  readonly #basePort: number;
  readonly #processes = new Set<ChildProcess>();
  readonly #namespaces: number[] = [];

  constructor(basePort: number) {
    this.#basePort = basePort;
    this.separate =
      process.platform === "linux" &&
      process.getuid?.() === 0 &&
      makeBridge(this.#bridge, `${this.#subnet}.254`);
    if (this.separate) this.#makeNamespace(WATCHERS_INDEX);
    this.watchersAddress = this.separate ? `${this.#subnet}.${WATCHERS_INDEX}` : "127.0.0.1";
    process.once("SIGINT", this.#onSignal).once("SIGTERM", this.#onSignal);
  }

  async startServer(args: readonly string[] = []): Promise<FleetServer> {
    const index = this.servers.length + 1;
    const host = this.separate ? `${this.#subnet}.${index}` : "127.0.0.1";
    const port = this.#basePort + index;
    if (this.separate) this.#makeNamespace(index);
    const folder = join(this.folder, `server-${index}`);
    mkdirSync(folder);
    const client = new RedisServer(testEnv(), {
      address: `${host}:${port}`,
      credentials: null,
      connectTimeoutMs: 500,
      commandTimeoutMs: 2000,
    });
    const server: FleetServer = {
      index,
      host,
      port,
      addr: `${host}:${port}`,
      folder,
      args,
      client,
      child: null,
    };
    this.servers.push(server);
    await this.launch(server);
    return server;
  }

  /** Starts a server (again) on its folder and waits until it answers. */
  async launch(server: FleetServer): Promise<void> {
    const { host, port, folder, args } = server;
    const fixed = ["--bind", host, "--port", `${port}`, "--dir", folder, "--save", "", "--appendonly", "no"];
    const open = ["--protected-mode", "no", "--repl-diskless-sync-delay", "0", ...args];
    const inside = this.separate ? ["ip", "netns", "exec", this.#nameOf(server.index)] : [];
    server.child = this.start(`server-${server.index}`, [...inside, "redis-server", ...fixed, ...open]);
    await until(
      async () => {
        await server.client.ping();
        return true;
      },
      `redis-server answers on ${server.addr}`,
      START_MS_MAX,
    );
  }

  /** Ends it with SIGKILL and waits for that. */
  async kill(server: FleetServer): Promise<void> {
    const { child } = server;
    server.child = null;
    if (child !== null) await this.stop(child, "SIGKILL");
  }

  /** Drops what `from` sends to `to`, or lets it pass again. */
  cutWay(from: FleetServer, to: FleetServer, cut: boolean): void {
    this.#cut(from, to.host, cut);
  }

  #cut(from: FleetServer, host: string, cut: boolean): void {
    const route = ["ip", "route", cut ? "add" : "del", "blackhole", host];
    ip("netns", "exec", this.#nameOf(from.index), ...route);
  }

  /** A process of those who watch the servers. */
  startWatcher(name: string, command: readonly string[]): ChildProcess {
    const inside = this.separate ? ["ip", "netns", "exec", this.#nameOf(WATCHERS_INDEX)] : [];
    return this.start(name, [...inside, ...command]);
  }

  /**
   * Cuts a server off from every other server and from the watchers, or lets it back; clients reach it
   * still.
   */
  cutOff(server: FleetServer, cut: boolean): void {
    const others = this.servers.filter((other) => other !== server);
    for (const host of [...others.map((other) => other.host), this.watchersAddress])
      this.#cut(server, host, cut);
  }

  /** Any other process of the system; its output goes to a file of the fleet's folder. */
  start(name: string, command: readonly string[]): ChildProcess {
    const log = openSync(join(this.folder, `${name}.log`), "a");
    const child = spawn(command[0], command.slice(1), { stdio: ["ignore", log, log], cwd: this.folder });
    this.#processes.add(child);
    return child;
  }

  async stop(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
    this.#processes.delete(child);
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill(signal);
    await ended;
  }

  async close(): Promise<void> {
    process.off("SIGINT", this.#onSignal).off("SIGTERM", this.#onSignal);
    for (const server of this.servers) server.client.close();
    await Promise.all([...this.#processes].map((child) => this.stop(child, "SIGKILL")));
    this.#removeNetwork();
    rmSync(this.folder, { recursive: true, force: true });
  }

  readonly #onSignal = (): void => {
    this.#abandon();
    process.exit(143);
  };

  get #bridge(): string {
    return `${this.#prefix}b`;
  }

  #nameOf(index: number): string {
    return `${this.#prefix}n${index}`;
  }

  #makeNamespace(index: number): void {
    const [name, outside, inside] = [
      this.#nameOf(index),
      `${this.#prefix}o${index}`,
      `${this.#prefix}i${index}`,
    ];
    ip("netns", "add", name);
    this.#namespaces.push(index);
    ip("link", "add", outside, "type", "veth", "peer", "name", inside);
    ip("link", "set", inside, "netns", name);
    ip("link", "set", outside, "master", this.#bridge, "up");
    ip("netns", "exec", name, "ip", "addr", "add", `${this.#subnet}.${index}/24`, "dev", inside);
    ip("netns", "exec", name, "ip", "link", "set", inside, "up");
    ip("netns", "exec", name, "ip", "link", "set", "lo", "up");
  }

  #removeNetwork(): void {
    for (const index of this.#namespaces.splice(0)) tryIp("netns", "del", this.#nameOf(index));
    if (this.separate) tryIp("link", "del", this.#bridge);
  }

  #abandon(): void {
    for (const child of this.#processes) child.kill("SIGKILL");
    this.#removeNetwork();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function ip(...words: string[]): void {
  execFileSync("ip", words, { stdio: "pipe" });
}

function tryIp(...words: string[]): boolean {
  try {
    ip(...words);
    return true;
  } catch {
    return false;
  }
}

/** False where this machine does not let us. */
function makeBridge(name: string, address: string): boolean {
  if (!tryIp("link", "add", name, "type", "bridge")) return false;
  if (tryIp("addr", "add", `${address}/24`, "dev", name) && tryIp("link", "set", name, "up")) return true;
  tryIp("link", "del", name);
  return false;
}
