/** `shoal proxy` with its workers under load: one is killed; all are told to end. */
import { type Subprocess, spawn } from "bun";
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, RedisProcess } from "../support/redis-process.ts";
import { until } from "../support/until.ts";
import { encode, RawClient } from "./raw-client.ts";
import { mapOf, TRANSPORTS } from "./rig.ts";

setDefaultTimeout(60_000);

const SHOAL = join(import.meta.dir, "../../bin/shoal");

let server: RedisProcess;
let folder: string;
let port: number;
let proxy: Subprocess<"ignore", "inherit", "inherit">;

beforeEach(async () => {
  server = await RedisProcess.start();
  folder = mkdtempSync(join(tmpdir(), "shoal-processes-"));
  port = await freePort();
  writeFileSync(join(folder, "map.json"), JSON.stringify(mapOf([server.addr])));
});

afterEach(async () => {
  for (const pid of workersOf(proxy.pid)) process.kill(pid, "SIGKILL");
  proxy.kill("SIGKILL");
  await proxy.exited;
  await server.dispose();
  rmSync(folder, { recursive: true, force: true });
});

/** The worker processes of a master. */
function workersOf(pid: number): number[] {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
    return children === "" ? [] : children.split(" ").map(Number);
  } catch {
    return [];
  }
}

async function startProxy(settings: string): Promise<void> {
  const file = join(folder, "proxy.toml");
  const map = join(folder, "map.json");
  const fixed = `listen = "127.0.0.1:${port}"\nmap_file = "${map}"\nlog_level = "error"\n`;
  writeFileSync(file, `${fixed}${settings}\n`);
  proxy = spawn([SHOAL, "proxy", "--config", file], { stdio: ["ignore", "inherit", "inherit"] });
  await until(async () => (await oneCall("PING")) === "PONG", "the proxy serves");
}

async function oneCall(...words: string[]): Promise<unknown> {
  const client = await RawClient.connect(port);
  try {
    return await client.call(...words);
  } finally {
    client.close();
  }
}

/** Which worker serves a client. */
async function workerOf(client: RawClient): Promise<number> {
  const info = (await client.call("INFO", "server")) as string;
  return Number(/^process_id:(\d+)/m.exec(info)?.[1]);
}

/** The workers that a handful of new clients meet. */
async function workersMet(): Promise<Set<number>> {
  const probes = await Promise.all(Array.from({ length: 12 }, () => RawClient.connect(port)));
  const met = new Set(await Promise.all(probes.map(workerOf)));
  for (const probe of probes) probe.close();
  return met;
}

describe.each(TRANSPORTS)("shoal proxy (%s)", (io) => {
  test("a worker that is killed is replaced; the other's clients notice nothing", async () => {
    await startProxy(`workers = 2\nio = "${io}"`);
    await until(async () => (await workersMet()).size === 2, "both workers serve");
    const [first, second] = workersOf(proxy.pid);
    const clients = await Promise.all(Array.from({ length: 24 }, () => RawClient.connect(port)));
    const owners = await Promise.all(clients.map(workerOf));
    expect(new Set(owners)).toEqual(new Set([first, second]));
    const phase = { running: true };
    let calls = 0;
    const ended: number[] = [];
    const load = clients.map(async (client, i) => {
      while (phase.running) {
        client.write(Buffer.concat([encode("SET", `owner:${i}`, String(i)), encode("GET", `owner:${i}`)]));
        const replies = await client.take(2).catch(() => null);
        if (replies === null) {
          ended.push(owners[i]);
          return;
        }
        expect(replies).toEqual(["OK", String(i)]);
        calls++;
      }
    });
    await until(() => calls > 500, "all are served");
    const startMs = performance.now();
    process.kill(first, "SIGKILL");
    await until(() => workersOf(proxy.pid).some((pid) => pid !== first && pid !== second), "it is replaced");
    await until(async () => {
      const met = await workersMet();
      return met.size === 2 && !met.has(first);
    }, "the new one serves");
    console.log(`${io}: both workers serve again after ${Math.round(performance.now() - startMs)} ms`);
    const before = calls;
    await until(() => calls > before + 500, "the others are served on");
    phase.running = false;
    await Promise.all(load);
    expect(ended.length).toBe(owners.filter((owner) => owner === first).length);
    expect(ended.every((owner) => owner === first)).toBe(true);
    for (const client of clients) client.close();
  });

  test("SIGTERM: replies under way arrive, new connections are refused, status 0", async () => {
    await startProxy(`workers = 2\nio = "${io}"\ndrain_timeout_ms = 20000`);
    const clients = await Promise.all(Array.from({ length: 10 }, () => RawClient.connect(port)));
    for (const client of clients) expect(await client.call("SET", "k", "v")).toBe("OK");
    server.signal("SIGSTOP");
    for (const client of clients) client.write(Buffer.concat([encode("GET", "k"), encode("STRLEN", "k")]));
    // What was sent before this is read before this is answered.
    for (let i = 0; i < 5; i++) expect(await oneCall("PING")).toBe("PONG");
    proxy.kill("SIGTERM");
    await until(
      () =>
        oneCall("PING").then(
          () => false,
          () => true,
        ),
      "new connections are refused",
    );
    expect(clients.some((client) => client.closed)).toBe(false);
    server.signal("SIGCONT");
    for (const client of clients) expect(await client.take(2)).toEqual(["v", 1]);
    await until(() => clients.every((client) => client.closed), "they are closed");
    expect(await proxy.exited).toBe(0);
  });

  test("SIGTERM while a server is frozen: ends in bounded time", async () => {
    await startProxy(`workers = 1\nio = "${io}"\ndrain_timeout_ms = 700\nserver_timeout_ms = 60000`);
    const client = await RawClient.connect(port);
    expect(await client.call("SET", "k", "v")).toBe("OK");
    server.signal("SIGSTOP");
    client.write(encode("GET", "k"));
    expect(await oneCall("PING")).toBe("PONG");
    proxy.kill("SIGTERM");
    expect(await proxy.exited).toBe(0);
    await until(() => client.closed, "the client is cut");
    server.signal("SIGCONT");
  });
});
