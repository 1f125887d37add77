/** The proxies as one controller knows them, while it leads and while it follows. */
import { expect, test } from "bun:test";
import type { ProxyReport } from "../../contract/schemas.ts";
import type { HttpClient, HttpRequest } from "../../env/http.ts";
import { testEnv } from "../../../test/support/redis-process.ts";
import type { ClusterState } from "../cluster-state.ts";
import { EventLog } from "../events.ts";
import { ProxyRegistry } from "../proxy-registry.ts";
import { FleetView } from "./fleet-view.ts";

const LEASE_MS = 5000;

class Rig {
  nowMs = 0;
  readonly state = { leading: true, leader: { id: "c1", addr: "127.0.0.1:1" } };
  /** What the leader answers; null: nothing. */
  leaderSays: ReadonlyArray<{ id: string; state: string }> | null = [];
  readonly registry: ProxyRegistry;
  changes = 0;
  readonly #view: FleetView;
  readonly #timers: Array<() => void> = [];

  constructor() {
    const clock = { nowMs: () => this.nowMs, wallMs: () => this.nowMs };
    const timers = {
      after: () => ({ cancel: () => {} }),
      every: (_: number, run: () => void) => (this.#timers.push(run), { cancel: () => {} }),
    };
    const env = { ...testEnv(), clock, timers };
    this.registry = new ProxyRegistry(env, new EventLog(env), LEASE_MS);
    const http: HttpClient = { send: (request) => this.#answer(request) };
    const state = this.state as unknown as ClusterState;
    this.#view = new FleetView(
      env,
      { http, token: "t", state, registry: this.registry },
      () => this.changes++,
    );
  }

  async run(): Promise<this> {
    await this.registry.run();
    await this.#view.run();
    return this;
  }

  report(id: string, state: ProxyReport["state"] = "serving"): void {
    const nothing = { workers: [], map: null, servers: [], counters: {}, login: null };
    this.registry.accept(id, { addr: "h:1", pid: 1, state, ...nothing });
  }

  /** Time goes by; what comes back is the fleet as it is seen then. */
  async after(ms: number): Promise<string> {
    this.nowMs += ms;
    for (const run of this.#timers) run();
    // The leader's answer takes a few turns of the loop to be read.
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    return this.#view.proxies.map(({ id, state }) => `${id} ${state}`).join(", ");
  }

  async #answer({ url, headers }: HttpRequest): Promise<Response> {
    expect([url, headers["authorization"]]).toEqual(["http://127.0.0.1:1/api/v1/status", "Bearer t"]);
    if (this.leaderSays === null) throw new Error("nobody there");
    const proxies = this.leaderSays.map((proxy) => ({
      addr: "h:1",
      pid: 1,
      workers: [],
      map: null,
      ...proxy,
    }));
    const map = { version: 1, term: 1 };
    const slots = { count: 0, ranges: [] };
    return Response.json({ cluster: "c", map, controllers: [], proxies, groups: [], slots, problems: [] });
  }
}

test("who leads goes by the leases: lost, left and back", async () => {
  const rig = await new Rig().run();
  rig.report("p1");
  rig.report("p2");
  expect(await rig.after(250)).toBe("p1 serving, p2 serving");
  rig.report("p2", "draining");
  expect(await rig.after(250)).toBe("p1 serving, p2 draining");
  // Both are silent for longer than a lease: one has said that it would go.
  expect(await rig.after(LEASE_MS + 1)).toBe("p1 lost, p2 left");
  rig.report("p2");
  expect(await rig.after(250)).toBe("p1 lost, p2 serving");
  expect(rig.changes).toBe(4);
});

test("who follows asks the leader; what it does not say, or not at once, changes nothing", async () => {
  const rig = await new Rig().run();
  rig.state.leading = false;
  rig.leaderSays = [
    { id: "p1", state: "serving" },
    { id: "p2", state: "serving" },
  ];
  expect(await rig.after(1000)).toBe("p1 serving, p2 serving");
  // A leader that has just begun has heard of one of them only.
  rig.leaderSays = [{ id: "p2", state: "serving" }];
  expect(await rig.after(1000)).toBe("p1 serving, p2 serving");
  rig.leaderSays = null;
  expect(await rig.after(1000)).toBe("p1 serving, p2 serving");
  rig.leaderSays = [{ id: "p2", state: "lost" }];
  expect(await rig.after(1000)).toBe("p1 serving, p2 lost");
  // It still has not heard of the other one after a lease: that one is gone.
  expect(await rig.after(LEASE_MS)).toBe("p1 lost, p2 lost");
  // This one leads now, and has heard of nobody.
  rig.state.leading = true;
  rig.leaderSays = null;
  expect(await rig.after(250)).toBe("p1 lost, p2 lost");
});
