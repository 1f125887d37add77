import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { RespClient } from "../support/resp-client.ts";
import { until } from "../support/until.ts";
import { UpRig } from "./up-rig.ts";

setDefaultTimeout(60_000);

let rig: UpRig;
let client: RespClient;

/** "a" is in g2, "{}x" in g1, whose only server is dead. */
beforeAll(async () => {
  rig = await UpRig.create();
  const up = await rig.run(
    "up",
    "--detach",
    "--groups",
    "2",
    "--replicas",
    "0",
    "--proxies",
    "1",
    ...rig.ports,
  );
  expect(up).toMatchObject({ status: 0 });
  expect(await rig.run("options", "set", "hold_timeout_ms=0")).toMatchObject({ status: 0 });
  client = await RespClient.connect(rig.port);
  expect(await client.text("MSET", "a", "old", "{}x", "old")).toBe("+OK\r\n");
  const server = rig.record()?.parts.find((part) => part.id === "g1-1");
  process.kill(server?.process.pid as number, "SIGKILL");
  await until(async () => (await client.text("GET", "{}x")).startsWith("-"), "the proxy has noticed");
});

afterAll(() => rig.cleanUp());

test("L11: half of an MSET fails: the error says which half was done, and it was", async () => {
  const reply = await client.text("MSET", "a", "new", "{}x", "new");
  expect(reply).toMatch(/^-ERR MSET ran in part only: done by group g2; failed at group g1: /);
  expect(await client.text("GET", "a")).toBe("$3\r\nnew\r\n");
});

test("L11: half of a DEL fails: the same", async () => {
  const reply = await client.text("DEL", "{}x", "a");
  expect(reply).toMatch(/^-ERR DEL ran in part only: done by group g2; failed at group g1: /);
  expect(await client.text("EXISTS", "a")).toBe(":0\r\n");
});

test("L11: what only reads fails whole, what cannot be split is refused first", async () => {
  expect(await client.text("MGET", "a", "{}x")).toMatch(/^-ERR Cannot reach server .* of group g1/);
  expect(await client.text("MSETNX", "a", "1", "{}x", "1")).toStartWith("-CROSSSLOT ");
  expect(await client.text("EXISTS", "a")).toBe(":0\r\n");
});
