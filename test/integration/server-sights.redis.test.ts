/** What a worker tells of the servers: also of those that nobody uses, and the truth about slow ones. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { Rig, TRANSPORTS } from "../robustness/rig.ts";
import { RedisProcess } from "../support/redis-process.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(60_000);

let servers: RedisProcess[];
let rig: Rig;

beforeEach(async () => {
  servers = await Promise.all([RedisProcess.start(), RedisProcess.start()]);
});

afterEach(async () => {
  await rig.dispose();
  await Promise.all(servers.map((server) => server.dispose()));
});

function stateOf(server: RedisProcess): string | undefined {
  return rig.sights.find(({ addr }) => addr === server.addr)?.state;
}

describe.each(TRANSPORTS)("servers as a worker sees them (%s)", (io) => {
  test("without any client: up, down when killed, up again, down when frozen, up again", async () => {
    rig = await Rig.start(servers, io, { reconnect_backoff_ms_max: 100 });
    await until(() => servers.every((server) => stateOf(server) === "up"), "both are up");
    await servers[1].kill();
    await until(() => stateOf(servers[1]) === "down", "the death is seen");
    expect(rig.sights.find(({ addr }) => addr === servers[1].addr)?.detail).not.toBe("");
    await servers[1].launch();
    await until(() => stateOf(servers[1]) === "up", "it is back");
    servers[1].signal("SIGSTOP");
    await until(() => stateOf(servers[1]) === "down", "the freeze is seen");
    expect(stateOf(servers[0])).toBe("up");
    servers[1].signal("SIGCONT");
    await until(() => stateOf(servers[1]) === "up", "it is back");
  });

  test("a server that runs a script for long is up: it says that it is busy", async () => {
    rig = await Rig.start(servers, io);
    await until(() => servers.every((server) => stateOf(server) === "up"), "both are up");
    await servers[1].command("CONFIG", "SET", "busy-reply-threshold", "100");
    const client = await rig.connect();
    client.write(encodeLoop(rig.keyIn(1)));
    const states = new Set<string | undefined>();
    const endMs = performance.now() + 2500;
    await until(() => {
      states.add(stateOf(servers[1]));
      return performance.now() > endMs;
    }, "two and a half seconds of script");
    expect([...states]).toEqual(["up"]);
    expect(await (await rig.connect()).call("SCRIPT", "KILL")).toBe("OK");
    expect(String(JSON.stringify(await client.next()))).toContain("killed");
  });
});

function encodeLoop(key: string): string {
  const script = "while true do end";
  return `*4\r\n$4\r\nEVAL\r\n$${script.length}\r\n${script}\r\n$1\r\n1\r\n$${key.length}\r\n${key}\r\n`;
}
