/**
 * The oracle, with random command streams. Each test is one family × transport × protocol.
 *
 *   SHOAL_DIFFERENTIAL_ROUNDS=50   more streams per test (default 1)
 *   SHOAL_DIFFERENTIAL_SEED=123    begins with this seed instead of one from the clock
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { TRANSPORTS } from "../support/proxy-process.ts";
import { decodeReplyTree, RespClient } from "../support/resp-client.ts";
import { describeMismatch, DifferentialRig } from "./rig.ts";
import { runStream, shrink } from "./run-stream.ts";
import { commandStream } from "./streams/command-stream.ts";
import { EVERYTHING, FAMILIES, type Family } from "./streams/families.ts";
import { SeededRandom } from "./streams/seeded-random.ts";
import { prelude } from "./streams/vocabulary.ts";

const ROUNDS = Number(process.env.SHOAL_DIFFERENTIAL_ROUNDS ?? 1);
const SEED = Number(process.env.SHOAL_DIFFERENTIAL_SEED ?? Date.now() % 1_000_000_000);
const COMMANDS_PER_STREAM = 400;

setDefaultTimeout(60_000 * Math.max(1, ROUNDS));

let rig: DifferentialRig;
let dumps: string[];

beforeAll(async () => {
  rig = await DifferentialRig.start(TRANSPORTS);
  dumps = await someDumps();
});

afterAll(() => rig.dispose());

/** Payloads for RESTORE, good and bad. */
async function someDumps(): Promise<string[]> {
  const client = await RespClient.connect(rig.bare.port);
  for (const words of prelude()) await client.command(...words);
  const payloads = ["no dump at all"];
  for (const type of ["s", "h", "l", "t", "z", "x"]) {
    payloads.push(decodeReplyTree(await client.command("DUMP", `{a}${type}0`)).text);
  }
  client.close();
  return payloads;
}

async function check(family: Family, io: string, protocol: string, seed: number): Promise<void> {
  const commands = commandStream(family, new SeededRandom(seed), COMMANDS_PER_STREAM, dumps);
  const mismatch = await runStream(rig, io, protocol, commands, seed);
  if (mismatch === null) return;
  const upTo = commands.slice(0, Math.max(1, mismatch.index + 1));
  const short = await shrink(rig, io, protocol, upTo, seed);
  const lines = short.map((words) => JSON.stringify(words));
  const head = `SHOAL_DIFFERENTIAL_SEED=${seed} family=${family.name} io=${io} RESP${protocol}`;
  expect.unreachable(`${head}\n${describeMismatch(mismatch)}\nshortest stream found:\n${lines.join("\n")}`);
}

describe.each([...TRANSPORTS])("%s", (io) => {
  describe.each(["2", "3"])("RESP%s", (protocol) => {
    test.each([...FAMILIES, EVERYTHING].map((family) => [family.name, family] as const))(
      "%s",
      async (_, family) => {
        for (let round = 0; round < ROUNDS; round++) await check(family, io, protocol, SEED + round);
      },
    );
  });
});
