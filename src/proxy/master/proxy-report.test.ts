/** What workers see of servers, all the way into the report. */
import { expect, test } from "bun:test";
import type { Timer } from "../../env/env.ts";
import type { Log } from "../../env/log.ts";
import { proxyReportSchema } from "../../contract/schemas.ts";
import { type ClusterMap, evenRanges } from "../../topology/cluster-map.ts";
import { parseProxyConfig } from "../proxy-config.ts";
import type { ServerSight } from "../upstream/server-sights.ts";
import { ProxyMaster } from "./proxy-master.ts";
import { reportOf } from "./proxy-report.ts";
import type { WorkerEnd, WorkerProcess } from "./worker-process.ts";

const silent: Log = { debug() {}, info() {}, warn() {}, error() {}, with: () => silent };
const timer: Timer = { cancel() {} };

class FakeWorker implements WorkerProcess {
  readonly pid: number;
  say: (message: unknown) => void = () => undefined;
  end: (end: WorkerEnd) => void = () => undefined;
  readonly ended = new Promise<WorkerEnd>((resolve) => (this.end = resolve));

  constructor(pid: number) {
    this.pid = pid;
  }

  send(): void {}

  onMessage(receive: (message: unknown) => void): void {
    this.say = receive;
  }

  kill(): void {}
}

const MAP: ClusterMap = {
  cluster: "c",
  version: 1,
  term: 1,
  hash: "crc32",
  slots: 1024,
  groups: [{ id: "g1", number: 1, primary: "a:1", replicas: [] }],
  ranges: evenRanges(1024, ["g1"]),
  options: {},
};

function sees(state: ServerSight["state"], sinceMs: number): { type: string; servers: ServerSight[] } {
  return { type: "servers", servers: [{ addr: "a:1", state, sinceMs, detail: "" }] };
}

test("the worst of the workers' views is reported; a worker that ends takes its view along", async () => {
  let nowMs = 1000;
  const workers: FakeWorker[] = [];
  const env = {
    clock: { nowMs: () => nowMs, wallMs: () => nowMs },
    timers: { after: () => timer, every: () => timer },
    log: silent,
  };
  const config = parseProxyConfig({ map_file: "x", workers: 2 }, { file: "test" });
  let changes = 0;
  const start = (): Promise<FakeWorker> => {
    workers.push(new FakeWorker(100 + workers.length));
    return Promise.resolve(workers[workers.length - 1]);
  };
  const events = { onServing: () => undefined, onFailed: () => undefined, onChange: () => void changes++ };
  const master = new ProxyMaster(env, config, start, events);
  master.setMap(MAP);
  await Promise.resolve();
  for (const worker of workers) worker.say({ type: "ready", address: "127.0.0.1:1" });
  const servers = (): unknown => proxyReportSchema.parse(reportOf(master.status(), 1, "m")).servers;
  expect(servers()).toEqual([]);
  workers[0].say(sees("up", 50));
  const before = changes;
  workers[1].say(sees("down", 20));
  expect(changes).toBe(before + 1);
  nowMs += 300;
  expect(servers()).toEqual([{ addr: "a:1", state: "down", sinceMs: 320, detail: "" }]);
  workers[1].end({ status: 1, signal: null });
  await Promise.resolve();
  await Promise.resolve();
  expect(servers()).toEqual([{ addr: "a:1", state: "up", sinceMs: 350, detail: "" }]);
});
