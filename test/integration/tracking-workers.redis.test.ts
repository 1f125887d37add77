/** CLIENT TRACKING with REDIRECT between clients of different workers of one proxy. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { type Subprocess, spawn } from "bun";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mapOf } from "../robustness/rig.ts";
import { freePort, RedisProcess } from "../support/redis-process.ts";
import { until } from "../support/until.ts";
import { Fault, TrackingClient, type Value } from "./tracking-client.ts";

setDefaultTimeout(30_000);

const SHOAL = join(import.meta.dir, "../../bin/shoal");
const WORKERS = 2;

/** A client that the given worker serves: ids name the worker in their remainder. */
async function connectTo(port: number, worker: number): Promise<TrackingClient> {
  for (;;) {
    const client = await TrackingClient.connect(port);
    if (Number(await client.call("CLIENT", "ID")) % WORKERS === worker) return client;
    client.close();
  }
}

function killTree(proxy: Subprocess): void {
  const children = readFileSync(`/proc/${proxy.pid}/task/${proxy.pid}/children`, "utf8").trim();
  for (const pid of children.split(" ").filter((word) => word !== "")) process.kill(Number(pid), "SIGKILL");
  proxy.kill("SIGKILL");
}

// Which worker gets a connection is the kernel's choice, on Linux by lot.
test.skipIf(process.platform !== "linux")("redirected to a client of another worker", async () => {
  const server = await RedisProcess.start();
  const folder = mkdtempSync(join(tmpdir(), "shoal-tracking-"));
  const port = await freePort();
  writeFileSync(join(folder, "map.json"), JSON.stringify(mapOf([server.addr])));
  const settings = [
    `listen = "127.0.0.1:${port}"`,
    `map_file = "${folder}/map.json"`,
    `workers = ${WORKERS}`,
  ];
  writeFileSync(join(folder, "proxy.toml"), `${settings.join("\n")}\nlog_level = "error"\n`);
  const proxy = spawn([SHOAL, "proxy", "--config", join(folder, "proxy.toml")], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  try {
    await until(async () => {
      (await TrackingClient.connect(port)).close();
      return true;
    }, "the proxy listens");
    const [data, target] = [await connectTo(port, 0), await connectTo(port, 1)];
    const id = Number(await target.call("CLIENT", "ID"));
    const unknown = await data.call("CLIENT", "TRACKING", "ON", "REDIRECT", "999999");
    expect(unknown).toEqual(new Fault("ERR The client ID you want redirect to does not exist"));
    expect(await data.call("CLIENT", "TRACKING", "ON", "REDIRECT", String(id))).toBe("OK");
    const told = async (client: TrackingClient, push: Value): Promise<void> => {
      await until(() => client.pushes.length > 0, "the push");
      expect(client.pushes.splice(0)).toEqual([push]);
    };
    expect(await data.call("GET", "k")).toBeNull();
    await server.command("SET", "k", "1");
    await told(target, ["invalidate", ["k"]]);
    await data.call("GET", "k");
    target.close();
    const gone = async (): Promise<boolean> =>
      !String(await data.call("CLIENT", "LIST")).includes(`id=${id} `);
    await until(gone, "the target is gone");
    await server.command("SET", "k", "2");
    await told(data, ["tracking-redir-broken", id]);
    data.close();
  } finally {
    killTree(proxy);
    await server.dispose();
    rmSync(folder, { recursive: true, force: true });
  }
});
