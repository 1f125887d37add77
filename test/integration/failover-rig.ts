/** Groups of real servers and controllers as processes that share one store, for tests of failover. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "smol-toml";
import { fetchHealth, fetchStatus, sendReport } from "../../src/contract/client.ts";
import { failover, fetchEvents } from "../../src/contract/failover-client.ts";
import type { EventLine, FailoverAnswer, FailoverBody } from "../../src/contract/failover-routes.ts";
import type { ClusterStatus, ProxyReport } from "../../src/contract/schemas.ts";
import { systemHttpClient } from "../../src/platform/http/http-client.ts";
import { machineId } from "../../src/platform/machine-id.ts";
import { RedisProcess, freePort } from "../support/redis-process.ts";
import { type RedisRelay, RelayedRedis } from "../support/redis-relay.ts";
import { until } from "../support/until.ts";

const FIXTURES = join(import.meta.dirname, "../fixtures");

/** Short, so that a test takes seconds; the proportions are those of the defaults. */
const FAST = {
  health_period_ms: 200,
  down_after_ms: 1500,
  server_timeout_ms: 1000,
  lease_ms: 1500,
  proxy_lease_ms: 3000,
};

export type GroupStatus = ClusterStatus["groups"][number];

export class ControllerProcess {
  readonly id: string;
  readonly port: number;
  output = "";
  readonly #file: string;
  readonly #folder: string;
  readonly #fixture: string;
  #child: ChildProcess | null = null;

  constructor(folder: string, id: string, port: number, fixture = "fixture-controller.ts") {
    this.#fixture = join(FIXTURES, fixture);
    this.id = id;
    this.port = port;
    this.#folder = folder;
    this.#file = join(folder, `${id}.toml`);
  }

  get target() {
    return { url: `http://127.0.0.1:${this.port}`, token: null, timeoutMs: 5000 };
  }

  async configure(config: Record<string, unknown>): Promise<void> {
    await writeFile(this.#file, stringify({ ...config, id: this.id, listen: `127.0.0.1:${this.port}` }));
  }

  async start(): Promise<void> {
    const child = spawn(process.execPath, [this.#fixture, this.#file], {
      cwd: this.#folder,
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (bytes) => (this.output += String(bytes)));
    this.#child = child;
    await until(async () => (await this.health()).status === "ok", `${this.id} serves`).catch((error) => {
      throw new Error(this.output, { cause: error });
    });
  }

  health() {
    return fetchHealth(systemHttpClient, this.target);
  }

  status(): Promise<ClusterStatus> {
    return fetchStatus(systemHttpClient, this.target);
  }

  async events(kind?: string): Promise<readonly EventLine[]> {
    const { events } = await fetchEvents(systemHttpClient, this.target);
    return events.filter((event) => kind === undefined || event.kind === kind);
  }

  failover(group: string, body: FailoverBody = {}): Promise<FailoverAnswer> {
    return failover(systemHttpClient, this.target, group, body);
  }

  /** A proxy's report in which it tells what it sees. */
  report(
    proxy: string,
    servers: ProxyReport["servers"],
    version = 1_000_000,
    machine = machineId(),
  ): Promise<unknown> {
    const map = { version, term: 1 };
    const report: ProxyReport = {
      addr: "127.0.0.1:19000",
      pid: 1,
      machine,
      state: "serving",
      workers: [],
      map,
      servers,
      counters: {},
    };
    return sendReport(systemHttpClient, this.target, proxy, report);
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** It has died by itself. */
  get dead(): boolean {
    return this.#child !== null && this.#child.signalCode !== null;
  }

  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGCONT");
    child.kill(signal);
    await ended;
  }
}

export interface RigOptions {
  readonly groups?: number;
  readonly replicas?: number;
  readonly controllers?: number;
  /** Which program of test/fixtures the controllers are. */
  readonly fixture?: string;
  /** Of every server, as on its command line. */
  readonly serverArgs?: readonly string[];
  /** Those of each group that stand behind a relay, by their place in it: 0 is the first primary. */
  readonly relayed?: readonly number[];
  readonly config?: Record<string, unknown>;
  readonly options?: Record<string, string>;
}

function startServer(options: RigOptions, place: number): Promise<RedisProcess> {
  const { serverArgs = [], relayed = [] } = options;
  return relayed.includes(place) ? RelayedRedis.behindRelay(serverArgs) : RedisProcess.start(serverArgs);
}

function optionsOf({ options }: RigOptions): { options?: Record<string, string> } {
  return options === undefined ? {} : { options };
}

/**
 * Tests mostly wait, so several run side by side; more at once would make the machine so slow that living
 * servers look dead.
 */
const RIGS_MAX = 3;
let rigs = 0;

export class FailoverRig implements AsyncDisposable {
  readonly folder: string;
  /** Per group: the first is the primary at the beginning. */
  readonly servers: readonly (readonly RedisProcess[])[];
  readonly controllers: readonly ControllerProcess[];

  private constructor(
    folder: string,
    servers: readonly (readonly RedisProcess[])[],
    controllers: readonly ControllerProcess[],
  ) {
    this.folder = folder;
    this.servers = servers;
    this.controllers = controllers;
  }

  /** Everything runs, and every replica is in sync, when this resolves. */
  static async start(options: RigOptions = {}): Promise<FailoverRig> {
    await until(() => rigs < RIGS_MAX && ++rigs > 0, "there is room for a rig", 100_000);
    const { groups = 1, replicas = 1, controllers = 1, config = {} } = options;
    const { fixture } = options;
    const folder = await mkdtemp(join(tmpdir(), "shoal-failover-"));
    const servers = await Promise.all(
      Array.from({ length: groups }, () =>
        Promise.all(Array.from({ length: replicas + 1 }, (_, place) => startServer(options, place))),
      ),
    );
    const members: ControllerProcess[] = [];
    for (let i = 1; i <= controllers; i++)
      members.push(new ControllerProcess(folder, `c${i}`, await freePort(), fixture));
    const rig = new FailoverRig(folder, servers, members);
    try {
      const groupRows = servers.map(([primary, ...others], i) => {
        return { id: `g${i + 1}`, primary: primary.addr, replicas: others.map((other) => other.addr) };
      });
      const cluster = { name: "test", slots: 1024, groups: groupRows, ...optionsOf(options) };
      const store = { kind: "sqlite", path: "shoal.db" };
      for (const member of members) await member.configure({ ...FAST, store, cluster, ...config });
      for (const member of members) await member.start();
      await until(() => rig.whole(), "every group is protected", 20_000);
    } catch (error) {
      const output = members.map((member) => member.output.slice(-3000)).join("\n");
      await rig.dispose();
      throw new Error(`the rig did not start: ${output}`, { cause: error });
    }
    return rig;
  }

  /** The controller that leads. */
  async leader(): Promise<ControllerProcess> {
    let found: ControllerProcess | undefined;
    await until(async () => {
      for (const member of this.controllers) {
        const health = await member.health().catch(() => null);
        if (health?.leader === true) found = member;
      }
      return found !== undefined;
    }, "a controller leads");
    return found as ControllerProcess;
  }

  async group(id = "g1"): Promise<GroupStatus> {
    const status = await (await this.leader()).status();
    return status.groups.find((group) => group.id === id) as GroupStatus;
  }

  /** Every group: primary serves, every replica follows, at least one is a copy. */
  async whole(): Promise<boolean> {
    const { groups } = await (await this.leader()).status();
    return groups.every(
      (group) => group.state === "ok" && (group.protected === true || group.replicas.length === 0),
    );
  }

  server(addr: string): RedisProcess {
    return this.servers.flat().find((server) => server.addr === addr) as RedisProcess;
  }

  /** The relay before a server that stands behind one. */
  relayOf(server: RedisProcess): RedisRelay {
    if (server instanceof RelayedRedis && server.relay !== null) return server.relay;
    throw new Error(`${server.addr} stands behind no relay`);
  }

  async primaryBecomes(
    other: (addr: string) => boolean,
    id = "g1",
    withinMs = 10_000,
  ): Promise<RedisProcess> {
    let addr = "";
    await until(
      async () => {
        addr = (await this.group(id)).primary.addr;
        return other(addr);
      },
      `group ${id} has another primary`,
      withinMs,
    ).catch(async (error) => {
      const leader = await this.leader();
      const { problems } = await leader.status();
      throw new Error(`${problems.join("; ")}\n${leader.output.slice(-3000)}`, { cause: error });
    });
    return this.server(addr);
  }

  async dispose(): Promise<void> {
    for (const member of this.controllers) await member.kill();
    await Promise.all(this.servers.flat().map((server) => server.dispose()));
    await rm(this.folder, { recursive: true, force: true });
    rigs--;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}
