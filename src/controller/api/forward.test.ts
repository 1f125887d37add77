/** Two controllers on one store, joined without sockets: who is asked does not matter. */
import { afterEach, describe, expect, test } from "bun:test";
import type { HttpClient, HttpRequest } from "../../env/http.ts";
import type { Log } from "../../env/log.ts";
import { ShoalError } from "../../base/shoal-error.ts";
import { systemClock } from "../../platform/clock.ts";
import { PortableNet } from "../../platform/portable/portable-net.ts";
import { systemRandom } from "../../platform/random.ts";
import { systemTimers } from "../../platform/timers.ts";
import { MemoryDatabase } from "../../store/memory/database.ts";
import { openMemoryStore } from "../../store/memory/open-store.ts";
import { Controller } from "../controller.ts";
import { parseControllerConfig } from "../controller-config.ts";
import { FORWARDED_HEADER } from "./forward.ts";

const silent: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {}, with: () => silent };
const TOKEN = "a-token-of-24-characters";

/** The network: addresses to controllers, and what went over it. */
class Wire implements HttpClient {
  readonly at = new Map<string, Controller>();
  readonly sent: HttpRequest[] = [];

  async send(request: HttpRequest): Promise<Response> {
    this.sent.push(request);
    const controller = this.at.get(new URL(request.url).host);
    if (controller === undefined) throw new ShoalError("UNREACHABLE", `Cannot reach ${request.url}`);
    const { method, headers, body } = request;
    return controller.handle(new Request(request.url, { method, headers, body }));
  }
}

let running: Controller[] = [];
afterEach(async () => {
  for (const controller of running.reverse()) await controller.stop();
  running = [];
});

async function make(id: string, database: MemoryDatabase, wire: Wire): Promise<Controller> {
  const groups = [{ id: "g1", primary: "127.0.0.1:1", replicas: [] }];
  const values = { id, lease_ms: 5000, token: TOKEN, cluster: { groups } };
  const config = parseControllerConfig(values, { file: "test" });
  const env = {
    clock: systemClock,
    timers: systemTimers,
    random: systemRandom,
    net: new PortableNet(systemTimers),
    log: silent,
    http: wire,
  };
  const store = await openMemoryStore(env, database);
  const addr = `${id}.test:80`;
  const controller = new Controller(env, config, store, { pid: 1, addr, version: "0", machine: "m" });
  // A URL of port 80 names no port.
  wire.at.set(`${id}.test`, controller);
  running.push(controller);
  await controller.run();
  return controller;
}

/** What the tests look at. */
interface Answer {
  readonly options: ReadonlyArray<{ readonly name: string; readonly value: unknown }>;
}

async function ask(controller: Controller, path: string, init: RequestInit = {}): Promise<[number, Answer]> {
  const headers = { authorization: `Bearer ${TOKEN}`, ...(init.headers as Record<string, string>) };
  const response = await controller.handle(new Request(`http://h${path}`, { ...init, headers }));
  return [response.status, (await response.json()) as Answer];
}

const set = (value: string): RequestInit => ({
  method: "POST",
  body: JSON.stringify({ options: { hold_timeout_ms: value } }),
});

describe("a controller that does not lead", () => {
  test("passes writes on, with the token, and hands the answer back, errors too", async () => {
    const wire = new Wire();
    const database = new MemoryDatabase();
    const first = await make("c1", database, wire);
    const second = await make("c2", database, wire);
    expect([first.state.leading, second.state.leading]).toEqual([true, false]);
    const [status, answer] = await ask(second, "/api/v1/options", set("700"));
    expect(status).toBe(200);
    expect(answer.options.find((row) => row.name === "hold_timeout_ms")?.value).toBe(700);
    expect(first.state.topology?.options).toEqual({ hold_timeout_ms: 700 });
    expect(wire.sent).toHaveLength(1);
    expect(wire.sent[0].headers).toMatchObject({
      authorization: `Bearer ${TOKEN}`,
      [FORWARDED_HEADER]: "c2",
    });
    expect(await ask(second, "/api/v1/options", set("soon"))).toMatchObject([
      400,
      { error: { code: "INVALID_ARGUMENT" } },
    ]);
    expect(await ask(second, "/api/v1/groups/g1/remove", { method: "POST" })).toMatchObject([
      409,
      { error: { message: expect.stringContaining("Cannot remove group g1: it owns slots 0-1023") } },
    ]);
  });

  test("asks for the token itself, and never passes on what was passed on to it", async () => {
    const wire = new Wire();
    const database = new MemoryDatabase();
    await make("c1", database, wire);
    const second = await make("c2", database, wire);
    const [status] = await ask(second, "/api/v1/options", {
      ...set("1"),
      headers: { authorization: "Bearer x" },
    });
    expect(status).toBe(401);
    const looping = { ...set("1"), headers: { [FORWARDED_HEADER]: "c3" } };
    expect(await ask(second, "/api/v1/options", looping)).toMatchObject([
      421,
      { error: { code: "NOT_LEADER", message: expect.stringContaining("leadership is changing hands") } },
    ]);
    expect(wire.sent).toHaveLength(0);
  });

  test("does not pass reports on, and answers reads itself when the leader is not there", async () => {
    const wire = new Wire();
    const database = new MemoryDatabase();
    await make("c1", database, wire);
    const second = await make("c2", database, wire);
    const report = {
      addr: "h:1",
      pid: 1,
      state: "serving",
      workers: [],
      map: null,
      servers: [],
      counters: {},
    };
    const post = { method: "POST", body: JSON.stringify(report) };
    expect(await ask(second, "/api/v1/proxies/p1/report", post)).toMatchObject([421, {}]);
    expect(wire.sent).toHaveLength(0);
    wire.at.delete("c1.test");
    expect(await ask(second, "/api/v1/status")).toMatchObject([200, { cluster: "shoal" }]);
    expect(await ask(second, "/api/v1/slots")).toMatchObject([200, { count: 1024 }]);
    expect(await ask(second, "/api/v1/options", set("1"))).toMatchObject([
      503,
      { error: { code: "UNREACHABLE", message: expect.stringContaining("c1 leads, but Cannot reach") } },
    ]);
  });
});
