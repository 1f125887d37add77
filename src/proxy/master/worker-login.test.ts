/** Which worker is which user at the servers, and when: a login never comes before its map. */
import { describe, expect, test } from "bun:test";
import type { ServerLogin } from "../../contract/schemas.ts";
import type { Log } from "../../env/log.ts";
import { systemClock } from "../../platform/clock.ts";
import { systemTimers } from "../../platform/timers.ts";
import type { ClusterMap } from "../../topology/cluster-map.ts";
import { parseProxyConfig } from "../proxy-config.ts";
import { ProxyMaster } from "./proxy-master.ts";
import type { MasterMessage } from "./worker-messages.ts";
import type { WorkerEnd, WorkerProcess } from "./worker-process.ts";

const silent: Log = { debug() {}, info() {}, warn() {}, error() {}, with: () => silent };

class FakeWorker implements WorkerProcess {
  readonly pid = 1;
  readonly sent: MasterMessage[] = [];
  readonly ended = new Promise<WorkerEnd>(() => {});
  say: (message: unknown) => void = () => {};

  send(message: MasterMessage): void {
    this.sent.push(message);
  }

  onMessage(receive: (message: unknown) => void): void {
    this.say = receive;
  }

  kill(): void {}

  /** "start old", "login new", "map 3" … */
  get told(): string[] {
    return this.sent.map((message) => {
      if (message.type === "start")
        return `start ${message.map.version} ${message.login?.password ?? "nobody"}`;
      if (message.type === "login") return `login ${message.login?.password ?? "nobody"}`;
      return message.type === "map" ? `map ${message.map.version}` : message.type;
    });
  }
}

const map = (version: number): ClusterMap => ({ cluster: "c", version, term: 1 }) as ClusterMap;
const login = (password: string, sinceVersion: number): ServerLogin => ({
  user: "u",
  password,
  sinceVersion,
});

function setUp(): { master: ProxyMaster; workers: FakeWorker[] } {
  const workers: FakeWorker[] = [];
  const env = { clock: systemClock, timers: systemTimers, log: silent };
  const config = parseProxyConfig({ map_file: "given" }, { file: "test" });
  const startWorker = async (): Promise<FakeWorker> => {
    const worker = new FakeWorker();
    workers.push(worker);
    return worker;
  };
  const events = { onServing() {}, onFailed() {}, onChange() {} };
  return { master: new ProxyMaster(env, config, startWorker, events), workers };
}

const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));

describe("logins of workers", () => {
  test("no worker starts by a map that is older than its login", async () => {
    const { master, workers } = setUp();
    master.setLogin(login("one", 2));
    master.setMap(map(1));
    await turn();
    expect(workers).toHaveLength(0);
    master.setMap(map(2));
    await turn();
    expect(workers[0].told).toEqual(["start 2 one"]);
    master.kill();
  });

  test("a renewed login waits until the worker has settled in the map that goes with it", async () => {
    const { master, workers } = setUp();
    master.setLogin(login("one", 1));
    master.setMap(map(1));
    await turn();
    const [worker] = workers;
    worker.say({ type: "ready", address: "h:1" });
    worker.say({ type: "ack", version: 1, term: 1 });
    master.setLogin(login("two", 3));
    master.setMap(map(3));
    expect(master.status().login).toBe(1);
    worker.say({ type: "ack", version: 3, term: 1 });
    expect(worker.told.filter((text) => !text.startsWith("users"))).toEqual([
      "start 1 one",
      "map 3",
      "login two",
    ]);
    expect(master.status().login).toBe(3);
    master.setLogin(null);
    expect(worker.told.at(-1)).toBe("login nobody");
    expect(master.status().login).toBeNull();
    master.kill();
  });

  test("a worker that began without a login stays so: its connections could not be told apart", async () => {
    const { master, workers } = setUp();
    master.setMap(map(1));
    await turn();
    workers[0].say({ type: "ready", address: "h:1" });
    workers[0].say({ type: "ack", version: 1, term: 1 });
    master.setLogin(login("one", 1));
    expect(workers[0].told.some((text) => text.startsWith("login"))).toBe(false);
    expect(master.status().login).toBeNull();
    master.kill();
  });
});
