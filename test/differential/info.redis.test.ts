/** INFO: one server's worth of it, in which the groups are added up. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { TRANSPORTS } from "../support/proxy-process.ts";
import { decodeReplyTree, type RespClient } from "../support/resp-client.ts";
import { DifferentialRig } from "./rig.ts";

let rig: DifferentialRig;

beforeAll(async () => {
  rig = await DifferentialRig.start(TRANSPORTS);
});

afterAll(() => rig.dispose());

async function infoOf(client: RespClient, ...sections: string[]): Promise<string> {
  return decodeReplyTree(await client.command("INFO", ...sections)).text;
}

function sectionsOf(text: string): string[] {
  return [...text.matchAll(/^# (.*?)\r?$/gm)].map((match) => match[1]);
}

function fieldsOf(text: string): Map<string, string> {
  return new Map([...text.matchAll(/^([a-z0-9_]+):(.*?)\r?$/gm)].map((match) => [match[1], match[2]]));
}

describe.each([...TRANSPORTS])("%s", (io) => {
  test("has the sections and fields of a server, and one of its own", async () => {
    const { proxy, bare } = await rig.connect(io);
    for (const wanted of [
      [],
      ["all"],
      ["everything"],
      ["server"],
      ["memory", "clients"],
      ["nosuch"],
      ["Keyspace"],
    ]) {
      const mine = await infoOf(proxy, ...wanted);
      const theirs = await infoOf(bare, ...wanted);
      expect(sectionsOf(mine).filter((section) => section !== "Shoal")).toEqual(sectionsOf(theirs));
      const fields = fieldsOf(mine);
      // Statistics of commands and errors are what each server has seen.
      const missing = [...fieldsOf(theirs).keys()].filter(
        (field) => !fields.has(field) && !/^(?:cmdstat|latency|error)/.test(field),
      );
      expect(missing).toEqual([]);
    }
    proxy.close();
    bare.close();
  });

  test("keys are counted over all groups, per database", async () => {
    await rig.empty();
    const { proxy, bare } = await rig.connect(io);
    for (let i = 0; i < 100; i++) await proxy.command("SET", `k${i}`, "v", ...(i < 40 ? ["EX", "1000"] : []));
    await proxy.command("SELECT", "5");
    await proxy.command("SET", "k", "v");
    const fields = fieldsOf(await infoOf(proxy, "keyspace"));
    expect(fields.get("db0")).toMatch(/^keys=100,expires=40,/);
    expect(fields.get("db5")).toMatch(/^keys=1,expires=0,/);
    proxy.close();
    bare.close();
  });

  test("tells the proxy's own process, port and clients", async () => {
    const { proxy, bare } = await rig.connect(io);
    const second = await rig.proxy(io).connect();
    await second.command("PING");
    const fields = fieldsOf(await infoOf(proxy));
    expect(fields.get("process_id")).toBe(String(rig.proxy(io).pid));
    expect(fields.get("tcp_port")).toBe(String(rig.proxy(io).port));
    expect(fields.get("connected_clients")).toBe("2");
    expect(fields.get("shoal_groups")).toBe("3");
    expect(fields.get("redis_mode")).toBe("standalone");
    expect(fields.get("role")).toBe("master");
    for (const client of [proxy, bare, second]) client.close();
  });

  test("is a text in RESP3, too", async () => {
    const { proxy, bare } = await rig.connect(io);
    for (const client of [proxy, bare]) {
      await client.command("HELLO", "3");
      expect((await client.text("INFO", "server")).slice(0, 1)).toBe("=");
    }
    proxy.close();
    bare.close();
  });
});
