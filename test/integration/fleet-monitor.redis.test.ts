/** MONITOR over several groups. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { TRANSPORTS } from "../support/proxy-process.ts";
import { encodeRequest, type RespClient } from "../support/resp-client.ts";
import { until } from "../support/until.ts";
import { FleetRig } from "./fleet-rig.ts";

setDefaultTimeout(60_000);

/** As a server writes it, but for the words. */
const LINE = /^\+\d+\.\d{6} \[\d+ 127\.0\.0\.1:\d+\] (".*")\r\n$/;

describe.each([...TRANSPORTS])("%s", (io) => {
  let rig: FleetRig;
  let keys: string[];

  beforeAll(async () => {
    rig = await FleetRig.start({ io });
    keys = await rig.keyOfEachGroup();
  });

  afterAll(() => rig.dispose());

  async function monitoring(protocol = "2"): Promise<RespClient> {
    const client = await rig.client(protocol);
    expect(await client.text("MONITOR")).toBe("+OK\r\n");
    return client;
  }

  /** The words of the next line that has `word` in it. */
  async function lineWith(client: RespClient, word: string): Promise<string> {
    for (;;) {
      const line = (await client.reply()).toString("latin1");
      if (!line.includes(word)) continue;
      expect(line).toMatch(LINE);
      return LINE.exec(line)?.[1] ?? "";
    }
  }

  async function monitorsAtServers(): Promise<number> {
    const lists = await Promise.all(rig.servers.map((server) => server.command("CLIENT", "LIST")));
    return lists.join("").split("cmd=monitor").length - 1;
  }

  test.each(["2", "3"])("shows what every group executes, RESP%s", async (protocol) => {
    const monitor = await monitoring(protocol);
    const client = await rig.client();
    for (const [i, key] of keys.entries()) {
      await client.command("SET", key, `"quoted"\r\n\0${i}`);
      expect(await lineWith(monitor, key)).toBe(`"SET" "${key}" "\\"quoted\\"\\r\\n\\x00${i}"`);
    }
    await client.command("SELECT", "3");
    await client.command("GET", keys[1]);
    expect(await lineWith(monitor, keys[1])).toBe(`"GET" "${keys[1]}"`);
    client.write(Buffer.concat([["MULTI"], ["GET", keys[2]], ["EXEC"]].map(encodeRequest)));
    expect(await lineWith(monitor, "MULTI")).toBe('"MULTI"');
    expect(await lineWith(monitor, "")).toBe(`"GET" "${keys[2]}"`);
    expect(await lineWith(monitor, "")).toBe('"EXEC"');
    for (const each of [monitor, client]) each.close();
  });

  test("a server is asked once, whoever monitors, and no longer than somebody does", async () => {
    await until(async () => (await monitorsAtServers()) === 0, "nobody monitors");
    const first = await monitoring();
    const second = await monitoring("3");
    expect(await monitorsAtServers()).toBe(rig.servers.length);
    const client = await rig.client();
    await client.command("SET", keys[0], "both");
    for (const each of [first, second]) expect(await lineWith(each, "both")).toContain(keys[0]);
    first.close();
    await client.command("SET", keys[0], "one");
    expect(await lineWith(second, "one")).toContain(keys[0]);
    expect(await monitorsAtServers()).toBe(rig.servers.length);
    second.write(encodeRequest(["RESET"]));
    for (let line = ""; !line.startsWith("+RESET");) line = (await second.reply()).toString();
    await until(async () => (await monitorsAtServers()) === 0, "the servers are left alone");
    expect(await second.text("GET", keys[0])).toBe("$3\r\none\r\n");
    for (const each of [second, client]) each.close();
  });

  test("a client that monitors may not touch the keyspace, as at a server", async () => {
    const monitor = await monitoring();
    const bare = await rig.bareClient();
    await bare.command("MONITOR");
    for (const call of [
      ["GET", "k"],
      ["SET", "k", "v"],
      ["EVAL", "return 1", "0"],
      ["KEYS", "*"],
    ]) {
      expect(await monitor.text(...call)).toBe(await bare.text(...call));
    }
    expect(await monitor.text("PING")).toBe("+PONG\r\n");
    expect(await monitor.text("CLIENT", "INFO")).toContain(" flags=O ");
    monitor.write(encodeRequest(["QUIT"]));
    await monitor.untilClosed();
    bare.close();
  });

  test("goes on when a server comes back", async () => {
    const monitor = await monitoring();
    const client = await rig.client();
    await rig.servers[1].kill();
    await rig.servers[1].launch();
    await until(async () => (await monitorsAtServers()) === rig.servers.length, "it is monitored again");
    await until(async () => (await client.text("SET", keys[1], "again")) === "+OK\r\n", "it serves again");
    expect(await lineWith(monitor, "again")).toContain(keys[1]);
    for (const each of [monitor, client]) each.close();
  });

  test("no server to be reached: an error", async () => {
    for (const server of rig.servers) await server.kill();
    const client = await rig.client();
    expect(await client.text("MONITOR")).toStartWith("-ERR Cannot monitor: ");
    for (const server of rig.servers) await server.launch();
    client.close();
  });
});
