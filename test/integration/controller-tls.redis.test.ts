/** The controller goes to servers by TLS: it wires a replica there, and says what is wrong when it can't. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startController, type RunningController } from "../../src/apps/controller.ts";
import { fetchStatus } from "../../src/contract/client.ts";
import type { ClusterStatus } from "../../src/contract/schemas.ts";
import { parseControllerConfig } from "../../src/controller/controller-config.ts";
import { systemHttpClient } from "../../src/platform/http/http-client.ts";
import { Certificates } from "../support/certificates.ts";
import { freePort, RedisProcess } from "../support/redis-process.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(60_000);

let certificates: Certificates;
/** Two pairs of a primary and a server that is to be its replica; they copy by TLS. */
let servers: RedisProcess[];
/** The servers' TLS ports. */
let addresses: string[];

beforeAll(async () => {
  certificates = new Certificates();
  const file = (name: string): string => certificates.path(name);
  const ports = await Promise.all(Array.from({ length: 4 }, freePort));
  const shared = ["--tls-replication", "yes", "--tls-ca-cert-file", file("ca.crt")];
  const own = ["--tls-cert-file", file("server.crt"), "--tls-key-file", file("server.key")];
  servers = await Promise.all(
    ports.map((port) => RedisProcess.start(["--tls-port", String(port), ...shared, ...own])),
  );
  addresses = ports.map((port) => `127.0.0.1:${port}`);
});

afterAll(async () => {
  await Promise.all(servers.map((server) => server.dispose()));
  certificates.dispose();
});

/** Runs a controller over one pair for as long as `work` takes. */
async function withController(
  pair: number,
  tls: Readonly<Record<string, string | boolean>>,
  work: (status: () => Promise<ClusterStatus>) => Promise<void>,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "shoal-controller-tls-"));
  const [primary, replica] = addresses.slice(2 * pair);
  const values = {
    listen: "127.0.0.1:0",
    health_period_ms: 100,
    down_after_ms: 500,
    log_level: "error",
    store: { path: join(folder, "shoal.db") },
    cluster: { name: "tls", groups: [{ id: "g1", primary, replicas: [replica] }] },
    ...tls,
  };
  let controller: RunningController | null = null;
  try {
    controller = await startController(parseControllerConfig(values, { file: "controller.toml" }));
    const target = { url: `http://${controller.address}`, token: null };
    await work(() => fetchStatus(systemHttpClient, target));
  } finally {
    await controller?.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

test("with a certificate of its own, as the servers want it", async () => {
  const tls = {
    server_tls: true,
    server_tls_ca_file: certificates.path("ca.crt"),
    server_tls_cert_file: certificates.path("client.crt"),
    server_tls_key_file: certificates.path("client.key"),
    server_tls_verify: "name",
  };
  await withController(0, tls, async (status) => {
    await until(async () => (await status()).groups[0].state === "ok", "the replica is wired and in sync");
    const [group] = (await status()).groups;
    expect(group.primary).toEqual({ addr: addresses[0], pid: servers[0].pid });
    expect(group.replicas.map(({ addr, state }) => [addr, state])).toEqual([[addresses[1], "online"]]);
    await servers[0].command("SET", "k", "v");
    await until(async () => (await servers[1].command("GET", "k")) === "v", "the replica has the key");
  });
});

test.each([
  ["without TLS", { server_tls: false }],
  ["trusting another CA", { server_tls: true, server_tls_ca_file: "other-ca.crt" }],
  ["without a certificate of its own", { server_tls: true, server_tls_ca_file: "ca.crt" }],
] as [string, Record<string, string | boolean>][])(
  "%s: the servers are down, and stay as they are",
  async (_, tls) => {
    const file = tls["server_tls_ca_file"];
    const ca = file === undefined ? "" : certificates.path(String(file));
    await withController(1, { ...tls, server_tls_ca_file: ca }, async (status) => {
      await until(async () => (await status()).problems.length > 0, "the problem is told");
      const { groups, problems } = await status();
      expect(groups[0].state).not.toBe("ok");
      expect(problems.join(" ")).toContain("g1");
      expect(String(await servers[3].command("ROLE"))).toStartWith("master");
    });
  },
);

test("files of no use: the start fails and says why", async () => {
  const tls = { server_tls: true, server_tls_ca_file: certificates.path("nosuch.crt") };
  expect(withController(1, tls, () => Promise.resolve())).rejects.toThrow("Cannot read TLS CA");
});
