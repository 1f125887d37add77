/** Replies and requests of many receives: wherever one ends, in a header or in a body, nothing is lost. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { TRANSPORTS } from "../support/proxy-process.ts";
import { encodeRequest } from "../support/resp-client.ts";
import { DifferentialRig, type Pair } from "./rig.ts";

setDefaultTimeout(60_000);

const LARGE = "v".repeat(1_500_000);

let rig: DifferentialRig;

beforeAll(async () => {
  rig = await DifferentialRig.start(TRANSPORTS);
});

afterAll(() => rig.dispose());

/** Sends the bytes in pieces that arrive as such: the last `tail` bytes are cut at `cut`. */
async function writeCut(pair: Pair, bytes: Buffer, tail: number, cut: number): Promise<void> {
  const at = bytes.length - tail;
  for (const [from, to] of [
    [0, at],
    [at, at + cut],
    [at + cut, bytes.length],
  ]) {
    if (from === to) continue;
    pair.proxy.write(bytes.subarray(from, to));
    pair.bare.write(bytes.subarray(from, to));
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

describe.each([...TRANSPORTS])("%s", (io) => {
  test.each(["2", "3"])("a list's reply, a byte longer each time (RESP%s)", async (protocol) => {
    await rig.empty();
    const pair = await rig.connect(io);
    await pair.compare(["HELLO", protocol]);
    const elements = Array.from({ length: 20_000 }, (_, i) => "x".repeat(i % 4) + i);
    await pair.compare(["RPUSH", "list", "", ...elements]);
    for (let length = 0; length < 16; length++) {
      await pair.compare(["LSET", "list", "0", "p".repeat(length)]);
      const commands = [
        ["LRANGE", "list", "0", "-1"],
        ["GET", `other${length}`],
        ["LRANGE", "list", "0", "-1"],
      ];
      expect((await pair.compareBatch(commands, 0)).length).toBe(0);
    }
    pair.close();
  });

  test("a large value with arguments behind it, cut at each of their bytes", async () => {
    const pair = await rig.connect(io);
    const request = encodeRequest(["RPUSH", "pieces", LARGE, "a", "", "bcd"]);
    const tail = request.length - request.indexOf("\r\n$1\r\na\r\n");
    for (let cut = 0; cut <= tail; cut++) {
      await writeCut(pair, request, tail, cut);
      expect([cut, (await pair.proxy.reply()).toString()]).toEqual([
        cut,
        (await pair.bare.reply()).toString(),
      ]);
      expect(await pair.compare(["LRANGE", "pieces", "1", "-1"])).toBeNull();
      expect(await pair.compare(["STRLEN", "pieces"])).toBeNull();
      expect(await pair.compare(["DEL", "pieces"])).toBeNull();
    }
    pair.close();
  });

  test("large values in a pipeline, among small ones", async () => {
    const pair = await rig.connect(io);
    const commands = Array.from({ length: 5 }, (_, i) => [
      ["SET", `{l}${i}`, `${i}${LARGE}`],
      ["GET", `small${i}`],
      ["GETRANGE", `{l}${i}`, "1400000", "-1"],
      ["MSET", `{l}${i}`, `${LARGE}${i}`, `small${i}`, "s"],
      ["MGET", `{l}${i}`, `small${i}`, `none${i}`],
      ["APPEND", `{l}${i}`, LARGE],
      ["GET", `{l}${i}`],
      ["UNLINK", `{l}${i}`, `small${i}`],
    ]).flat();
    expect((await pair.compareBatch(commands, 0)).map((mismatch) => mismatch.words)).toEqual([]);
    pair.close();
  });
});
