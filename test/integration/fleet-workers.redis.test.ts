/** What a client must not notice when the proxy has several workers. */
import { type Subprocess, spawn } from "bun";
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { evenMap } from "../support/proxy-process.ts";
import { freePort, RedisProcess } from "../support/redis-process.ts";
import { encodeRequest, RespClient } from "../support/resp-client.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(60_000);

const SHOAL = join(import.meta.dir, "../../bin/shoal");
const WORKERS = 2;

let folder: string;
let port: number;
let servers: RedisProcess[];
let proxy: Subprocess;
let clients: RespClient[];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "shoal-workers-"));
  port = await freePort();
  servers = await Promise.all([RedisProcess.start(), RedisProcess.start()]);
  writeFileSync(join(folder, "map.json"), JSON.stringify(evenMap(servers.map((server) => server.addr))));
  const config = `listen = "127.0.0.1:${port}"\nworkers = ${WORKERS}\nmap_file = "${folder}/map.json"\n`;
  writeFileSync(join(folder, "proxy.toml"), config);
  proxy = spawn([SHOAL, "proxy", "--config", join(folder, "proxy.toml")], {
    stdout: "ignore",
    stderr: "ignore",
  });
  clients = await oneOfEachWorker();
});

afterAll(async () => {
  for (const client of clients) client.close();
  proxy.kill("SIGTERM");
  await proxy.exited;
  await Promise.all(servers.map((server) => server.dispose()));
  rmSync(folder, { recursive: true, force: true });
});

/** A connection to each worker; the kernel deals them out. */
async function oneOfEachWorker(): Promise<RespClient[]> {
  const found = new Map<string, RespClient>();
  await until(async () => {
    const client = await RespClient.connect(port);
    const worker = /shoal_worker:(\d+)/.exec(await client.text("INFO", "shoal"))?.[1] ?? "";
    if (found.has(worker)) client.close();
    else found.set(worker, client);
    return found.size === WORKERS;
  }, "each worker has a client");
  return [...found.values()];
}

test("CLIENT PAUSE and UNPAUSE are about all workers, from their answer on", async () => {
  const [one, other] = clients;
  expect(await one.text("CLIENT", "PAUSE", "100000", "WRITE")).toBe("+OK\r\n");
  other.write(encodeRequest(["SET", "paused", "v"]));
  await until(async () => {
    const admin = await RespClient.connect(port);
    const text = await admin.text("INFO", "everything");
    admin.close();
    return text.includes("blocked_clients:1");
  }, "a worker holds it");
  expect(await one.text("EXISTS", "paused")).toBe(":0\r\n");
  expect(await one.text("CLIENT", "UNPAUSE")).toBe("+OK\r\n");
  expect(String(await other.reply())).toBe("+OK\r\n");
});

test("MONITOR shows what goes through the other worker", async () => {
  const [one, other] = clients;
  expect(await one.text("MONITOR")).toBe("+OK\r\n");
  await other.command("SET", "seen", "by the other");
  for (let line = ""; !line.includes('"seen"');) line = String(await one.reply());
  one.write(encodeRequest(["RESET"]));
  for (let line = ""; !line.startsWith("+RESET");) line = String(await one.reply());
});

test("a transaction's replies stay its own when other workers would have to be asked", async () => {
  const [one] = clients;
  await one.command("MULTI");
  const calls = [
    ["CLIENT", "LIST"],
    ["CLIENT", "KILL", "ID", "999999"],
    ["CLIENT", "UNBLOCK", "999999"],
    ["CLIENT", "UNPAUSE"],
  ];
  for (const call of calls) expect(await one.text(...call)).toBe("+QUEUED\r\n");
  expect((await one.text("EXEC")).split("\r\n")[0]).toBe("*4");
  // Whatever the other worker says comes before this is answered.
  await one.text("CLIENT", "LIST");
  expect(await one.text("ECHO", "own")).toBe("$3\r\nown\r\n");
});

test("CLIENT LIST ID and INFO are about all workers", async () => {
  const [one, other] = clients;
  const id = /\d+/.exec(await other.text("CLIENT", "ID"))?.[0] ?? "";
  expect(await one.text("CLIENT", "LIST", "ID", id)).toMatch(new RegExp(`id=${id} .*\\n\\r\\n$`));
  const counted = async (client: RespClient): Promise<RegExpExecArray | null> =>
    /connected_clients:(\d+)[^]*maxclients:(\d+)/.exec(await client.text("INFO", "clients"));
  const listed = (await one.text("CLIENT", "LIST")).match(/^id=/gm)?.length ?? 0;
  expect(listed).toBeGreaterThan(1);
  for (const client of clients)
    expect((await counted(client))?.slice(1)).toEqual([String(listed), String(WORKERS * 20_000)]);
});
