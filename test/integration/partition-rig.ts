/**
 * A group of three on a machine each, a proxy on the side of each, a controller on a machine of its own: all
 * of them real processes in network namespaces (`test/support/network.ts`), which the test cuts off from
 * each other. The test itself is on the host, like the clients, and reaches all of them.
 *
 *   side 1: machine 1 primary, machine 101 p1 ─┐
 *   side 2: machine 2 replica, machine 102 p2 ─┼─ 200: controller c1
 *   side 3: machine 3 replica, machine 103 p3 ─┘
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "smol-toml";
import { fetchStatus } from "../../src/contract/client.ts";
import { fetchEvents } from "../../src/contract/failover-client.ts";
import type { ClusterStatus } from "../../src/contract/schemas.ts";
import { systemHttpClient } from "../../src/platform/http/http-client.ts";
import { RespDriver } from "../../src/verify/resp-driver.ts";
import type { VerifyReport } from "../../src/verify/tally.ts";
import { Verifier } from "../../src/verify/verifier.ts";
import { Network } from "../support/network.ts";
import { testEnv } from "../support/redis-process.ts";
import { until } from "../support/until.ts";

const SHOAL = join(import.meta.dirname, "../../bin/shoal");
const SIDES = [1, 2, 3];
const CONTROLLER = 200;
const SERVER_PORT = 7000;
const PROXY_PORT = 7001;
const CONTROL_PORT = 7002;
/** What does not listen on loopback wants one. */
const SECRET = "of-this-test-only";
/** Short, so that a test takes seconds; the proportions are those of the defaults. */
const FAST = {
  health_period_ms: 200,
  down_after_ms: 1500,
  server_timeout_ms: 1000,
  lease_ms: 1500,
  proxy_lease_ms: 3000,
};
/** No run is as long: the test ends each. */
const LOAD_SECONDS_MAX = 60;

/** Clients of one proxy, each write of which is remembered until the end. */
export interface Load {
  acknowledged(): number;
  errors(): number;
  /** Ends the writing; the report is there when everything has been looked at once more. */
  stop(): Promise<VerifyReport>;
}

export class PartitionRig {
  readonly network = new Network();
  readonly #folder = mkdtempSync(join(tmpdir(), "shoal-partition-"));
  readonly #children: ChildProcess[] = [];

  /** Everything runs, and both replicas are in sync, when this resolves. */
  static async start(): Promise<PartitionRig> {
    const rig = new PartitionRig();
    try {
      for (const side of SIDES) {
        rig.network.add(side);
        rig.network.add(proxyOf(side));
        rig.#startServer(side);
      }
      rig.network.add(CONTROLLER);
      rig.#startController();
      for (const side of SIDES) rig.#startProxy(side);
      await until(() => rig.whole(), "the cluster is whole", 30_000);
    } catch (error) {
      await rig.dispose();
      throw error;
    }
    return rig;
  }

  serverOf(side: number): string {
    return `${this.network.addressOf(side)}:${SERVER_PORT}`;
  }

  /** The side of the primary that the controller's map names. */
  async primarySide(): Promise<number> {
    const { groups } = await this.status();
    return SIDES.find((side) => this.serverOf(side) === groups[0].primary.addr) as number;
  }

  /** Cuts a side off from the others and from the controller, or lets it back. */
  cutSide(side: number, cut: boolean): void {
    this.network.isolate([side, proxyOf(side)], cut);
  }

  /** Cuts the controller off from a server and from every proxy; it reaches the other servers. */
  cutController(side: number, cut: boolean): void {
    for (const machine of [side, ...SIDES.map(proxyOf)]) this.network.cut(CONTROLLER, machine, cut);
  }

  /** The way between the controller and one server alone. */
  cutView(side: number, cut: boolean): void {
    this.network.cut(CONTROLLER, side, cut);
  }

  status(): Promise<ClusterStatus> {
    return fetchStatus(systemHttpClient, this.#control);
  }

  /** How many failovers there have been. */
  async failovers(): Promise<number> {
    const { events } = await fetchEvents(systemHttpClient, this.#control);
    return events.filter((event) => event.kind === "failover-done").length;
  }

  async whole(): Promise<boolean> {
    const { groups, proxies, map } = await this.status();
    const [group] = groups;
    return (
      group.state === "ok" &&
      group.protected === true &&
      group.replicas.every((replica) => replica.state === "online") &&
      proxies.length === SIDES.length &&
      proxies.every((proxy) => proxy.state === "serving" && proxy.map?.version === map.version)
    );
  }

  /** Clients of the proxy on a side; they write when this resolves. */
  async load(side: number): Promise<Load> {
    const driver = new RespDriver(testEnv(), {
      addresses: [`${this.network.addressOf(proxyOf(side))}:${PROXY_PORT}`],
      credentials: { user: null, password: SECRET },
      connectTimeoutMs: 2000,
      replyTimeoutMs: 15_000,
    });
    const verifier = new Verifier(testEnv(), driver, {
      seconds: LOAD_SECONDS_MAX,
      keys: 24,
      workers: 4,
      queues: 0,
      seed: null,
      settleSeconds: 20,
    });
    const running = verifier.run();
    await until(() => verifier.live().acknowledged > 50, `clients of p${side} write`);
    return {
      acknowledged: () => verifier.live().acknowledged,
      errors: () => verifier.live().errors,
      stop() {
        verifier.stop();
        return running;
      },
    };
  }

  async dispose(): Promise<void> {
    const ends = this.#children.map((child) => new Promise((resolve) => child.once("exit", resolve)));
    const living = this.#children.filter((child) => child.exitCode === null && child.signalCode === null);
    for (const child of living) child.kill("SIGKILL");
    await Promise.all(this.#children.flatMap((child, i) => (living.includes(child) ? [ends[i]] : [])));
    this.network.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  get #control() {
    return {
      url: `http://${this.network.addressOf(CONTROLLER)}:${CONTROL_PORT}`,
      token: SECRET,
      timeoutMs: 5000,
    };
  }

  #startServer(side: number): void {
    const folder = this.#makeFolder(`server-${side}`);
    const address = ["--bind", this.network.addressOf(side), "--port", String(SERVER_PORT)];
    const files = ["--dir", folder, "--save", "", "--repl-diskless-sync-delay", "0"];
    this.#start(side, ["redis-server", ...address, ...files, "--protected-mode", "no"]);
  }

  #startController(): void {
    const [primary, ...replicas] = SIDES.map((side) => this.serverOf(side));
    const file = join(this.#makeFolder("c1"), "controller.toml");
    const config = {
      ...FAST,
      id: "c1",
      listen: `${this.network.addressOf(CONTROLLER)}:${CONTROL_PORT}`,
      token: SECRET,
      store: { kind: "sqlite", path: "shoal.db" },
      cluster: {
        name: "test",
        slots: 1024,
        groups: [{ id: "g1", primary, replicas }],
        options: { acks: "replica 1 300ms" },
      },
    };
    writeFileSync(file, stringify(config));
    this.#start(CONTROLLER, [SHOAL, "controller", "--config", file]);
  }

  #startProxy(side: number): void {
    const folder = this.#makeFolder(`p${side}`);
    const file = join(folder, "proxy.toml");
    const config = {
      id: `p${side}`,
      listen: `${this.network.addressOf(proxyOf(side))}:${PROXY_PORT}`,
      requirepass: SECRET,
      controllers: [this.#control.url],
      controller_token: SECRET,
      server_timeout_ms: 1500,
      state_dir: folder,
    };
    writeFileSync(file, stringify(config));
    this.#start(proxyOf(side), [SHOAL, "proxy", "--config", file]);
  }

  #makeFolder(name: string): string {
    const folder = join(this.#folder, name);
    mkdirSync(folder);
    return folder;
  }

  #start(machine: number, command: readonly string[]): void {
    const [program, ...args] = [...this.network.inside(machine), ...command];
    this.#children.push(spawn(program, args, { stdio: "ignore", cwd: this.#folder }));
  }
}

function proxyOf(side: number): number {
  return 100 + side;
}
