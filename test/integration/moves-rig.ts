/**
 * A controller in the test's own process over redis-servers that are processes, and proxies that are only
 * their reports: the moving of slots without a data plane, so that the test decides who acknowledges what
 * and when.
 */
import { Controller } from "../../src/controller/controller.ts";
import { parseControllerConfig } from "../../src/controller/controller-config.ts";
import type { Moves } from "../../src/contract/move-routes.ts";
import type { ClusterStatus, MapStreamLine, ProxyReport, ServerLogin } from "../../src/contract/schemas.ts";
import { LineSplitter, parseMapStreamLine } from "../../src/contract/map-stream.ts";
import { slotOf } from "../../src/routing/slot-of.ts";
import { MemoryDatabase } from "../../src/store/memory/database.ts";
import { openMemoryStore } from "../../src/store/memory/open-store.ts";
import { RedisProcess, testEnv } from "../support/redis-process.ts";
import { until } from "../support/until.ts";

export const slotOfText = (key: string): number => {
  const bytes = Buffer.from(key, "latin1");
  return slotOf(bytes, 0, bytes.length, 1023);
};

/** A key of `slot` that begins with `prefix`. */
export function keyInSlot(slot: number, prefix = "k"): string {
  for (let i = 0; ; i++) if (slotOfText(`${prefix}${i}`) === slot) return `${prefix}${i}`;
}

export interface GroupOfProcesses {
  readonly id: string;
  readonly primary: RedisProcess;
  readonly replicas: readonly RedisProcess[];
}

/** A proxy that follows the map and acknowledges it, unless it is told not to. */
export class FakeProxy {
  readonly id: string;
  /** Whether it reports at all. */
  alive = true;
  /** Whether it acknowledges maps that come from now on. */
  acks = true;
  login: ServerLogin | null = null;
  acked: ProxyReport["map"] = null;
  #timer: Timer;
  #reader: ReadableStreamDefaultReader<Uint8Array> | null = null;
  readonly #rig: MovesRig;

  constructor(rig: MovesRig, id: string) {
    this.#rig = rig;
    this.id = id;
    this.#timer = setInterval(() => void this.report(), 250);
    void this.follow();
  }

  async follow(): Promise<void> {
    const response = await this.#rig.controller.handle(
      new Request(`http://h/api/v1/map/stream?proxy=${this.id}`),
    );
    if (!response.ok || response.body === null) return;
    const reader = response.body.getReader() as ReadableStreamDefaultReader<Uint8Array>;
    this.#reader = reader;
    const lines = new LineSplitter((text) => this.#take(parseMapStreamLine(text)));
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        lines.push(value);
      }
    } catch {
      // The controller has gone; the test opens another stream when it wants one.
    }
  }

  async report(): Promise<void> {
    if (!this.alive) return;
    const report: ProxyReport = {
      addr: "127.0.0.1:19000",
      pid: 4711,
      state: "serving",
      workers: [],
      map: this.acked,
      login: this.login?.sinceVersion ?? null,
      servers: [],
      counters: {},
    };
    await this.#rig.api("POST", `/api/v1/proxies/${this.id}/report`, report).catch(() => {});
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#reader?.cancel().catch(() => {});
  }

  #take(line: MapStreamLine): void {
    if (line.type === "login") this.login = line.login;
    if (line.type !== "map" || !this.acks || !this.alive) return;
    this.acked = { version: line.map.version, term: line.map.term };
    void this.report();
  }
}

type Timer = ReturnType<typeof setInterval>;

export class MovesRig {
  readonly groups: GroupOfProcesses[] = [];
  readonly database = new MemoryDatabase();
  readonly proxies: FakeProxy[] = [];
  controller!: Controller;
  readonly #overrides: Record<string, unknown>;
  readonly #cleanups: Array<() => unknown> = [];

  private constructor(overrides: Record<string, unknown>) {
    this.#overrides = overrides;
  }

  /** `replicas` of each of `groups` groups; the first `serving` groups share the slots. */
  static async start(
    groups: number,
    replicas = 0,
    overrides: Record<string, unknown> = {},
    serverArgs: readonly string[] = [],
  ): Promise<MovesRig> {
    const rig = new MovesRig(overrides);
    for (let i = 1; i <= groups; i++) {
      const servers = await Promise.all(
        Array.from({ length: replicas + 1 }, () => RedisProcess.start([...serverArgs])),
      );
      for (const server of servers) rig.#cleanups.push(() => server.dispose());
      rig.groups.push({ id: `g${i}`, primary: servers[0], replicas: servers.slice(1) });
    }
    await rig.startController();
    const whole = async (): Promise<boolean> =>
      (await rig.status()).groups.every((group) => group.state === "ok");
    await until(whole, "every group is whole");
    return rig;
  }

  /** A controller on the same store; the one before must have been stopped or abandoned. */
  async startController(id = "c1"): Promise<Controller> {
    const groups = this.groups.map(({ id: group, primary, replicas }) => {
      return { id: group, primary: primary.addr, replicas: replicas.map((replica) => replica.addr) };
    });
    const fast = { health_period_ms: 100, lease_ms: 1000, proxy_lease_ms: 1500, server_timeout_ms: 1000 };
    const values = { id, listen: "127.0.0.1:1", cluster: { groups }, ...fast, ...this.#overrides };
    const config = parseControllerConfig(values, { file: "test" });
    const env = testEnv();
    const store = await openMemoryStore(env, this.database);
    const controller = new Controller(env, config, store, {
      pid: process.pid,
      addr: `h:${id.slice(1)}`,
      version: "0",
      machine: "m",
    });
    this.controller = controller;
    this.#cleanups.push(() => controller.stop());
    await controller.run();
    return controller;
  }

  addProxy(id: string): FakeProxy {
    const proxy = new FakeProxy(this, id);
    this.proxies.push(proxy);
    return proxy;
  }

  async api(method: "GET" | "POST", path: string, body?: unknown): Promise<unknown> {
    const request = new Request(`http://h${path}`, {
      method,
      ...(method === "POST" && { body: JSON.stringify(body ?? {}) }),
    });
    const response = await this.controller.handle(request);
    const json = await response.json();
    if (!response.ok) throw new Error(JSON.stringify(json));
    return json;
  }

  status(): Promise<ClusterStatus> {
    return this.api("GET", "/api/v1/status") as Promise<ClusterStatus>;
  }

  moves(): Promise<Moves> {
    return this.api("GET", "/api/v1/moves") as Promise<Moves>;
  }

  move(from: number, to: number, target: string, force = false): Promise<unknown> {
    return this.api("POST", "/api/v1/moves", { moves: [{ from, to, target }], force });
  }

  /** Group that `slot` belongs to, when it is not on its way. */
  ownerOf(slot: number): string | null {
    const range = this.controller.state.map?.ranges.find(({ from, to }) => from <= slot && slot <= to);
    return range === undefined || range.move !== undefined ? null : range.group;
  }

  async untilIdle(withinMs = 20_000): Promise<void> {
    await until(async () => (await this.moves()).moves.length === 0, "no move is under way", withinMs);
  }

  eventKinds(): string[] {
    return this.controller.events.all().map((event) => event.kind);
  }

  async stop(): Promise<void> {
    for (const proxy of this.proxies) proxy.stop();
    for (const cleanup of this.#cleanups.splice(0).reverse()) await cleanup();
  }
}
