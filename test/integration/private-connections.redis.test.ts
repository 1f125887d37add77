/** A server is lost, or takes no more, while a client is given a connection of its own: nothing was sent. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { encode, type Reply, ReplyFault } from "../robustness/raw-client.ts";
import { Rig, TRANSPORTS } from "../robustness/rig.ts";
import { RelayedRedis } from "../support/redis-relay.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(30_000);

/** Only connections of one's own ask for their name at the server, right after they are made. */
const FIRST_WORDS = "$6\r\nCLIENT\r\n$2\r\nID\r\n";

let server: RelayedRedis;
let rig: Rig;

beforeEach(async () => {
  server = await RelayedRedis.behindRelay();
});

afterEach(async () => {
  await rig.dispose();
  await server.dispose();
});

/** Sends them all at once; the last reply counts. */
async function ask(...calls: string[][]): Promise<Reply> {
  const client = await rig.connect();
  client.write(Buffer.concat(calls.map((words) => encode(...words))));
  return (await client.take(calls.length)).at(-1) as Reply;
}

describe.each(TRANSPORTS)("a connection of one's own (%s)", (io) => {
  test("L12: it breaks before the server has answered on it: no error, the request waits", async () => {
    rig = await Rig.start([server], io, { reconnect_backoff_ms_max: 100 });
    expect(await ask(["SET", "plain", "0"])).toBe("OK");
    server.relay?.stopAt(FIRST_WORDS);
    const value = "v".repeat(3 << 20);
    const replies = [
      ask(["BLPOP", "list", "0"]),
      ask(["BLPOP", "nothing", "0.05"]),
      ask(["WATCH", "plain"]),
      ask(["MULTI"], ["SELECT", "1"], ["INCR", "other"], ["EXEC"]),
      ask(["SET", "large", value]),
    ];
    await until(() => server.relay?.stopped === replies.length, "all are being connected");
    server.relay?.breakClients();
    server.relay?.heal();
    const others = await Promise.all(replies.slice(1));
    expect(others).toEqual([null, "OK", ["OK", 1], "OK"]);
    expect(await ask(["RPUSH", "list", "one", "two"])).toBe(2);
    expect(await replies[0]).toEqual(["list", "one"]);
    expect(await ask(["STRLEN", "large"])).toBe(value.length);
  });

  test("who gives up meanwhile takes nothing; a server that takes no more is not asked on", async () => {
    rig = await Rig.start([server], io, { reconnect_backoff_ms_max: 100 });
    expect(await ask(["SET", "plain", "0"])).toBe("OK");
    server.relay?.stopAt(FIRST_WORDS);
    const gone = await rig.connect();
    gone.write(encode("BLPOP", "list", "0"));
    await until(() => server.relay?.stopped === 1, "it is being connected");
    gone.close();
    await until(async () => !String(await ask(["CLIENT", "LIST"])).includes("cmd=blpop"), "it is gone");
    server.relay?.heal();
    expect(await ask(["RPUSH", "list", "one"])).toBe(1);
    expect(await ask(["BLPOP", "list", "0"])).toEqual(["list", "one"]);
    // Connections that wait to be used again count as well.
    await server.command("CONFIG", "SET", "maxclients", "1");
    const waiters = Array.from({ length: 8 }, () => ask(["BLPOP", "nothing", "2"]));
    const faults = (await Promise.all(waiters)).filter((reply) => reply instanceof ReplyFault);
    expect(faults.length).toBeGreaterThan(0);
    for (const { text } of faults) expect(text).not.toContain("may have run");
    expect(await ask(["GET", "plain"])).toBe("0");
  });
});
