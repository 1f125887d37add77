import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { CheckStatus } from "../../src/contract/check-routes.ts";
import { slotOf } from "../../src/routing/slot-of.ts";
import { RespClient } from "../support/resp-client.ts";
import { until } from "../support/until.ts";
import { UpRig } from "./up-rig.ts";

setDefaultTimeout(60_000);

let rig: UpRig;
/** Primaries of g1 (slots 0 to 511) and g2. */
let first: RespClient;
let second: RespClient;
let proxy: RespClient;

beforeAll(async () => {
  rig = await UpRig.create();
  const up = await rig.run("up", "--detach", ...rig.small);
  expect(up).toMatchObject({ status: 0 });
  const ports = new Map(rig.record()?.parts.map((part) => [part.id, Number(part.address.split(":")[1])]));
  first = await RespClient.connect(ports.get("g1-1") as number);
  second = await RespClient.connect(ports.get("g2-1") as number);
  proxy = await RespClient.connect(rig.port);
});

afterAll(() => rig.cleanUp());

async function check(...args: string[]): Promise<{ status: number | null; found: CheckStatus }> {
  const { status, out, err } = await rig.run("check", "--json", ...args);
  if (out === "") throw new Error(err);
  return { status, found: JSON.parse(out) as CheckStatus };
}

/** A key, any bytes, whose slot belongs to g1 or g2. */
function keyIn(group: 1 | 2, prefix: string): string {
  for (let i = 0; ; i++) {
    const key = `${prefix}${i}`;
    const inFirst = slotOf(Buffer.from(key, "latin1"), 0, key.length, 1023) < 512;
    if (inFirst === (group === 1)) return key;
  }
}

describe("shoal check", () => {
  test("a cluster in order: nothing found, status 0", async () => {
    await proxy.text("SET", "somewhere", "1");
    const { status, found } = await check();
    expect(found.problems).toEqual([]);
    expect([status, found.clean, found.servers, found.keysScanned]).toEqual([0, true, 2, 1]);
  });

  test("finds keys outside their home, in every database; --fix brings home what is alone", async () => {
    const binary = keyIn(2, "\xff\x00 \r\n\\");
    const both = keyIn(2, "both");
    const home = keyIn(1, "home");
    await first.text("SET", both, "stray");
    await second.text("SET", both, "right");
    await first.text("SELECT", "3");
    await first.text("SET", binary, "five", "PX", "3600000");
    await first.text("SET", home, "stays");
    await second.text("SADD", keyIn(1, "set"), "a", "b");

    const before = await check();
    expect(before.status).toBe(1);
    expect(before.found.strays).toBe(3);
    expect(before.found.problems.map((problem) => problem.kind).sort()).toEqual(["double", "stray", "stray"]);
    const named = before.found.keys.find((key) => key.db === 3);
    expect(Buffer.from(named?.key ?? "", "base64url").toString("latin1")).toBe(binary);
    expect(named).toMatchObject({ home: "g2", state: "alone" });
    expect(named?.shown).toStartWith("\\xff\\x00\\x20\\x0d\\x0a\\x5c");

    const fixed = await check("--fix");
    expect([fixed.status, fixed.found.moved]).toEqual([1, 2]);
    expect(fixed.found.problems.map((problem) => problem.kind)).toEqual(["double"]);
    expect(await second.text("GET", both)).toBe("$5\r\nright\r\n");
    await proxy.text("SELECT", "3");
    expect(await proxy.text("GET", binary)).toBe("$4\r\nfive\r\n");
    expect(Number((await proxy.text("PTTL", binary)).slice(1))).toBeGreaterThan(3_500_000);
    expect(await first.text("EXISTS", binary)).toBe(":0\r\n");
    expect(await first.text("EXISTS", home)).toBe(":1\r\n");

    await first.text("SELECT", "0");
    await first.text("DEL", both);
    expect((await check()).status).toBe(0);
  });

  test("finds a replica that follows nobody", async () => {
    const replica = rig.record()?.parts.find((part) => part.id === "g2-2");
    const client = await RespClient.connect(Number(replica?.address.split(":")[1]));
    // The controller repairs it within a second or two, so it is looked at until it is seen.
    await until(async () => {
      await client.text("REPLICAOF", "NO", "ONE");
      const { found } = await check();
      return found.problems.some((problem) => problem.kind === "role" && problem.text.includes("g2"));
    }, "the check sees the replica");
    await until(async () => (await check()).status === 0, "the replica follows again", 20_000);
    client.close();
  });

  test("prints for people, and says what it cannot reach", async () => {
    const shown = await rig.run("check");
    expect(shown.out).toStartWith("All is well: ");
    const replica = rig.record()?.parts.find((part) => part.id === "g1-2");
    process.kill(replica?.process.pid as number, "SIGKILL");
    await until(async () => {
      const { status, out } = await rig.run("check");
      return status === 1 && out.includes(`${replica?.address} of group g1 does not answer`);
    }, "the check names the dead replica");
  });
});
