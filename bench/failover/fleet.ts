/**
 * The servers of one system. As root on Linux each is on a machine of its own (a network namespace), so that
 * the way from one to another can be cut while clients still reach both; elsewhere they are on loopback.
 *
 *   host .254 (clients) ── bridge ─┬─ machine 1: .1      redis-server
 *                                  ├─ machine 101: .101  a proxy on the same side as server 1
 *                                  ├─ machine 2: .2      redis-server …
 *                                  └─ machine 200: .200  controller or sentinels
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RedisServer } from "../../src/redis/redis-server.ts";
import { Network, whyNoNetwork } from "../../test/support/network.ts";
import { testEnv } from "../../test/support/redis-process.ts";
import { until } from "../../test/support/until.ts";

/** The machine of those who watch the servers: sentinels, the controller. */
const WATCHERS_INDEX = 200;
/** From a server's machine to the one on its side. */
const SIDE_OFFSET = 100;
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
  /** Where sentinels and the controller listen. */
  readonly watchersAddress: string;
  readonly folder = mkdtempSync(join(tmpdir(), "shoal-failover-"));
  readonly servers: FleetServer[] = [];
  /** Null: all is on loopback. */
  readonly #network: Network | null;
  readonly #basePort: number;
  readonly #processes = new Set<ChildProcess>();
  readonly #sides: number[] = [];

  /** @throws Error when root on Linux may not make a network */
  constructor(basePort: number) {
    this.#basePort = basePort;
    this.#network = whyNoNetwork() === null ? new Network() : null;
    this.#network?.add(WATCHERS_INDEX);
    this.watchersAddress = this.#network?.addressOf(WATCHERS_INDEX) ?? "127.0.0.1";
    process.once("SIGINT", this.#onSignal).once("SIGTERM", this.#onSignal);
  }

  /** Whether ways between servers can be cut. */
  get separate(): boolean {
    return this.#network !== null;
  }

  async startServer(args: readonly string[] = []): Promise<FleetServer> {
    const index = this.servers.length + 1;
    this.#network?.add(index);
    const host = this.#network?.addressOf(index) ?? "127.0.0.1";
    const port = this.#basePort + index;
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
    const inside = this.#network?.inside(server.index) ?? [];
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
    this.#network?.cutWay(from.index, to.index, cut);
  }

  /**
   * Cuts a server and what is on its side off from all others, or lets it back; clients reach it still.
   */
  cutOff(server: FleetServer, cut: boolean): void {
    this.#network?.isolate([server.index, ...this.#sides.filter((side) => side === sideOf(server))], cut);
  }

  /** Makes a machine on the server's side; its address comes back. */
  addSide(server: FleetServer): string {
    const side = sideOf(server);
    this.#network?.add(side);
    this.#sides.push(side);
    return this.#network?.addressOf(side) ?? "127.0.0.1";
  }

  /** A process of those who watch the servers. */
  startWatcher(name: string, command: readonly string[]): ChildProcess {
    return this.start(name, [...(this.#network?.inside(WATCHERS_INDEX) ?? []), ...command]);
  }

  /** A process on the machine on the server's side. */
  startAtSide(server: FleetServer, name: string, command: readonly string[]): ChildProcess {
    return this.start(name, [...(this.#network?.inside(sideOf(server)) ?? []), ...command]);
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
    this.#network?.close();
    rmSync(this.folder, { recursive: true, force: true });
  }

  readonly #onSignal = (): void => {
    this.#abandon();
    process.exit(143);
  };

  #abandon(): void {
    for (const child of this.#processes) child.kill("SIGKILL");
    this.#network?.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function sideOf(server: FleetServer): number {
  return server.index + SIDE_OFFSET;
}
