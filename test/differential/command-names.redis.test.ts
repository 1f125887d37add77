/** Names that are no command's, though they look like one. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { TRANSPORTS } from "../support/proxy-process.ts";
import { describeMismatch, DifferentialRig } from "./rig.ts";

setDefaultTimeout(30_000);

/** Redis's COMMAND INFO takes "config|get"; as a command it is unknown. */
const CALLS: readonly (readonly string[])[] = [
  ["CONFIG|GET"],
  ["config|get", "maxmemory"],
  ["CLIENT|ID"],
  ["object|encoding", "k"],
  ["GET|", "k"],
  ["|"],
  ["|GET", "k"],
  ["GET k"],
  ["SET\r\n", "k", "v"],
  [" GET", "k"],
  [""],
];

describe.each(TRANSPORTS.map((io) => ({ io })))("names over $io", ({ io }) => {
  let rig: DifferentialRig;
  beforeAll(async () => {
    rig = await DifferentialRig.start([io]);
  });
  afterAll(() => rig.dispose());

  test("are unknown, alone, inside a transaction, and a second time", async () => {
    const pair = await rig.connect(io);
    const all = [...CALLS, ["MULTI"], ...CALLS, ["EXEC"], ...CALLS];
    expect((await pair.compareBatch(all, 0)).map(describeMismatch)).toEqual([]);
    pair.close();
  });
});
