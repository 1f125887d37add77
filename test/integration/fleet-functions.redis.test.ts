/** FUNCTION and SCRIPT over several groups. */
import { afterAll, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { encodeRequest } from "../support/resp-client.ts";
import { until } from "../support/until.ts";
import { ask, FleetRig, membersOf } from "./fleet-rig.ts";

setDefaultTimeout(60_000);

let rig: FleetRig;
let keys: string[];

beforeAll(async () => {
  rig = await FleetRig.start();
  keys = await rig.keyOfEachGroup();
});

afterAll(() => rig.dispose());

beforeEach(async () => {
  for (const server of [...rig.servers, rig.bare]) {
    await server.command("FUNCTION", "FLUSH");
    await server.command("CONFIG", "SET", "busy-reply-threshold", "5000");
  }
});

function library(name: string, body = "return redis.call('GET', keys[1])"): string {
  const callback = `function(keys, args) ${body} end`;
  const options = `function_name='${name}_f', callback=${callback}, flags={'no-writes'}`;
  return `#!lua name=${name}\nredis.register_function{${options}}`;
}

/** Libraries at each server, by name. */
async function librariesAtServers(): Promise<string[]> {
  const lists = await Promise.all(rig.servers.map((server) => server.command("FUNCTION", "LIST")));
  return lists.map((list) => (list as string[][]).map((each) => each[1]).join(","));
}

describe.each(["2", "3"])("RESP%s", (protocol) => {
  test("a library is at every group, and FUNCTION answers as one server", async () => {
    const proxy = await rig.client(protocol);
    const bare = await rig.bareClient(protocol);
    for (const call of [
      ["FUNCTION", "LOAD", library("one")],
      ["FUNCTION", "LOAD", library("one")],
      ["FUNCTION", "LOAD", "REPLACE", library("one")],
      ["FUNCTION", "LOAD", "no shebang"],
      ["FUNCTION", "LOAD"],
      ["FUNCTION", "LIST"],
      ["FUNCTION", "LIST", "WITHCODE", "LIBRARYNAME", "on*"],
      ["FUNCTION", "LIST", "nosuch"],
      ["FUNCTION", "STATS"],
      ["FUNCTION", "DUMP"],
      ["FUNCTION", "KILL"],
      ["FUNCTION", "DELETE", "nosuch"],
      ["FUNCTION", "NOSUCH"],
      ["FUNCTION", "HELP"],
      ["FUNCTION", "RESTORE", "nonsense"],
      ["FUNCTION", "FLUSH", "nosuch"],
      ["FCALL", "one_f", "1", "nosuch"],
      ["FCALL_RO", "one_f", "1", "nosuch"],
      ["FCALL", "one_f", "x"],
      ["FCALL", "nosuch", "0"],
      ["FCALL", "nosuch", "1", "k"],
      ["FUNCTION", "DELETE", "one"],
      ["FUNCTION", "LIST"],
      ["SCRIPT", "KILL"],
    ]) {
      const [here, there] = await Promise.all([proxy.command(...call), bare.command(...call)]);
      expect(`${call.join(" ")} ${here.toString("latin1")}`).toBe(
        `${call.join(" ")} ${there.toString("latin1")}`,
      );
    }
    proxy.close();
    bare.close();
  });

  test("DUMP, FLUSH and RESTORE", async () => {
    const client = await rig.client(protocol);
    await client.command("FUNCTION", "LOAD", library("kept"));
    const dump = (await ask(client, "FUNCTION", "DUMP")).text;
    expect(await client.text("FUNCTION", "FLUSH")).toBe("+OK\r\n");
    expect(await librariesAtServers()).toEqual(["", "", ""]);
    expect(await client.text("FUNCTION", "RESTORE", dump)).toBe("+OK\r\n");
    expect(await librariesAtServers()).toEqual(["kept", "kept", "kept"]);
    for (const key of keys) expect(await client.text("FCALL", "kept_f", "1", key)).toBe("$1\r\nv\r\n");
    client.close();
  });
});

test("a function without keys runs at the home group, the same each time", async () => {
  const client = await rig.client();
  const body =
    "redis.call('SET', 'home', (redis.call('GET', 'home') or '') .. 'x') return redis.call('GET', 'home')";
  await client.command("FUNCTION", "LOAD", library("home", body).replace(", flags={'no-writes'}", ""));
  expect(await client.text("FCALL", "home_f", "0")).toBe("$1\r\nx\r\n");
  expect(await client.text("FCALL", "home_f", "0")).toBe("$2\r\nxx\r\n");
  expect(await client.text("EVAL", "return redis.call('GET', 'home')", "0")).toBe("$2\r\nxx\r\n");
  for (const server of rig.servers) await server.command("DEL", "home");
  client.close();
});

test("a group that came back without libraries gets them before the next call", async () => {
  const client = await rig.client();
  await client.command("FUNCTION", "LOAD", library("one"));
  await client.command("FUNCTION", "LOAD", library("two"));
  for (const [i, server] of rig.servers.entries()) {
    await server.kill();
    await server.launch();
    await until(
      async () => !(await client.text("SET", keys[i], "v")).startsWith("-"),
      "the proxy is back at it",
    );
    expect((await librariesAtServers())[i]).toBe("");
    // What follows the call in the pipeline keeps its place.
    client.write(
      Buffer.concat([["FCALL", "two_f", "1", keys[i]], ["PING"], ["GET", keys[i]]].map(encodeRequest)),
    );
    expect((await client.replies(3)).map(String)).toEqual(["$1\r\nv\r\n", "+PONG\r\n", "$1\r\nv\r\n"]);
    expect((await librariesAtServers())[i].split(",").sort()).toEqual(["one", "two"]);
  }
  client.close();
});

test("libraries that were deleted are not brought back, and a first one is loaded everywhere", async () => {
  const client = await rig.client();
  await client.command("FUNCTION", "LOAD", library("gone"));
  await client.command("FUNCTION", "DELETE", "gone");
  expect(await client.text("FCALL", "gone_f", "1", keys[1])).toBe("-ERR Function not found\r\n");
  expect(await librariesAtServers()).toEqual(["", "", ""]);
  client.close();
});

test("a library that one group does not take: the error names the groups that have it", async () => {
  const client = await rig.client();
  await rig.servers[1].command("FUNCTION", "LOAD", library("half"));
  await rig.servers[0].command("FUNCTION", "LOAD", library("other"));
  await rig.servers[2].command("FUNCTION", "LOAD", library("other"));
  const reply = await client.text("FUNCTION", "LOAD", library("half"));
  expect(reply).toBe(
    "-ERR FUNCTION LOAD ran in part only: done by group g1, g3; failed at group g2: " +
      "ERR Library 'half' already exists\r\n",
  );
  client.close();
});

test("ten thousand loads are quick", async () => {
  const client = await rig.client();
  const started = performance.now();
  const batch = Buffer.concat(
    Array.from({ length: 10_000 }, () => encodeRequest(["FUNCTION", "LOAD", "REPLACE", library("again")])),
  );
  client.write(batch);
  const replies = await client.replies(10_000);
  expect(new Set(replies.map(String))).toEqual(new Set(["$5\r\nagain\r\n"]));
  expect(performance.now() - started).toBeLessThan(20_000);
  client.close();
});

test.each([["SCRIPT"], ["FUNCTION"]])(
  "%s KILL ends a script that runs over the shared connection",
  async (family) => {
    for (const server of rig.servers) await server.command("CONFIG", "SET", "busy-reply-threshold", "10");
    const runner = await rig.client();
    const killer = await rig.client();
    await killer.command("FUNCTION", "LOAD", library("endless", "while true do end"));
    const call =
      family === "SCRIPT"
        ? ["EVAL", "while true do end", "1", keys[1]]
        : ["FCALL", "endless_f", "1", keys[1]];
    runner.write(encodeRequest(call));
    await until(async () => {
      const stats = membersOf(await ask(killer, "FUNCTION", "STATS"));
      return stats.get("running_script")?.text !== "null" || family === "SCRIPT";
    }, "the function runs");
    await until(async () => (await killer.text(family, "KILL")) === "+OK\r\n", "it is killed");
    expect(String(await runner.reply())).toContain("Script killed by user");
    expect(await runner.text("GET", keys[1])).toBe("$1\r\nv\r\n");
    expect(await killer.text(family, "KILL")).toBe("-NOTBUSY No scripts in execution right now.\r\n");
    runner.close();
    killer.close();
  },
);

test("a transaction calls functions", async () => {
  const client = await rig.client();
  await client.command("FUNCTION", "LOAD", library("inside"));
  await client.command("MULTI");
  expect(await client.text("FCALL", "inside_f", "1", keys[2])).toBe("+QUEUED\r\n");
  expect(await client.text("EXEC")).toBe("*1\r\n$1\r\nv\r\n");
  client.close();
});
