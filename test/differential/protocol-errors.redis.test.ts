/**
 * Bytes that are no requests, or inline ones: the proxy must say what a server says, and close where it
 * closes.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { TRANSPORTS } from "../support/proxy-process.ts";
import { encodeRequest, RespClient } from "../support/resp-client.ts";
import { DifferentialRig } from "./rig.ts";
import { SeededRandom } from "./streams/seeded-random.ts";

const ROUNDS = Number(process.env.SHOAL_DIFFERENTIAL_ROUNDS ?? 1) * 300;
const SEED = Number(process.env.SHOAL_DIFFERENTIAL_SEED ?? Date.now() % 1_000_000_000);

setDefaultTimeout(60_000 * Math.max(1, ROUNDS / 300));

let rig: DifferentialRig;

beforeAll(async () => {
  rig = await DifferentialRig.start(TRANSPORTS);
});

afterAll(() => rig.dispose());

/** Sends bytes, says that it was all, and returns everything that is answered until the other side closes. */
async function answersTo(client: RespClient, bytes: Buffer): Promise<string> {
  client.write(bytes);
  client.end();
  const replies = await client.toEnd();
  client.close();
  return Buffer.concat(replies).toString("latin1");
}

async function expectSame(io: string, text: string): Promise<string> {
  const bytes = Buffer.from(text, "latin1");
  const { proxy, bare } = await rig.connect(io);
  const [got, wanted] = await Promise.all([answersTo(proxy, bytes), answersTo(bare, bytes)]);
  expect(`${JSON.stringify(text.slice(0, 300))} ${got}`).toBe(
    `${JSON.stringify(text.slice(0, 300))} ${wanted}`,
  );
  return got;
}

const ERRORS: readonly string[] = [
  "*abc\r\n",
  "*\r\n",
  "*+1\r\n",
  "*01\r\n$4\r\nPING\r\n",
  "*-0\r\n",
  "*-01\r\n",
  "*1.5\r\n",
  "* 1\r\n",
  "*99999999999\r\n",
  "*9223372036854775808\r\n",
  "*2147483648\r\n",
  "*1\r\nPING\r\n",
  "*1\r\n:4\r\nPING\r\n",
  "*1\r\n\r\n\r\n",
  "*1\r\n$\r\n\r\n\r\n",
  "*1\r\n$-1\r\n\r\n",
  "*1\r\n$abc\r\nPING\r\n",
  "*1\r\n$04\r\nPING\r\n",
  "*1\r\n$+4\r\nPING\r\n",
  "*1\r\n$4x\r\nPING\r\n",
  "*1\r\n$536870913\r\nPING\r\n",
  "*1\r\n$99999999999999999999\r\nPING\r\n",
  "*2\r\n$4\r\nECHO\r\n$1\r\na\r\n*1\r\n$9x\r\n\r\n",
  'SET k "open\r\n',
  "SET k 'open\r\n",
  'SET k "a"b\r\n',
  'ECHO "\\x4\r\n',
];

const NO_ERRORS: readonly string[] = [
  "\r\n\r\n\n\nPING\r\n",
  "*0\r\nPING\r\n",
  "*-1\r\nPING\r\n",
  "*-99\r\n*1\r\n$4\r\nPING\r\n",
  "PING\n",
  "  PING   a  \r\n",
  "ECHO\tword\r\n",
  'ECHO "a\\x41\\n\\r\\t\\b\\a\\"\\\\\\q"\r\n',
  "ECHO 'a\\'b\\n'\r\n",
  'ECHO a"b c"\r\n',
  'ECHO ""\r\n',
  "ECHO \xe9\xff\r\n",
  "*2\r\n$4\r\nECHO\r\n$0\r\n\r\n",
  "*1\r\n$0\r\n\r\n",
  "*1\r\n$4\r\nPINGxx*1\r\n$4\r\nPING\r\n",
  "*2\r\n$4\r\nECHO\r\n$10\r\nshort\r\n",
  "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n",
  "*1\r\n$4\r\nPI",
  "PING",
];

/** A request, well formed. */
function request(random: SeededRandom): string {
  const key = `{a}${random.int(5)}`;
  const words = random.pick([
    ["PING"],
    ["ECHO", "x".repeat(random.int(40))],
    ["SET", key, "v"],
    ["GET", key],
    ["MGET", key, "b", "c"],
  ]);
  if (random.chance(0.25)) return `${words.join(" ")}\r\n`;
  return encodeRequest(words).toString("latin1");
}

const ODD_BYTES = [..."*$+-:09 1\r\n\"'\\x\xff,"];

/** Changes, removes or adds a byte. */
function damaged(text: string, random: SeededRandom): string {
  const at = random.int(text.length);
  const way = random.int(3);
  return text.slice(0, at) + (way === 0 ? "" : random.pick(ODD_BYTES)) + text.slice(way === 1 ? at : at + 1);
}

describe.each([...TRANSPORTS])("%s", (io) => {
  test.each(ERRORS.map((text) => [JSON.stringify(text), text]))("%s", async (_, text) => {
    const answer = await expectSame(io, `*1\r\n$4\r\nPING\r\n${text}`);
    expect(answer).toMatch(/^\+PONG\r\n.*-ERR Protocol error: /s);
  });

  test.each(NO_ERRORS.map((text) => [JSON.stringify(text), text]))("%s", async (_, text) => {
    expect(await expectSame(io, text)).not.toContain("Protocol error");
  });

  test("a client that says that it was all gets every reply, whatever its requests waited for", async () => {
    const keys = Array.from({ length: 200 }, (_, i) => `k${i}`);
    const calls = keys.flatMap((key, i) => [
      ["SELECT", String(i % 3)],
      ["SET", key, key],
      [`UNKNOWN${i % 7}`, key],
      ["MGET", ...keys.slice(0, 9)],
    ]);
    const text = calls.map((words) => encodeRequest(words).toString("latin1")).join("");
    expect((await expectSame(io, text)).split("+OK\r\n").length).toBe(401);
  });

  test("a header may end in a CR and any byte: no server sees another request in it", async () => {
    await expectSame(io, "*4\r\r$4\rxMGET\r\n$1\r\r\na..$1\r\nb\r\n$1\r\nc\r\n*1\r\n$4\r\nPING\r\n");
    await expectSame(io, "*3\r\r$3\rxDEL\r\n$1\r$a..$1\r*b\r\n*1\r\n$4\r\nPING\r\n");
    await expectSame(io, "*1\r\r$6\rxDBSIZE*1*3\r\r$4\rxSCAN$$$1\r\r0..$2\r\rx*..*1\r\n$4\r\nPING\r\n");
  });

  test("lines and headers that never end", async () => {
    await expectSame(io, "x".repeat(70_000));
    await expectSame(io, `PING ${"x".repeat(60_000)}\r\n`);
  });

  test(`${ROUNDS} damaged pipelines`, async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const random = new SeededRandom(SEED + round);
      let text = Array.from({ length: 1 + random.int(6) }, () => request(random)).join("");
      for (let damages = 1 + random.int(3); damages > 0; damages--) text = damaged(text, random);
      try {
        // The tail lets a server see the end of a header: it does not look at one before.
        await expectSame(io, `${text}\r\n\r\nPING\r\n`);
      } catch (error) {
        const { message } = error as Error;
        throw new Error(`SHOAL_DIFFERENTIAL_SEED=${SEED + round}: ${message}`, { cause: error });
      }
    }
  });
});
