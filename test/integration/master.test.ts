import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ShoalError } from "../../src/base/shoal-error.ts";
import type { Log } from "../../src/env/log.ts";
import { systemClock } from "../../src/platform/clock.ts";
import { findFreePorts } from "../../src/platform/processes/addresses.ts";
import { startProcess } from "../../src/platform/processes/child-process.ts";
import { ProxyMaster } from "../../src/proxy/master/proxy-master.ts";
import { type ProxyConfig, parseProxyConfig } from "../../src/proxy/proxy-config.ts";
import { systemTimers } from "../../src/platform/timers.ts";
import { type ClusterMap, evenRanges } from "../../src/topology/cluster-map.ts";
import { until } from "../support/until.ts";

const FIXTURE = join(import.meta.dir, "../fixtures/fixture-worker.ts");

const silent: Log = { debug() {}, info() {}, warn() {}, error() {}, with: () => silent };

let folder: string;
let journal: string;
const pids = new Set<number>();

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "shoal-master-"));
  journal = join(folder, "journal");
});

afterEach(() => {
  for (const pid of pids) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // Ended as it should.
    }
  }
  pids.clear();
  rmSync(folder, { recursive: true, force: true });
});

function mapOf(version: number, options: ClusterMap["options"] = {}): ClusterMap {
  const groups = [{ id: "g1", number: 1, primary: "127.0.0.1:1", replicas: [] }];
  return {
    cluster: "c",
    version,
    term: 1,
    hash: "crc32",
    slots: 1024,
    groups,
    ranges: evenRanges(1024, ["g1"]),
    options,
  };
}

interface Rig {
  readonly master: ProxyMaster;
  readonly config: ProxyConfig;
  readonly failures: ShoalError[];
}

async function makeRig(mode: string, settings: Record<string, unknown> = {}): Promise<Rig> {
  const [port] = await findFreePorts("127.0.0.1", 21300, 1, new Set());
  const values = { map_file: "x", listen: `127.0.0.1:${port}`, workers: 3, ...settings };
  const config = parseProxyConfig(values, { file: "test" });
  const failures: ShoalError[] = [];
  const env = { clock: systemClock, timers: systemTimers, log: silent };
  const startWorker = async (): ReturnType<typeof startProcess> => {
    const args = [`FIXTURE=${mode}`, `FIXTURE_JOURNAL=${journal}`, process.execPath, FIXTURE];
    const worker = await startProcess({ what: "worker", command: "/usr/bin/env", args, messages: true });
    pids.add(worker.pid);
    return worker;
  };
  const master = new ProxyMaster(env, config, startWorker, {
    onServing() {},
    onFailed: (error) => failures.push(error),
    onChange() {},
  });
  return { master, config, failures };
}

function livePids(master: ProxyMaster): Array<number | null> {
  return master.status().workers.map((worker) => worker.pid);
}

async function serving(rig: Rig): Promise<void> {
  await until(
    () => rig.master.status().workers.every((worker) => worker.state === "serving"),
    "all workers serve",
  );
}

/** What a worker says to a new connection. */
function greeting(address: string): Promise<string> {
  const [host, port] = address.split(":");
  return new Promise((resolve, reject) => {
    let text = "";
    const socket = connect({ host, port: Number(port) });
    socket.on("data", (chunk) => (text += chunk.toString()));
    socket.on("end", () => resolve(text.trim()));
    socket.on("error", reject);
  });
}

function journalLines(): string[] {
  return existsSync(journal) ? readFileSync(journal, "utf8").trim().split("\n") : [];
}

describe("the proxy's master", () => {
  test("waits for a map, then starts its workers with it, and drains them", async () => {
    const rig = await makeRig("");
    expect(rig.master.status().state).toBe("waiting");
    expect(livePids(rig.master)).toEqual([null, null, null]);
    rig.master.setMap(mapOf(7));
    await until(() => rig.master.status().state === "serving", "serving");
    await until(() => rig.master.status().acked?.version === 7, "acknowledged");
    expect((await greeting(rig.config.listen)).split(" ")[2]).toBe("7");
    await until(() => rig.master.status().counters["requests"] === 30, "counters are sums");
    await rig.master.drain();
    expect(rig.master.status().workers.every((worker) => worker.state === "ended")).toBe(true);
    expect(journalLines().filter((line) => line.startsWith("drain ")).length).toBe(3);
    expect(greeting(rig.config.listen)).rejects.toThrow();
  });

  test("hands on newer maps only", async () => {
    const rig = await makeRig("");
    rig.master.setMap(mapOf(7));
    await serving(rig);
    rig.master.setMap(mapOf(9));
    rig.master.setMap(mapOf(8));
    await until(() => rig.master.status().acked?.version === 9, "acknowledged 9");
    expect((await greeting(rig.config.listen)).split(" ")[2]).toBe("9");
    await rig.master.drain();
  });

  test("acknowledges what the slowest worker has acknowledged", async () => {
    const rig = await makeRig("slow-ack");
    rig.master.setMap(mapOf(7));
    await serving(rig);
    await until(() => rig.master.status().acked?.version === 7, "acknowledged 7");
    rig.master.setMap(mapOf(8, { ask: 0 }));
    // Worker 0 asks after it has acknowledged 8, so the answers show that the others have had the map as
    // well.
    await until(() => journalLines().some((line) => line.startsWith("answers")), "worker 0 has its answers");
    expect(rig.master.status().acked).toEqual({ version: 7, term: 1 });
    await rig.master.drain();
  });

  test("replaces a killed worker within a second, with the newest map, and touches no other", async () => {
    const rig = await makeRig("");
    rig.master.setMap(mapOf(7));
    await serving(rig);
    rig.master.setMap(mapOf(8));
    const before = livePids(rig.master);
    process.kill(before[1] as number, "SIGKILL");
    await until(() => livePids(rig.master)[1] !== before[1], "the death is noticed");
    await until(() => rig.master.status().workers[1].state === "serving", "worker 1 is back", 1000);
    const after = livePids(rig.master);
    expect([after[0], after[2]]).toEqual([before[0], before[2]]);
    await until(() => rig.master.status().acked?.version === 8, "the new one has the newest map");
    expect(rig.master.status().workers.map((worker) => worker.restarts)).toEqual([0, 1, 0]);
    await rig.master.drain();
  });

  test("a worker that keeps dying is started less and less often, and the others serve on", async () => {
    const trigger = join(folder, "crash-now");
    const rig = await makeRig(`crashes-when:${trigger}`);
    rig.master.setMap(mapOf(7));
    await serving(rig);
    const before = livePids(rig.master);
    writeFileSync(trigger, "");
    const startMs = performance.now();
    process.kill(before[0] as number, "SIGKILL");
    const starts = (): number => journalLines().filter((line) => line.startsWith("start ")).length;
    await until(() => starts() >= 4, "four attempts");
    // Pauses of 0 (or 100, as it had not settled), then 100, 200 and 400 ms lie between them.
    expect(performance.now() - startMs).toBeGreaterThan(600);
    expect(livePids(rig.master).slice(1)).toEqual(before.slice(1));
    rmSync(trigger);
    await until(() => rig.master.status().workers[0].state === "serving", "it is back");
    expect(rig.failures).toEqual([]);
    await rig.master.drain();
  });

  test("a worker that says why it can't start fails the start with its words", async () => {
    const rig = await makeRig("fails");
    rig.master.setMap(mapOf(7));
    await until(() => rig.failures.length > 0, "failed");
    expect(rig.failures[0].code).toBe("ADDRESS_IN_USE");
    expect(rig.failures[0].message).toBe("Cannot start proxy p1: Cannot listen: the fixture says so");
    await rig.master.drain();
    expect(rig.failures.length).toBe(1);
  });

  test("workers that die without a word fail the start after three attempts", async () => {
    const rig = await makeRig("crashes", { workers: 1 });
    rig.master.setMap(mapOf(7));
    await until(() => rig.failures.length > 0, "failed");
    expect(rig.failures[0].code).toBe("START_FAILED");
    expect(rig.failures[0].message).toContain("worker 0 ended by status 3");
    expect(journalLines()).toEqual(["start 1", "start 2", "start 3"]);
    await rig.master.drain();
  });

  test("a worker that does not drain is killed when its time is up", async () => {
    const rig = await makeRig("never-drains", { drain_timeout_ms: 200 });
    rig.master.setMap(mapOf(7));
    await serving(rig);
    const startMs = performance.now();
    await rig.master.drain();
    const tookMs = performance.now() - startMs;
    expect(tookMs).toBeGreaterThan(200);
    expect(tookMs).toBeLessThan(5000);
  });

  test("drain during the start leaves no process", async () => {
    const rig = await makeRig("");
    rig.master.setMap(mapOf(7));
    await rig.master.drain();
    expect(livePids(rig.master)).toEqual([null, null, null]);
  });
});

describe("questions between workers", () => {
  async function answersOf(mode: string): Promise<{ answers: string[]; missing: number[]; tookMs: number }> {
    const rig = await makeRig(mode);
    rig.master.setMap(mapOf(7));
    await serving(rig);
    const startMs = performance.now();
    rig.master.setMap(mapOf(8, { ask: 0 }));
    await until(() => journalLines().some((line) => line.startsWith("answers")), "answers");
    const tookMs = performance.now() - startMs;
    const line = journalLines().find((one) => one.startsWith("answers")) as string;
    await rig.master.drain();
    return { ...JSON.parse(line.slice(8)), tookMs };
  }

  test("go to every other worker; the answers come back together", async () => {
    const result = await answersOf("");
    expect(result).toMatchObject({ id: 5, answers: ["worker 1: who", "worker 2: who"], missing: [] });
  });

  test("are answered without the one that does not answer, in bounded time", async () => {
    const result = await answersOf("mute");
    expect(result).toMatchObject({ id: 5, answers: ["worker 1: who"], missing: [2] });
    expect(result.tookMs).toBeLessThan(1500);
  });
});
