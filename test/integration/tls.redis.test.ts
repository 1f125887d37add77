/** TLS to the proxy and from the proxy to the servers: who gets in, who doesn't, and that bytes arrive. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { spawn } from "node:child_process";
import { connect } from "node:tls";
import { readFileSync } from "node:fs";
import { Certificates } from "../support/certificates.ts";
import { freePort, RedisProcess } from "../support/redis-process.ts";
import { type ConfigOverrides, ProxyProcess, TRANSPORTS } from "../support/proxy-process.ts";
import { encodeRequest } from "../support/resp-client.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(60_000);

let certificates: Certificates;
let servers: RedisProcess[];
const file = (name: string): string => certificates.path(name);
const words = (line: string): string[] => line.split(" ");
/** The servers' TLS ports. */
let tlsAddresses: string[];

beforeAll(async () => {
  certificates = new Certificates();
  const ports = [await freePort(), await freePort()];
  servers = await Promise.all(
    ports.map((port) =>
      RedisProcess.start(
        words(`--tls-port ${port} --tls-auth-clients optional --tls-ca-cert-file ${file("ca.crt")}`).concat(
          words(`--tls-cert-file ${file("server.crt")} --tls-key-file ${file("server.key")}`),
        ),
      ),
    ),
  );
  tlsAddresses = ports.map((port) => `127.0.0.1:${port}`);
});

afterAll(async () => {
  await Promise.all(servers.map((server) => server.dispose()));
  certificates.dispose();
});

interface Ended {
  readonly out: string;
  readonly status: number | null;
}

/** redis-cli over TLS; `who`: whose certificate it shows. */
function redisCli(port: number, who: string | null, ...words: string[]): Promise<Ended> {
  const own =
    who === null ? [] : ["--cert", certificates.path(`${who}.crt`), "--key", certificates.path(`${who}.key`)];
  const args = ["-p", String(port), "--tls", "--cacert", certificates.path("ca.crt"), ...own, ...words];
  return new Promise((resolve) => {
    const child = spawn("redis-cli", args, { stdio: ["ignore", "pipe", "pipe"] });
    let out = "";
    child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString("latin1")));
    child.stderr.on("data", (chunk: Buffer) => (out += chunk.toString("latin1")));
    child.on("close", (status) => resolve({ out: out.trim(), status }));
  });
}

/** Proxy with a TLS listener beside the plain one; the TLS port comes with it. */
async function startProxy(
  io: string,
  overrides: ConfigOverrides,
): Promise<{ proxy: ProxyProcess; port: number }> {
  const port = await freePort();
  const proxy = await ProxyProcess.start(
    servers.map((server) => server.addr),
    {
      io,
      tls_listen: `127.0.0.1:${port}`,
      tls_cert_file: certificates.path("server.crt"),
      tls_key_file: certificates.path("server.key"),
      tls_ca_file: certificates.path("ca.crt"),
      ...overrides,
    },
  );
  return { proxy, port };
}

function serverTls(more: ConfigOverrides = {}): ConfigOverrides {
  return { server_tls: true, server_tls_ca_file: certificates.path("ca.crt"), ...more };
}

describe.each([...TRANSPORTS])("%s", (io) => {
  test("clients come by TLS and without it, to the same data", async () => {
    const { proxy, port } = await startProxy(io, {});
    const plain = await proxy.connect();
    for (let i = 0; i < 20; i++) expect(await plain.text("SET", `key:${i}`, `v${i}`)).toBe("+OK\r\n");
    for (let i = 0; i < 20; i += 5) expect((await redisCli(port, null, "GET", `key:${i}`)).out).toBe(`v${i}`);
    expect((await redisCli(port, null, "MGET", "key:1", "key:2", "key:3")).out).toBe("v1\nv2\nv3");
    expect((await redisCli(port, null, "CLIENT", "LIST")).out.split("\n").length).toBe(2);
    plain.close();
    await proxy.dispose();
  });

  test("a deep pipeline and large values, both ways, whole", async () => {
    const { proxy, port } = await startProxy(io, {});
    const socket = connect({
      port,
      host: "127.0.0.1",
      ca: readFileSync(certificates.path("ca.crt")),
      servername: "",
    });
    let received = Buffer.alloc(0);
    const chunks: Buffer[] = [];
    socket.on("data", (chunk: Buffer) => chunks.push(chunk));
    const value = "x".repeat(300_000);
    const big = "y".repeat(3_000_000);
    const requests: string[][] = [["SET", "big", big]];
    for (let i = 0; i < 3000; i++) requests.push(["SET", `p:${i}`, `value ${i}`], ["GET", `p:${i}`]);
    for (let i = 0; i < 20; i++) requests.push(["SET", `v:${i}`, value], ["GET", `v:${i}`]);
    requests.push(["GET", "big"], ["ECHO", "the end"]);
    let expected = "+OK\r\n";
    for (let i = 0; i < 3000; i++) expected += `+OK\r\n$${`value ${i}`.length}\r\nvalue ${i}\r\n`;
    expected += `+OK\r\n$${value.length}\r\n${value}\r\n`.repeat(20);
    expected += `$${big.length}\r\n${big}\r\n$7\r\nthe end\r\n`;
    socket.write(Buffer.concat(requests.map(encodeRequest)));
    await until(() => {
      received = Buffer.concat(chunks);
      return received.length >= expected.length;
    }, `${expected.length} bytes come back`);
    expect(received.toString("latin1") === expected).toBe(true);
    socket.destroy();
    await proxy.dispose();
  });

  test("a request takes about as long as without TLS, not a turn of some sleeping loop", async () => {
    const { proxy, port } = await startProxy(io, {});
    const socket = connect({
      port,
      host: "127.0.0.1",
      ca: readFileSync(certificates.path("ca.crt")),
      servername: "",
    });
    await new Promise((resolve) => socket.once("secureConnect", resolve));
    const request = encodeRequest(["SET", "k", "v"]);
    const rounds = 200;
    const started = performance.now();
    for (let i = 0; i < rounds; i++) {
      const answered = new Promise((resolve) => socket.once("data", resolve));
      socket.write(request);
      await answered;
    }
    const each = (performance.now() - started) / rounds;
    console.log(`tls ${io}: ${each.toFixed(2)} ms per request`);
    expect(each).toBeLessThan(5);
    socket.destroy();
    await proxy.dispose();
  });

  test("certificates of clients: required", async () => {
    const { proxy, port } = await startProxy(io, { tls_auth_clients: "required", listen: "" });
    expect((await redisCli(port, "client", "PING")).out).toBe("PONG");
    expect((await redisCli(port, null, "PING")).status).not.toBe(0);
    expect((await redisCli(port, "stranger", "PING")).status).not.toBe(0);
    expect((await redisCli(port, "client", "PING")).out).toBe("PONG");
    await proxy.dispose();
  });

  test("certificates of clients: optional, but good", async () => {
    const { proxy, port } = await startProxy(io, { tls_auth_clients: "optional" });
    expect((await redisCli(port, "client", "PING")).out).toBe("PONG");
    expect((await redisCli(port, null, "PING")).out).toBe("PONG");
    expect((await redisCli(port, "stranger", "PING")).out).not.toContain("PONG");
    await proxy.dispose();
  });

  test("passwords by TLS, and speech that is no TLS", async () => {
    const { proxy, port } = await startProxy(io, { requirepass: "secret" });
    expect((await redisCli(port, null, "GET", "k")).out).toBe("NOAUTH Authentication required.");
    expect((await redisCli(port, null, "-a", "secret", "--no-auth-warning", "PING")).out).toBe("PONG");
    const { RespClient } = await import("../support/resp-client.ts");
    const client = await RespClient.connect(port);
    client.write("PING\r\nPING\r\n");
    await client.untilClosed();
    expect((await redisCli(port, null, "-a", "secret", "--no-auth-warning", "PING")).out).toBe("PONG");
    await proxy.dispose();
  });

  test("servers by TLS", async () => {
    const shown = {
      server_tls_cert_file: certificates.path("client.crt"),
      server_tls_key_file: certificates.path("client.key"),
    };
    const ways: ConfigOverrides[] = [{}, shown, { server_tls_verify: "name" }, { server_tls_verify: "none" }];
    for (const more of ways) {
      const proxy = await ProxyProcess.start(tlsAddresses, { io, ...serverTls(more) });
      const client = await proxy.connect();
      for (let i = 0; i < 20; i++) expect(await client.text("SET", `s:${i}`, "v")).toBe("+OK\r\n");
      const mget = await client.text("MGET", ...Array.from({ length: 20 }, (_, i) => `s:${i}`));
      expect(mget).toBe(`*20\r\n${"$1\r\nv\r\n".repeat(20)}`);
      expect(await client.text("BLPOP", "nolist", "0.01")).toBe("*-1\r\n");
      client.close();
      await proxy.dispose();
    }
  });

  test("both sides by TLS, and only by TLS", async () => {
    const port = await freePort();
    const proxy = await ProxyProcess.start(tlsAddresses, {
      io,
      listen: "",
      tls_listen: `127.0.0.1:${port}`,
      tls_cert_file: certificates.path("server.crt"),
      tls_key_file: certificates.path("server.key"),
      ...serverTls(),
    });
    expect((await redisCli(port, null, "SET", "both", "1")).out).toBe("OK");
    expect((await redisCli(port, null, "GET", "both")).out).toBe("1");
    await proxy.dispose();
  });

  test.each([
    ["a CA that did not sign it", { server_tls_ca_file: "other-ca.crt" }, "certificate"],
    ["no TLS at the proxy's side", { server_tls: false, server_tls_ca_file: "" }, "(closed|reset)"],
  ] as [string, Record<string, string | boolean>, string][])(
    "a server with %s: an error that says so",
    async (_what, more, text) => {
      // The error is told at once.
      const overrides: Record<string, string | boolean | number> = { hold_timeout_ms: 0, ...more };
      if (overrides.server_tls_ca_file !== "")
        overrides.server_tls_ca_file = certificates.path("other-ca.crt");
      const proxy = await ProxyProcess.start(tlsAddresses, { io, ...serverTls(), ...overrides });
      const client = await proxy.connect();
      const reply = await client.text("GET", "k");
      expect(reply).toStartWith("-ERR Cannot reach server 127.0.0.1:");
      expect(reply).toMatch(new RegExp(text));
      client.close();
      await proxy.dispose();
    },
  );

  test.each([
    ["tls_cert_file", "nosuch.crt", "Cannot read TLS certificate"],
    ["tls_key_file", "client.key", "Cannot use TLS files"],
    ["tls_ca_file", "server.ext", "it holds no PEM block"],
  ])("%s of no use: the start fails and says why", async (key, file, text) => {
    expect(startProxy(io, { [key]: certificates.path(file) })).rejects.toThrow(text);
  });
});
