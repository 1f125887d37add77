import { type Subprocess, spawn } from "bun";
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type Socket, connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkAddressFree, findFreePorts } from "../../src/platform/processes/addresses.ts";
import { evenRanges } from "../../src/topology/cluster-map.ts";
import { until } from "../support/until.ts";

/**
 * `shoal proxy` as a process, with its real workers. Its map names a server that is not there: PING needs
 * none.
 */
const SHOAL = join(import.meta.dir, "../../bin/shoal");

setDefaultTimeout(30_000);

let folder: string;
let port: number;
let proxies: Array<Subprocess<"ignore", "ignore", "pipe">>;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "shoal-proxy-"));
  [port] = await findFreePorts("127.0.0.1", 30_100 + Math.floor(Math.random() * 900), 1, new Set());
  proxies = [];
  const groups = [{ id: "g1", number: 1, primary: "127.0.0.1:1", replicas: [] }];
  const ranges = evenRanges(1024, ["g1"]);
  const map = { cluster: "c", version: 1, term: 1, hash: "crc32", slots: 1024, groups, ranges, options: {} };
  writeFileSync(join(folder, "map.json"), JSON.stringify(map));
});

afterEach(() => {
  for (const proxy of proxies) {
    for (const pid of childrenOf(proxy.pid)) process.kill(pid, "SIGKILL");
    proxy.kill("SIGKILL");
  }
  rmSync(folder, { recursive: true, force: true });
});

function startProxy(settings: string, ...args: string[]): Subprocess<"ignore", "ignore", "pipe"> {
  const file = join(folder, "proxy.toml");
  writeFileSync(file, `listen = "127.0.0.1:${port}"\nmap_file = "${folder}/map.json"\n${settings}\n`);
  const proxy = spawn([SHOAL, "proxy", "--config", file, ...args], {
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
  });
  proxies.push(proxy);
  return proxy;
}

/** Linux only, as is the test that needs it. */
function childrenOf(pid: number): number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
    return text
      .split(" ")
      .filter((word) => word !== "")
      .map(Number);
  } catch {
    return [];
  }
}

/** A client that counts its PONGs. */
class Pinger {
  readonly #socket: Socket;
  pongs = 0;
  closed = false;
  #id = 0;

  constructor() {
    this.#socket = connect({ host: "127.0.0.1", port });
    this.#socket.on("data", (chunk) => this.#read(chunk.toString()));
    this.#socket.on("close", () => (this.closed = true));
    this.#socket.on("error", () => {});
  }

  async ping(): Promise<void> {
    const before = this.pongs;
    this.#socket.write("*1\r\n$4\r\nPING\r\n");
    await until(() => this.pongs > before || this.closed, "an answer");
  }

  /** Which worker serves this connection: with several workers, ids name it in their remainder. */
  async worker(): Promise<number> {
    this.#socket.write("*2\r\n$6\r\nCLIENT\r\n$2\r\nID\r\n");
    await until(() => this.#id > 0 || this.closed, "CLIENT ID");
    return this.#id % 2;
  }

  #read(text: string): void {
    this.pongs += text.split("+PONG").length - 1;
    const id = /^:(\d+)/.exec(text)?.[1];
    if (id !== undefined) this.#id = Number(id);
  }

  end(): void {
    this.#socket.destroy();
  }
}

/** Whether a new connection gets an answer. */
async function answers(): Promise<boolean> {
  const pinger = new Pinger();
  await pinger.ping();
  pinger.end();
  return pinger.pongs > 0;
}

describe("shoal proxy", () => {
  test("replaces a killed worker within a second; the other's clients notice nothing", async () => {
    const proxy = startProxy("workers = 2");
    await until(answers, "it serves");
    await until(() => childrenOf(proxy.pid).length === 2, "two workers");
    const before = childrenOf(proxy.pid);
    const clients: Pinger[] = [];
    const workers: number[] = [];
    await until(async () => {
      clients.push(new Pinger());
      workers.push(await (clients.at(-1) as Pinger).worker());
      return workers.includes(0) && workers.includes(1);
    }, "clients on both workers");
    process.kill(before[0], "SIGKILL");
    await until(() => clients.some((client) => client.closed), "the dead worker's clients notice");
    const dead = workers[clients.findIndex((client) => client.closed)];
    await until(
      () => clients.every((client, i) => client.closed === (workers[i] === dead)),
      "all of the dead worker's clients notice, no other does",
    );
    await until(
      () => childrenOf(proxy.pid).filter((pid) => !before.includes(pid)).length === 1,
      "replaced",
      1000,
    );
    await until(answers, "new connections are answered", 1000);
    const left = clients.filter((client) => !client.closed);
    expect(left.length).toBeGreaterThan(0);
    await Promise.all(left.map((client) => client.ping()));
    expect(left.every((client) => client.pongs === 1)).toBe(true);
    expect(childrenOf(proxy.pid)).toContain(before[1]);
    for (const client of clients) client.end();
    proxy.kill("SIGTERM");
    expect(await proxy.exited).toBe(0);
  });

  test("SIGTERM: exit status 0 in bounded time, although a client stays connected", async () => {
    const proxy = startProxy("workers = 2\ndrain_timeout_ms = 500");
    await until(answers, "it serves");
    const client = new Pinger();
    await client.ping();
    const startMs = performance.now();
    proxy.kill("SIGTERM");
    expect(await proxy.exited).toBe(0);
    expect(performance.now() - startMs).toBeLessThan(3000);
    await until(() => client.closed, "the client is told");
    await checkAddressFree("127.0.0.1", port);
  });

  test("its master killed with SIGKILL: the workers free the port and end", async () => {
    const proxy = startProxy("workers = 2\ndrain_timeout_ms = 500");
    await until(answers, "it serves");
    const workers = childrenOf(proxy.pid);
    proxy.kill("SIGKILL");
    const isGone = (pid: number): boolean => {
      try {
        return readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ");
      } catch {
        return true;
      }
    };
    await until(() => workers.every(isGone), "the workers are gone", 5000);
    await checkAddressFree("127.0.0.1", port);
  });

  test("a second one on the same address is refused and says who has it", async () => {
    const first = startProxy("");
    await until(answers, "it serves");
    const second = startProxy("");
    expect(await second.exited).toBe(9);
    const text = await new Response(second.stderr).text();
    expect(text).toContain(`Cannot listen on 127.0.0.1:${port}`);
    const [worker] = childrenOf(first.pid);
    expect(text).toContain(`(pid ${worker}) has it`);
  });

  test("a wrong configuration is refused by line and key, with --json as JSON", async () => {
    const proxy = startProxy("wokers = 2", "--json");
    expect(await proxy.exited).toBe(2);
    const { error } = JSON.parse(await new Response(proxy.stderr).text()) as {
      error: Record<string, string>;
    };
    expect(error["code"]).toBe("CONFIG");
    expect(error["message"]).toBe(
      `Cannot use ${folder}/proxy.toml:3: unknown key wokers (did you mean workers?)`,
    );
  });
});
