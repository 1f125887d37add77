/**
 * Loss mode L16: while connections break on both sides in the middle of pipelines, every reply that a client
 * gets belongs to the request at whose place it comes.
 */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { RedisProcess } from "../support/redis-process.ts";
import { until } from "../support/until.ts";
import { encode, type RawClient, type Reply, ReplyFault } from "./raw-client.ts";
import { Rig, TRANSPORTS } from "./rig.ts";

setDefaultTimeout(60_000);

const CLIENTS = 16;
const KEYS = 240;
const ROUNDS = 12;

let servers: RedisProcess[];
let rig: Rig;

beforeEach(async () => {
  servers = await Promise.all([RedisProcess.start(), RedisProcess.start(), RedisProcess.start()]);
});

afterEach(async () => {
  await rig.dispose();
  await Promise.all(servers.map((server) => server.dispose()));
});

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
function makeRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The value says whose it is; some are long enough to arrive in pieces. */
function valueOf(index: number): string {
  const filler = index % 40 === 0 ? 300_000 : index % 10 === 0 ? 20_000 : index % 90;
  return `value of crossed:${index};`.padEnd(filler, String(index % 10));
}

interface Asked {
  readonly bytes: Buffer;
  /** Whether a reply can be the reply to this. */
  fits(reply: Reply): boolean;
}

/** One request of a random kind whose reply can be no other's. */
function ask(random: () => number): Asked {
  const index = Math.floor(random() * KEYS);
  const key = `crossed:${index}`;
  const kind = random();
  if (kind < 0.1) {
    const word = `echo ${random()}`;
    return { bytes: encode("ECHO", word), fits: (reply) => reply === word };
  }
  if (kind < 0.2) {
    const others = [index, (index + 1) % KEYS, (index + 7) % KEYS].filter((each) => each % 40 !== 0);
    const bytes = encode("MGET", ...others.map((each) => `crossed:${each}`), "{none}");
    const wanted = JSON.stringify([...others.map(valueOf), null]);
    return { bytes, fits: (reply) => JSON.stringify(reply) === wanted };
  }
  return { bytes: encode("GET", key), fits: (reply) => reply === valueOf(index) };
}

interface Tally {
  right: number;
  errors: number;
  reconnects: number;
}

/** Pipelines until told to stop; leaves in the middle now and then. */
async function work(random: () => number, tally: Tally, running: () => boolean): Promise<void> {
  let client = await rig.connect();
  while (running()) {
    const asked = Array.from({ length: 1 + Math.floor(random() * 40) }, () => ask(random));
    client.write(Buffer.concat(asked.map((each) => each.bytes)));
    const leaveAfter = random() < 0.1 ? Math.floor(random() * asked.length) : asked.length;
    if (!(await check(client, asked.slice(0, leaveAfter), tally)) || leaveAfter < asked.length) {
      client.close();
      client = await rig.connect();
      tally.reconnects++;
    }
  }
}

/**
 * Reads the replies; false when the connection ended, as it does when a server breaks off in a long reply.
 */
async function check(client: RawClient, asked: readonly Asked[], tally: Tally): Promise<boolean> {
  for (const each of asked) {
    const reply = await client.next().catch(() => undefined);
    if (reply === undefined) return false;
    if (reply instanceof ReplyFault) {
      expect(reply.text).toStartWith("ERR Cannot reach server");
      tally.errors++;
    } else if (each.fits(reply)) tally.right++;
    else
      throw new Error(
        `${each.bytes.toString("latin1", 0, 60)} was answered ${JSON.stringify(reply).slice(0, 120)}`,
      );
  }
  return true;
}

describe.each(TRANSPORTS)("replies (%s)", (io) => {
  test("are never crossed while connections are cut", async () => {
    const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 31));
    console.log(`seed ${seed}`);
    const random = makeRandom(seed);
    rig = await Rig.start(servers, io, { server_timeout_ms: 400, reconnect_backoff_ms_max: 100 });
    const filler = await rig.connect();
    for (let i = 0; i < KEYS; i++) expect(await filler.call("SET", `crossed:${i}`, valueOf(i))).toBe("OK");
    const tally: Tally = { right: 0, errors: 0, reconnects: 0 };
    const state: { running: boolean; failure: unknown } = { running: true, failure: undefined };
    const load = Array.from({ length: CLIENTS }, (_, i) =>
      work(makeRandom(seed + i + 1), tally, () => state.running && state.failure === undefined).catch(
        (error: unknown) => {
          state.failure = error;
        },
      ),
    );
    const served = async (): Promise<void> => {
      const before = tally.right;
      await until(() => tally.right > before + 500 || state.failure !== undefined, "requests are served");
    };
    for (let round = 0; round < ROUNDS && state.failure === undefined; round++) {
      const victim = servers[Math.floor(random() * servers.length)];
      if (round % 4 === 3) {
        victim.signal("SIGSTOP");
        const noticed = (): number => rig.counters["serverTimeouts"] ?? 0;
        const before = noticed();
        await until(() => noticed() > before || state.failure !== undefined, "the freeze is noticed");
        victim.signal("SIGCONT");
      } else await victim.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
      await served();
    }
    state.running = false;
    await Promise.all(load);
    if (state.failure !== undefined) throw state.failure;
    console.log(`${io}: ${tally.right} right, ${tally.errors} errors, ${tally.reconnects} new connections`);
    await until(() => rig.counters["inFlight"] === 0, "no request is left behind");
    // All of them read: what was under way was sent again.
    expect(rig.counters["readsSentAgain"]).toBeGreaterThan(0);
  });
});
