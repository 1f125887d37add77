import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { Redis } from "ioredis";
import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import type { ClusterStatus } from "../../src/contract/schemas.ts";
import { until } from "../support/until.ts";
import { UpRig } from "./up-rig.ts";

setDefaultTimeout(60_000);

let rig: UpRig;

beforeEach(async () => {
  rig = await UpRig.create();
});

afterEach(() => rig.cleanUp());

async function statusOf(): Promise<ClusterStatus> {
  const { out, err, status } = await rig.run("status", "--json");
  if (status !== 0) throw new Error(err);
  return JSON.parse(out) as ClusterStatus;
}

async function withClient<Result>(port: number, use: (client: Redis) => Promise<Result>): Promise<Result> {
  const client = new Redis({ port, host: "127.0.0.1", maxRetriesPerRequest: 1 });
  client.on("error", () => {});
  try {
    return await use(client);
  } finally {
    client.disconnect();
  }
}

/** Somebody else's listener on a port. */
async function occupy(port: number): Promise<{ free(): void }> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen({ port, host: "127.0.0.1" }, resolve));
  return { free: () => void server.close() };
}

describe("shoal up", () => {
  test("starts a cluster, shows it, keeps its data over down and up", async () => {
    const up = await rig.run("up", "--detach", ...rig.small);
    expect(up).toMatchObject({ status: 0, err: "" });
    expect(up.out).toContain(`redis-cli -p ${rig.port}`);
    const status = await statusOf();
    expect(status.cluster).toBe("shoal");
    expect(status.groups.map((group) => group.state)).toEqual(["ok", "ok"]);
    expect(status.groups.map((group) => group.replicas.map((one) => one.state))).toEqual([
      ["online"],
      ["online"],
    ]);
    expect(status.proxies.map((proxy) => proxy.workers.length)).toEqual([1, 1]);
    expect(status.slots.ranges).toEqual([
      { from: 0, to: 511, group: "g1" },
      { from: 512, to: 1023, group: "g2" },
    ]);
    const keys = Array.from({ length: 100 }, (_, i) => `key:${i}`);
    await withClient(rig.port, (client) =>
      Promise.all(keys.map((key) => client.set(key, `value of ${key}`))),
    );

    const down = await rig.run("down");
    expect(down.status).toBe(0);
    expect(down.out).toContain("proxy p1 (pid");
    expect(rig.running()).toEqual([]);
    expect(rig.record()).toBeNull();

    expect((await rig.run("up", "--detach")).status).toBe(0);
    const values = await withClient(rig.port + 1, (client) =>
      Promise.all(keys.map((key) => client.get(key))),
    );
    expect(values).toEqual(keys.map((key) => `value of ${key}`));
    const ports = (await statusOf()).groups.map((group) => group.primary.addr);
    expect(ports).toEqual(status.groups.map((group) => group.primary.addr));
    await rig.run("down");
  });

  test("in the foreground, Ctrl-C stops everything in order", async () => {
    const child = rig.start("up", ...rig.small, "--json");
    await until(() => rig.record()?.state === "serving", "it serves", 30_000);
    child.kill("SIGINT");
    expect(await child.exited).toBe(0);
    const summary = JSON.parse(await new Response(child.stdout).text()) as { parts: Array<{ id: string }> };
    expect(summary.parts.map((part) => part.id)).toEqual(["p1", "p2", "c1", "g1-1", "g1-2", "g2-1", "g2-2"]);
    const lines = (await new Response(child.stderr).text()).trim().split("\n");
    const stopped = lines.filter((line) => line.endsWith("stopped")).map((line) => line.split(" ")[0]);
    expect(stopped).toEqual(["proxy", "proxy", "controller", ...Array(4).fill("redis-server")]);
    expect(rig.running()).toEqual([]);
  });

  test("Ctrl-C while it starts leaves nothing running", async () => {
    const child = rig.start("up", ...rig.small);
    await until(() => (rig.record()?.parts.length ?? 0) > 0, "the first server runs", 30_000);
    child.kill("SIGINT");
    expect(await child.exited).not.toBe(0);
    expect(await new Response(child.stderr).text()).toContain("Cannot finish the start: asked to stop");
    expect(rig.running()).toEqual([]);
    expect(rig.record()).toBeNull();
  });

  test("a second Ctrl-C does not wait for a server that hangs", async () => {
    const child = rig.start("up", "--groups", "1", "--replicas", "0", "--proxies", "1", ...rig.ports);
    await until(() => rig.record()?.state === "serving", "it serves", 30_000);
    const server = rig.record()?.parts.find((part) => part.kind === "server")?.process.pid as number;
    process.kill(server, "SIGSTOP");
    child.kill("SIGINT");
    await until(() => rig.record()?.state === "stopping", "it stops");
    // Two that come within a moment are one wish: so npm passes on a terminal's Ctrl-C.
    await Bun.sleep(500);
    child.kill("SIGINT");
    expect(await child.exited).toBe(0);
    expect(await new Response(child.stderr).text()).toContain(
      `redis-server g1-1 (pid ${server}) did not stop, killed`,
    );
    expect(rig.running()).toEqual([]);
  });

  test("tells slot and group of keys", async () => {
    await rig.run("up", "--detach", "--groups", "2", "--replicas", "0", "--proxies", "1", ...rig.ports);
    const { out } = await rig.run("slot", "a", "{}x", "ключ", "--json");
    const answers = JSON.parse(out) as Array<{ key: string; slot: number; group: string }>;
    expect(answers[0]).toMatchObject({ key: "a", slot: 579, group: "g2" });
    expect(answers[1]).toMatchObject({ key: "{}x", slot: 0, group: "g1" });
    expect(answers[2].key).toBe("ключ");
    const byUrl = await rig.run("slot", "a", "--control", `http://127.0.0.1:${rig.controlPort}`);
    expect(byUrl.out).toContain("579");
    await rig.run("down");
  });

  test("a second one on the same folder is refused, with what to do", async () => {
    await rig.run("up", "--detach", ...rig.small);
    const second = await rig.run("up");
    expect(second.status).toBe(4);
    expect(second.err).toContain("runs it already");
    expect(second.err).toContain("shoal down");
    expect((await statusOf()).groups.length).toBe(2);
    await rig.run("down");
  });

  test("options that the folder's data does not fit are refused; the others may change", async () => {
    const small = ["--groups", "1", "--replicas", "0", "--proxies", "1"];
    await rig.run("up", "--detach", ...small, ...rig.ports);
    await rig.run("down");
    const groups = await rig.run("up", "--detach", "--groups", "2");
    expect(groups.status).toBe(4);
    expect(groups.err).toContain("with --groups 2: it was made with --groups 1");
    expect((await rig.run("up", "--slots", "2048")).err).toContain("it was made with --slots 1024");
    expect((await rig.run("up", "--detach", "--proxies", "2", "--workers", "2")).status).toBe(0);
    expect((await statusOf()).proxies.map((proxy) => proxy.workers.length)).toEqual([2, 2]);
    await rig.run("down");
  });
});

describe("shoal up that can't", () => {
  test("names the port that is taken, and leaves nothing behind", async () => {
    for (const port of [rig.port + 1, rig.controlPort]) {
      const other = await occupy(port);
      const up = await rig.run("up", ...rig.small);
      other.free();
      expect(up.status).toBe(9);
      expect(up.err).toContain(`127.0.0.1:${port}`);
      expect(up.err).toContain(`(pid ${process.pid}) has it`);
      expect(existsSync(rig.dir)).toBe(false);
    }
  });

  test("names a server's port that is taken when it resumes", async () => {
    await rig.run("up", "--detach", "--groups", "1", "--replicas", "0", "--proxies", "1", ...rig.ports);
    await rig.run("down");
    const other = await occupy(rig.serverPort);
    const up = await rig.run("up", "--json");
    other.free();
    expect(up.status).toBe(9);
    expect(JSON.parse(up.err)).toMatchObject({ error: { code: "ADDRESS_IN_USE" } });
    expect(up.err).toContain(`Cannot start redis-server g1-1: Cannot listen on 127.0.0.1:${rig.serverPort}`);
  });

  test("takes other server ports when it is new", async () => {
    const other = await occupy(rig.serverPort);
    await rig.run("up", "--detach", "--groups", "1", "--replicas", "0", "--proxies", "1", ...rig.ports);
    expect((await statusOf()).groups[0].primary.addr).toBe(`127.0.0.1:${rig.serverPort + 1}`);
    other.free();
    await rig.run("down");
  });

  test("does not touch a folder of another version, nor one that is not its own", async () => {
    mkdirSync(rig.dir);
    writeFileSync(join(rig.dir, "shoal.json"), '{"format": 99, "createdBy": "7.0.0"}');
    const other = await rig.run("up", "--detach");
    expect(other.status).toBe(4);
    expect(other.err).toContain("made by shoal 7.0.0 in format 99, this one reads 1");
    expect(readdirSync(rig.dir)).toEqual(["shoal.json"]);
    writeFileSync(join(rig.dir, "shoal.json"), "{");
    expect((await rig.run("up")).err).toContain("its shoal.json is damaged");

    const foreign = new UpRigFolder(rig);
    const up = await rig.run("up", "--dir", foreign.path);
    expect(up.status).toBe(4);
    expect(up.err).toContain("it holds letter.txt but no shoal.json");
    expect(readdirSync(foreign.path)).toEqual(["letter.txt"]);
  });

  test("quotes a server that does not start, and stops the others", async () => {
    const binary = join(rig.folder, "broken-server");
    // The second server of the cluster fails; the first one runs by then.
    const fault = `case "$PWD" in */g1-2) echo "Fatal: the fixture is broken" >&2; exit 7;; esac`;
    writeFileSync(binary, `#!/bin/sh\n${fault}\nexec redis-server "$@"\n`);
    chmodSync(binary, 0o755);
    const up = await rig.run("up", ...rig.small, "--server-binary", binary);
    expect(up.status).toBe(9);
    expect(up.err).toContain(
      `Cannot start redis-server g1-2 on 127.0.0.1:${rig.serverPort + 1}: it ended by status 7`,
    );
    expect(up.err).toContain("Fatal: the fixture is broken");
    expect(rig.running()).toEqual([]);
    expect(rig.record()).toBeNull();
    // Nothing was ever written to it, so that other options are no error.
    const next = await rig.run(
      "up",
      "--detach",
      "--groups",
      "1",
      "--replicas",
      "0",
      "--proxies",
      "1",
      ...rig.ports,
    );
    expect(next).toMatchObject({ status: 0, err: "" });
    await rig.run("down");
  });

  test("says so when there is no such server program", async () => {
    const up = await rig.run("up", "--detach", ...rig.small, "--server-binary", "/nowhere/redis-server");
    expect(up.status).toBe(9);
    expect(up.err).toContain("Cannot run /nowhere/redis-server: no such program");
  });
});

describe("what dies", () => {
  test("a supervisor killed with SIGKILL: the cluster serves on, down stops it", async () => {
    await rig.run("up", "--detach", ...rig.small);
    const record = rig.record();
    process.kill(record?.supervisor.pid as number, "SIGKILL");
    await until(() => !rig.running().includes(record?.supervisor.pid as number), "the supervisor is gone");
    expect(await withClient(rig.port, (client) => client.set("a", "1"))).toBe("OK");
    expect((await statusOf()).groups.length).toBe(2);
    const down = await rig.run("down", "--json");
    expect(down.status).toBe(0);
    expect((JSON.parse(down.out) as { stopped: unknown[] }).stopped.length).toBe(7);
    expect(rig.running()).toEqual([]);
  });

  test("after it, the next up stops what is left over and starts with the data", async () => {
    await rig.run("up", "--detach", ...rig.small);
    await withClient(rig.port, (client) => client.set("a", "kept"));
    process.kill(rig.record()?.supervisor.pid as number, "SIGKILL");
    const up = await rig.run("up", "--detach");
    expect(up.status).toBe(0);
    expect(up.err).toContain("was killed; its 7 processes are stopped now");
    expect(await withClient(rig.port, (client) => client.get("a"))).toBe("kept");
    await rig.run("down");
  });

  test("a proxy or controller is started again, a server is not, and its death is shown", async () => {
    await rig.run("up", "--detach", ...rig.small);
    const pidOf = (id: string): number =>
      rig.record()?.parts.find((part) => part.id === id)?.process.pid ?? 0;
    for (const id of ["p1", "c1"]) {
      const pid = pidOf(id);
      process.kill(pid, "SIGKILL");
      await until(() => pidOf(id) !== pid, `${id} is started again`);
    }
    await until(async () => (await withClient(rig.port, (client) => client.ping())) === "PONG", "p1 serves");
    process.kill(pidOf("g1-2"), "SIGKILL");
    await until(async () => (await statusOf()).groups[0].replicas[0].state === "down", "the replica is down");
    expect((await statusOf()).groups[0].state).toBe("degraded");
    const log = readFileSync(join(rig.dir, "up.log"), "utf8");
    expect(log).toContain("redis-server g1-2");
    expect(log).toContain("not started again");
    expect((await rig.run("down")).status).toBe(0);
    expect(rig.running()).toEqual([]);
  });

  test("down on a folder where nothing runs says so", async () => {
    const down = await rig.run("down");
    expect(down).toMatchObject({ status: 0, err: "" });
    expect(down.out).toContain("Nothing runs on");
    expect(await rig.run("status")).toMatchObject({ status: 6, out: "" });
  });

  test("a recycled pid is left alone", async () => {
    mkdirSync(rig.dir);
    const stranger = { pid: process.pid, startedAt: "an earlier boot:1" };
    const part = { kind: "server", id: "g1-1", address: "127.0.0.1:1", process: stranger };
    const record = { supervisor: stranger, state: "serving", control: "http://127.0.0.1:1", parts: [part] };
    writeFileSync(join(rig.dir, "run.json"), JSON.stringify(record));
    writeFileSync(join(rig.dir, "lock"), JSON.stringify(stranger));
    // We are that pid, and still here to see it.
    expect((await rig.run("down")).out).toContain("Nothing runs on");
  });
});

/** A folder with somebody's things in it. */
class UpRigFolder {
  readonly path: string;

  constructor(owner: UpRig) {
    this.path = join(owner.folder, "home");
    mkdirSync(this.path);
    writeFileSync(join(this.path, "letter.txt"), "dear");
  }
}
