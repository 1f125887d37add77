/** What goes to all groups is one command for the client who sent it; and what CONFIG SET leaves alone. */
import { afterAll, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { RespClient } from "../support/resp-client.ts";
import { ask, FleetRig, membersOf } from "./fleet-rig.ts";

setDefaultTimeout(60_000);

let rig: FleetRig;
let keys: string[];

beforeAll(async () => {
  rig = await FleetRig.start();
  keys = await rig.keyOfEachGroup();
});

afterAll(() => rig.dispose());

describe.each(["2", "3"])("RESP%s", (protocol) => {
  let proxy: RespClient;

  beforeEach(async () => {
    proxy?.close();
    proxy = await rig.client(protocol);
  });

  test("SLOWLOG: what went to all groups is there once, and counted once", async () => {
    const slower = ["CONFIG", "SET", "slowlog-log-slower-than"];
    await proxy.command(...slower, "0");
    await proxy.command("SLOWLOG", "RESET");
    await proxy.command("SELECT", "7");
    for (const key of keys) await proxy.command("SADD", `{${key}}`, "member");
    await proxy.command("FLUSHDB");
    await proxy.command("CONFIG", "SET", "maxmemory-samples", "5");
    await proxy.command(...slower, "-1");
    const entries = (await ask(proxy, "SLOWLOG", "GET", "-1")).items;
    const words = entries.map((entry) => entry.items[3].items.map((word) => word.text).join(" "));
    const counted = new Map<string, number>();
    for (const text of words) counted.set(text, (counted.get(text) ?? 0) + 1);
    for (const text of ["FLUSHDB", "CONFIG SET maxmemory-samples 5", "SLOWLOG RESET"])
      expect(counted.get(text)).toBe(1);
    expect(words.filter((text) => text.startsWith("SADD")).length).toBe(keys.length);
    expect(Number((await proxy.text("SLOWLOG", "LEN")).slice(1))).toBe(entries.length);
    await proxy.command(...slower, "1000000");
  });

  test("LATENCY HISTOGRAM: one FLUSHDB is one call, a SET at each group are three", async () => {
    await proxy.command("CONFIG", "RESETSTAT");
    await proxy.command("SELECT", "7");
    for (const key of keys) await proxy.command("SET", key, "v");
    await proxy.command("FLUSHDB");
    for (const [name, calls] of [
      ["flushdb", "1"],
      ["set", "3"],
    ]) {
      const histogram = membersOf(await ask(proxy, "LATENCY", "HISTOGRAM", name)).get(name);
      expect(histogram && membersOf(histogram).get("calls")?.text).toBe(calls);
    }
  });

  test("CONFIG SET of what is the servers' own: only to what CONFIG GET shows", async () => {
    const shown = membersOf(await ask(proxy, "CONFIG", "GET", "*"));
    for (const name of ["bind", "port", "protected-mode", "masterauth", "masteruser", "requirepass"]) {
      const value = shown.get(name)?.text ?? "";
      expect(await proxy.text("CONFIG", "SET", name, value)).toBe("+OK\r\n");
      expect(await proxy.text("CONFIG", "SET", name, `${value}1`)).toStartWith("-ERR CONFIG SET failed");
    }
    const port = shown.get("port")?.text ?? "";
    expect(await proxy.text("CONFIG", "SET", "port", port, "maxmemory-samples", "5")).toStartWith(
      "-ERR CONFIG SET failed",
    );
    for (const server of rig.servers)
      expect(await server.command("CONFIG", "GET", "port")).toEqual(["port", String(server.port)]);
  });
});
