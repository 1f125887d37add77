/** A server has done what it was sent, and its replies are lost on the way, or late for a switch. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { encode, type RawClient, type Reply, ReplyFault } from "../robustness/raw-client.ts";
import { mapOf, Rig, TRANSPORTS } from "../robustness/rig.ts";
import { RedisProcess } from "../support/redis-process.ts";
import { RelayedRedis } from "../support/redis-relay.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(30_000);

/** Clients of each kind: what was under way is more than one request, and not all at the queue's head. */
const CLIENTS = 8;

/** Each adds one to what its key holds, and answers how much that is. */
const KINDS: Readonly<Record<string, (key: string) => string[][]>> = {
  INCR: (key) => [["INCR", key]],
  LPUSH: (key) => [["LPUSH", key, "x"]],
  APPEND: (key) => [["APPEND", key, "x"]],
  HINCRBY: (key) => [["HINCRBY", key, "field", "1"]],
  "a script": (key) => [["EVAL", "return redis.call('INCR', KEYS[1])", "1", key]],
  "a transaction": (key) => [["MULTI"], ["INCR", key], ["EXEC"]],
};

let server: RelayedRedis;
let rig: Rig;

beforeEach(async () => {
  server = await RelayedRedis.behindRelay();
});

afterEach(async () => {
  await rig.dispose();
  await server.dispose();
});

interface Counter {
  readonly kind: string;
  readonly client: RawClient;
  readonly calls: string[][];
}

/** The last reply counts: of a transaction it is EXEC's. */
async function add({ client, calls }: Counter): Promise<Reply> {
  client.write(Buffer.concat(calls.map((words) => encode(...words))));
  const replies = await client.take(calls.length);
  const last = replies.at(-1) as Reply;
  return Array.isArray(last) ? last[0] : last;
}

describe.each(TRANSPORTS)("replies that are lost (%s)", (io) => {
  test("L12: what has run is not sent again, and the error says that it may have", async () => {
    rig = await Rig.start([server], io, { reconnect_backoff_ms_max: 100 });
    const counters: Counter[] = [];
    for (const [kind, callsFor] of Object.entries(KINDS)) {
      for (let i = 0; i < CLIENTS; i++)
        counters.push({ kind, client: await rig.connect(), calls: callsFor(`${kind}:${i}`) });
    }
    for (const counter of counters) expect(await add(counter)).toBe(1);
    server.relay?.loseReplies();
    const unanswered = counters.map(add);
    const done = async (): Promise<boolean> => {
      const last = `a transaction:${CLIENTS - 1}`;
      const pushed = (await server.command("LLEN", `LPUSH:${CLIENTS - 1}`)) === 2;
      return pushed && (await server.command("GET", last)) === "2";
    };
    await until(done, "the server has done it");
    server.relay?.breakClients();
    const replies = await Promise.all(unanswered);
    const texts = replies.map((one) => (one instanceof ReplyFault ? one.text : JSON.stringify(one)));
    const others = texts.filter((text) => !text.endsWith("the command may have run"));
    expect(others).toEqual([]);
    const next = await Promise.all(counters.map(add));
    expect(next.map((sum, i) => [counters[i].kind, sum])).toEqual(counters.map(({ kind }) => [kind, 3]));
  });
});

describe.each(TRANSPORTS)("a switch while clients wait in BLPOP (%s)", (io) => {
  test("L15: what was popped and is on its way arrives; who got nothing waits on elsewhere", async () => {
    await using next = disposable(await RedisProcess.start());
    rig = await Rig.start([server], io);
    const [served, waiting] = [await rig.connect(), await rig.connect()];
    const element = served.call("BLPOP", "a", "0");
    const other = waiting.call("BLPOP", "b", "0");
    await until(
      async () => String(await server.command("INFO", "clients")).includes("blocked_clients:2"),
      "both wait",
    );
    // The pop is done, and nobody behind the relay knows it when the switch begins.
    server.relay?.cutClients();
    await server.command("RPUSH", "a", "x");
    await until(async () => (await server.command("EXISTS", "a")) === 0, "it is popped");
    const held = mapOf([server.addr], 2);
    rig.sendMap({ ...held, groups: held.groups.map((group) => ({ ...group, held: true })) });
    await until(() => server.relay?.keeps("UNBLOCK") === true, "the proxy ends the waits");
    expect(rig.acks).not.toContain(2);
    server.relay?.heal();
    expect(await element).toEqual(["a", "x"]);
    await until(() => rig.acks.includes(2), "nobody waits at the old primary any more");
    rig.sendMap(mapOf([next.server.addr], 3));
    await until(() => rig.acks.includes(3), "the next one is in force");
    await next.server.command("RPUSH", "b", "y");
    expect(await other).toEqual(["b", "y"]);
  });
});

function disposable(one: RedisProcess): AsyncDisposable & { readonly server: RedisProcess } {
  return { server: one, [Symbol.asyncDispose]: () => one.dispose() };
}
