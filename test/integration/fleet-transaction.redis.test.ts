/** Commands for all groups between MULTI and EXEC: each group runs its part in one go. */
import { afterAll, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { TRANSPORTS } from "../support/proxy-process.ts";
import { encodeRequest, type RespClient } from "../support/resp-client.ts";
import { FleetRig } from "./fleet-rig.ts";

setDefaultTimeout(60_000);

describe.each([...TRANSPORTS])("in a transaction, %s", (io) => {
  let rig: FleetRig;
  let keys: string[];
  let client: RespClient;

  beforeAll(async () => {
    rig = await FleetRig.start({ io });
    keys = await rig.keyOfEachGroup();
  });

  afterAll(() => rig.dispose());

  beforeEach(async () => {
    client?.close();
    client = await rig.client();
    for (const key of keys) await client.command("SET", key, "before");
  });

  /** EXEC's reply, after MULTI and the calls. */
  async function run(...calls: string[]): Promise<string> {
    await client.command("MULTI");
    for (const call of calls) expect(await client.text(...call.split(" "))).toBe("+QUEUED\r\n");
    return client.text("EXEC");
  }

  async function existing(): Promise<(number | string)[]> {
    const counts = await Promise.all(keys.map((key) => client.text("EXISTS", key)));
    return counts.map((text) => Number(text.slice(1)));
  }

  test("FLUSHDB takes what stands before it, and not what stands behind it", async () => {
    const [first] = keys;
    expect(await run(`SET ${first} a`, "FLUSHDB", `SET ${first} b`)).toBe("*3\r\n+OK\r\n+OK\r\n+OK\r\n");
    expect(await existing()).toEqual([1, 0, 0]);
    expect(await client.text("GET", first)).toBe("$1\r\nb\r\n");
  });

  test("alone, and several of them, and with a command of the proxy's", async () => {
    expect(await run("FLUSHALL")).toBe("*1\r\n+OK\r\n");
    expect(await existing()).toEqual([0, 0, 0]);
    const mixed = ["CONFIG SET hz 17", "CLIENT GETNAME", "SLOWLOG RESET", "CONFIG RESETSTAT"];
    expect(await run(...mixed)).toBe("*4\r\n+OK\r\n$-1\r\n+OK\r\n+OK\r\n");
    for (const server of rig.servers)
      expect(await server.command("CONFIG", "GET", "hz")).toEqual(["hz", "17"]);
  });

  test("an error of every server is the command's, in its place", async () => {
    const reply = await run(`SET ${keys[1]} a`, "CONFIG SET hz nonsense", `GET ${keys[1]}`);
    expect(reply).toMatch(/^\*3\r\n\+OK\r\n-ERR CONFIG SET .*failed.*\r\n\$1\r\na\r\n$/);
  });

  test("functions are there everywhere", async () => {
    const code = "#!lua name=lib\nredis.register_function('f', function() return 5 end)";
    await client.command("MULTI");
    await client.command("FUNCTION", "LOAD", "REPLACE", code);
    expect(await client.text("EXEC")).toBe("*1\r\n$3\r\nlib\r\n");
    for (const server of rig.servers) expect(await server.command("FCALL", "f", "0")).toBe(5);
    expect(await run("FUNCTION FLUSH")).toBe("*1\r\n+OK\r\n");
  });

  test("when a watched key has changed nothing runs anywhere", async () => {
    await client.command("WATCH", keys[0]);
    await rig.servers[0].command("SET", keys[0], "changed");
    expect(await run("FLUSHALL")).toBe("*-1\r\n");
    expect(await existing()).toEqual([1, 1, 1]);
    await client.command("WATCH", keys[0]);
    expect(await run("FLUSHALL")).toBe("*1\r\n+OK\r\n");
    expect(await existing()).toEqual([0, 0, 0]);
  });

  test("what follows in the same write comes after it, at every group", async () => {
    const calls = [["MULTI"], ["FLUSHALL"], ["EXEC"], ...keys.map((key) => ["SET", key, "after"])];
    client.write(Buffer.concat(calls.map(encodeRequest)));
    await client.replies(calls.length);
    expect(await existing()).toEqual([1, 1, 1]);
  });

  test("what would need more than that is refused when it is queued", async () => {
    const refused: readonly (readonly [string, RegExp])[] = [
      ["SLOWLOG GET", /^-CROSSSLOT /],
      ["DBSIZE", /^-CROSSSLOT /],
      ["CONFIG SET requirepass x", /^-ERR CONFIG SET failed/],
    ];
    for (const [text, error] of refused) {
      await client.command("MULTI");
      expect(await client.text(...text.split(" "))).toMatch(error);
      expect(await client.text("EXEC")).toStartWith("-EXECABORT ");
    }
    await client.command("MULTI");
    await client.command("SELECT", "3");
    expect(await client.text("FLUSHDB")).toStartWith("-CROSSSLOT ");
    await client.command("DISCARD");
    expect(await existing()).toEqual([1, 1, 1]);
  });

  test("over one group as on a server, but for what is the servers' own", async () => {
    const narrow = await rig.narrow.connect();
    await narrow.command("MULTI");
    for (const call of [["DBSIZE"], ["FLUSHALL"], ["DBSIZE"]]) await narrow.command(...call);
    expect(await narrow.text("EXEC")).toMatch(/^\*3\r\n:\d+\r\n\+OK\r\n:0\r\n$/);
    await narrow.command("MULTI");
    expect(await narrow.text("CONFIG", "SET", "masterauth", "x")).toStartWith("-ERR CONFIG SET failed");
    narrow.close();
  });
});
