/**
 * Link and controller over real HTTP: the map arrives, changes arrive, a restarted controller is found again.
 */
import { afterEach, expect, test } from "bun:test";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ProxyReport } from "../../src/contract/schemas.ts";
import { fetchStatus } from "../../src/contract/client.ts";
import { Controller } from "../../src/controller/controller.ts";
import { parseControllerConfig } from "../../src/controller/controller-config.ts";
import type { HttpListener } from "../../src/env/http.ts";
import { systemDisk } from "../../src/platform/disk.ts";
import { systemHttpClient } from "../../src/platform/http/http-client.ts";
import { systemHttpServer } from "../../src/platform/http/http-server.ts";
import { ProxyLink } from "../../src/proxy/link/proxy-link.ts";
import { MemoryDatabase } from "../../src/store/memory/database.ts";
import { openMemoryStore } from "../../src/store/memory/open-store.ts";
import { freePort, testEnv } from "../support/redis-process.ts";
import { until } from "../support/until.ts";

const cleanups: Array<() => Promise<unknown>> = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Running {
  readonly controller: Controller;
  readonly listener: HttpListener;
  stop(): Promise<void>;
}

async function startController(database: MemoryDatabase, port: number): Promise<Running> {
  const env = testEnv();
  const groups = [{ id: "g1", primary: "127.0.0.1:1", replicas: [] }];
  // Without logins: they are versions of the map of their own, and this is about the maps.
  const values = { listen: `127.0.0.1:${port}`, token: "secret", proxy_logins: "off", cluster: { groups } };
  const config = parseControllerConfig(values, { file: "test" });
  const store = await openMemoryStore(env, database);
  const self = { pid: process.pid, addr: config.listen, version: "test", machine: "m" };
  const controller = new Controller(env, config, store, self);
  const listener = await systemHttpServer.listen({ host: "127.0.0.1", port }, controller.handle);
  await controller.run();
  let stopped: Promise<void> | null = null;
  const stop = () =>
    (stopped ??= (async () => {
      await controller.drain();
      await controller.stop();
      await listener.close();
    })());
  cleanups.push(stop);
  return { controller, listener, stop };
}

test("a proxy follows the controller across restarts, and is seen by it", async () => {
  const folder = await mkdtemp(join(tmpdir(), "shoal-link-"));
  cleanups.push(() => rm(folder, { recursive: true, force: true }));
  const database = new MemoryDatabase();
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const versions: number[] = [];
  const report = (): ProxyReport => ({
    addr: "127.0.0.1:19000",
    pid: 4711,
    state: "serving",
    workers: [],
    map: link.map === null ? null : { version: link.map.version, term: link.map.term },
    servers: [],
    counters: {},
  });
  const mapFile = join(folder, "map.json");
  const link = new ProxyLink(
    { ...testEnv(), disk: systemDisk, http: systemHttpClient },
    { proxyId: "p1", controllers: [url], token: "secret", mapFile },
    { onMap: (map) => versions.push(map.version), report },
  );
  cleanups.push(() => link.stop());
  expect(await link.start()).toBeNull();

  const first = await startController(database, port);
  await until(() => versions.length === 1, "the first map is there");
  const acknowledged = async (): Promise<number | undefined> =>
    (await fetchStatus(systemHttpClient, { url, token: "secret" })).proxies[0]?.map?.version;
  await until(async () => (await acknowledged()) === 1, "the first map is acknowledged");
  await first.controller.state.change({ type: "joined", addr: "127.0.0.1:1" });
  expect(versions).toEqual([1]);

  const stoppedAt = performance.now();
  await first.stop();
  expect(performance.now() - stoppedAt).toBeLessThan(900);
  await startController(database, port);
  await until(() => versions.at(-1) === 2, "the new leader's map is there");
  await until(async () => (await acknowledged()) === 2, "and acknowledged");
  expect(link.map?.term).toBe(2);
  await link.stop();
  expect(JSON.parse(await readFile(mapFile, "utf8")).map.version).toBe(2);
});

test("the hub forgets readers that go away; every answer says who leads", async () => {
  const { controller, listener } = await startController(new MemoryDatabase(), 0);
  const abort = new AbortController();
  const headers = { authorization: "Bearer secret" };
  const url = `http://${listener.address}/api/v1/map/stream?proxy=p9`;
  const response = await fetch(url, { headers, signal: abort.signal });
  expect(response.headers.get("shoal-controller")).toBe("c1");
  expect(response.headers.get("shoal-term")).toBe("1");
  const metric = async (): Promise<string> =>
    (await fetch(`http://${listener.address}/metrics`, { headers })).text();
  await until(async () => (await metric()).includes("shoal_map_streams 1"), "one stream is open");
  abort.abort();
  await until(async () => (await metric()).includes("shoal_map_streams 0"), "none is open");
  expect(controller.state.map?.version).toBe(1);
});
