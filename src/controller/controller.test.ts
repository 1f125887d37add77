/** Parts of the controller that need no server: election, streams, metrics, API errors. */
import { describe, expect, test } from "bun:test";
import { ShoalError } from "../base/shoal-error.ts";
import type { Log } from "../env/log.ts";
import { systemClock } from "../platform/clock.ts";
import { systemRandom } from "../platform/random.ts";
import { systemTimers } from "../platform/timers.ts";
import { PortableNet } from "../platform/portable/portable-net.ts";
import { MemoryDatabase } from "../store/memory/database.ts";
import { openMemoryStore } from "../store/memory/open-store.ts";
import type { Store } from "../store/store.ts";
import { until } from "../../test/support/until.ts";
import { Controller } from "./controller.ts";
import { parseControllerConfig } from "./controller-config.ts";
import { ClusterState } from "./cluster-state.ts";
import { EventLog } from "./events.ts";
import { MapHub, STREAM_LINES_WAITING_MAX } from "./map-hub.ts";
import { METRICS } from "./metrics.ts";

const silent: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {}, with: () => silent };
const env = {
  clock: systemClock,
  timers: systemTimers,
  random: systemRandom,
  net: new PortableNet(systemTimers),
  log: silent,
};

async function make(id: string, database: MemoryDatabase, store?: Store): Promise<Controller> {
  const groups = [{ id: "g1", primary: "127.0.0.1:1", replicas: [] }];
  const values = { id, lease_ms: 500, listen: "127.0.0.1:1", cluster: { groups } };
  const config = parseControllerConfig(values, { file: "test" });
  const self = { pid: 1, addr: "127.0.0.1:1", version: "0", machine: "m" };
  return new Controller(env, config, store ?? (await openMemoryStore(env, database)), self);
}

const get = async (controller: Controller, path: string, init?: RequestInit) => {
  const response = await controller.handle(new Request(`http://h${path}`, init));
  return { status: response.status, json: await response.json() };
};

describe("Controller", () => {
  test("says that it starts, then serves; an unknown route and a bad body are errors in JSON", async () => {
    const controller = await make("c1", new MemoryDatabase());
    expect(await get(controller, "/healthz")).toMatchObject({ status: 503, json: { status: "starting" } });
    expect(await get(controller, "/api/v1/map")).toMatchObject({
      status: 404,
      json: { error: { code: "NOT_FOUND" } },
    });
    await controller.run();
    expect(await get(controller, "/healthz")).toMatchObject({
      status: 200,
      json: { status: "ok", leader: true },
    });
    expect(await get(controller, "/api/v1/slot?key=%7Bt%7Da")).toMatchObject({ json: { slot: 680 } });
    expect(await get(controller, "/api/v1/slot?key64=YQ")).toMatchObject({ json: { slot: 579 } });
    expect(await get(controller, "/api/v1/slot")).toMatchObject({ status: 400 });
    expect(await get(controller, "/nothing")).toEqual({
      status: 404,
      json: { error: { code: "NOT_FOUND", message: "Cannot GET /nothing: no such route" } },
    });
    const post = { method: "POST", body: "{" };
    expect(await get(controller, "/api/v1/proxies/p1/report", post)).toMatchObject({
      status: 400,
      json: { error: { message: "Cannot POST /api/v1/proxies/:id/report: the body is not JSON" } },
    });
    await controller.stop();
  });

  test("two on one store: one leads, the other takes over when it stops", async () => {
    const database = new MemoryDatabase();
    const first = await make("c1", database);
    const second = await make("c2", database);
    await first.run();
    await second.run();
    expect([first.state.leading, second.state.leading]).toEqual([true, false]);
    expect(second.state.map).toEqual(first.state.map);
    await expect(second.state.change({ type: "led" })).rejects.toThrow(
      "Cannot apply led: c1 at 127.0.0.1:1 leads",
    );
    await first.stop();
    await until(() => second.state.leading, "the second one leads");
    expect(second.state.map).toMatchObject({ version: 2, term: 2 });
    await second.stop();
  });

  test("a store that goes away: it leads no more once its lease is over, and again later", async () => {
    const database = new MemoryDatabase();
    const real = await openMemoryStore(env, database);
    let away = false;
    const check = (): void => {
      if (away) throw new ShoalError("STORE", "Cannot reach the store");
    };
    const store: Store = {
      ...real,
      renewLeadership: async (term, leaseMs) => (check(), real.renewLeadership(term, leaseMs)),
      acquireLeadership: async (candidate, ms, own) => (check(), real.acquireLeadership(candidate, ms, own)),
      announceMember: async (member, leaseMs) => (check(), real.announceMember(member, leaseMs)),
    };
    const controller = await make("c1", database, store);
    await controller.run();
    away = true;
    await until(() => !controller.state.leading, "its lease is over");
    expect(controller.state.map?.version).toBe(1);
    away = false;
    await until(() => controller.state.leading, "it leads again");
    expect(controller.state.map).toMatchObject({ version: 2, term: 2 });
    await controller.stop();
  });
});

test("a map stream that nobody reads is cut at its bound, one that is read is not", async () => {
  const events = new EventLog(env);
  const state = new ClusterState(await openMemoryStore(env), silent, events);
  let beat = (): void => {};
  const timers = {
    ...systemTimers,
    every: (_: number, run: () => void) => ((beat = run), { cancel: () => {} }),
  };
  const hub = new MapHub({ timers }, state, events);
  await hub.run();
  hub.open("slow");
  const reader = hub.open("quick").getReader();
  for (let i = 0; i < 2 * STREAM_LINES_WAITING_MAX; i++) {
    await reader.read();
    beat();
  }
  expect(hub.streams).toBe(1);
  expect(events.all().map((event) => [event.kind, event.fields["proxy"]])).toEqual([["stream-cut", "slow"]]);
  await hub.stop();
});

test("metrics have a help text each and no name twice", () => {
  expect(new Set(METRICS.map((metric) => metric.name)).size).toBe(METRICS.length);
  for (const metric of METRICS) expect(metric.help).not.toBe("");
});
