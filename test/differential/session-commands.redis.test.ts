/**
 * What the proxy answers itself, against a server alone: one conversation per line of the tables, on a new
 * connection.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { TRANSPORTS } from "../support/proxy-process.ts";
import { encodeRequest } from "../support/resp-client.ts";
import { describeMismatch, DifferentialRig, type Pair } from "./rig.ts";

setDefaultTimeout(60_000);

/** Calls with " / " between them; a word `""` is the empty one, \s a space, \n a line end. */
const CONVERSATIONS: readonly string[] = [
  "HELLO",
  "HELLO 2 / HELLO 3 / HELLO / HGETALL nosuch / HELLO 2 / HGETALL nosuch",
  "HELLO 3 SETNAME me / CLIENT GETNAME",
  "HELLO 3 AUTH default secret SETNAME me / CLIENT GETNAME / GET k",
  "HELLO 3 SETNAME me AUTH default secret / CLIENT GETNAME",
  "HELLO 3 AUTH default wrong / PING / HELLO",
  "HELLO 3 AUTH nobody secret / PING",
  "HELLO 3 SETNAME a\\sb / CLIENT GETNAME / HELLO",
  'HELLO 1 / HELLO 4 / HELLO abc / HELLO -2 / HELLO 02 / HELLO 99999999999999999999 / HELLO 2.0 / HELLO ""',
  "HELLO 3 AUTH default / HELLO 3 SETNAME / HELLO 3 NOSUCH / HELLO 3 NOSUCH a b / HELLO 3 2",
  "HELLO 2 SETNAME a SETNAME b / CLIENT GETNAME",
  "AUTH secret / GET k",
  "AUTH default secret / GET k",
  "AUTH wrong / GET k / AUTH secret / GET k / AUTH wrong / GET k",
  "AUTH nobody secret",
  'AUTH / AUTH a b c / AUTH "" / AUTH default ""',
  "GET k / SET k v / ECHO a / PING / SELECT 1 / CLIENT ID / CLIENT GETNAME / COMMAND COUNT",
  "NOSUCHCOMMAND / CLIENT NOSUCH / GET / QUIT a",
  "AUTH secret / SELECT 0 / SELECT 15 / SELECT 16 / SELECT -1 / SELECT abc / SELECT 1.5 / " +
    "SELECT 01 / SELECT -0",
  'AUTH secret / SELECT 2147483647 / SELECT 2147483648 / SELECT 9223372036854775808 / SELECT ""',
  "AUTH secret / SELECT / SELECT 1 2",
  "AUTH secret / SELECT 3 / SET k three / SELECT 0 / GET k / SELECT 3 / GET k / DEL k / RESET / " +
    "AUTH secret / CLIENT INFO",
  'AUTH secret / PING / PING a / PING a b / ping "" / ECHO a / ECHO / ECHO a b / ECHO "" / ECHO a\\n\\sb',
  "AUTH secret / CLIENT / CLIENT NOSUCH / CLIENT NOSUCH a b / CLIENT GETNAME a / CLIENT ID a / " +
    "CLIENT SETNAME",
  'AUTH secret / CLIENT SETNAME me / CLIENT GETNAME / CLIENT SETNAME "" / CLIENT GETNAME / CLIENT INFO',
  "AUTH secret / CLIENT SETNAME a\\sb / CLIENT SETNAME a\\nb / CLIENT SETNAME \xe9 / " +
    "CLIENT SETNAME a b / CLIENT GETNAME",
  "AUTH secret / HELLO 3 / CLIENT GETNAME / CLIENT INFO / CLIENT SETNAME x / CLIENT INFO",
  "AUTH secret / CLIENT SETNAME listed / SELECT 2 / CLIENT LIST / CLIENT LIST TYPE normal / " +
    "CLIENT LIST TYPE NORMAL",
  "AUTH secret / CLIENT LIST TYPE nosuch / CLIENT LIST TYPE / CLIENT LIST NOSUCH / CLIENT LIST ID / " +
    "CLIENT LIST ID abc",
  "AUTH secret / CLIENT LIST TYPE replica / CLIENT LIST TYPE master / CLIENT LIST TYPE pubsub / " +
    "CLIENT LIST TYPE slave",
  "AUTH secret / CLIENT LIST ID 999999 / CLIENT LIST ID 0 / CLIENT LIST ID -1 / CLIENT LIST ID 1 a / " +
    "CLIENT LIST TYPE normal x",
  "AUTH secret / CLIENT KILL / CLIENT KILL nosuch / CLIENT KILL 127.0.0.1:1 / CLIENT KILL ID / " +
    "CLIENT KILL ID abc",
  "AUTH secret / CLIENT KILL ID 0 / CLIENT KILL ID -5 / CLIENT KILL ID 999999 / " +
    "CLIENT KILL ADDR 1.2.3.4:5 / CLIENT KILL ID 999999 SKIPME",
  "AUTH secret / CLIENT KILL TYPE nosuch / CLIENT KILL TYPE pubsub / CLIENT KILL USER nobody / " +
    "CLIENT KILL NOSUCH x",
  "AUTH secret / CLIENT KILL ID 999999 SKIPME maybe / CLIENT KILL ID 999999 SKIPME no / " +
    "CLIENT KILL LADDR 1.2.3.4:5 TYPE normal",
  "AUTH secret / CLIENT NO-EVICT on / CLIENT INFO / CLIENT NO-EVICT off / CLIENT INFO / " +
    "CLIENT NO-EVICT maybe / CLIENT NO-EVICT",
  "AUTH secret / CLIENT REPLY ON / CLIENT REPLY maybe / CLIENT REPLY / CLIENT REPLY ON ON",
  "AUTH secret / CLIENT HELP / CLIENT HELP a",
  "AUTH secret / RESET / PING",
  "AUTH secret / HELLO 3 / SELECT 4 / CLIENT SETNAME x / RESET / AUTH secret / CLIENT GETNAME / " +
    "CLIENT INFO / HELLO",
  "AUTH secret / RESET a / PING",
  "AUTH secret / READONLY / READWRITE / ASKING / READONLY a",
  "AUTH secret / COMMAND / COMMAND COUNT / COMMAND COUNT a / COMMAND LIST / " +
    "COMMAND LIST FILTERBY PATTERN z* / COMMAND NOSUCH",
  "AUTH secret / COMMAND LIST FILTERBY ACLCAT geo / COMMAND LIST FILTERBY MODULE x / " +
    "COMMAND LIST FILTERBY NOSUCH x / COMMAND LIST a",
  "AUTH secret / COMMAND INFO / COMMAND INFO get nosuch set / COMMAND INFO client|id / " +
    "COMMAND DOCS get / COMMAND DOCS nosuch",
  "AUTH secret / COMMAND GETKEYS / COMMAND GETKEYS get k / COMMAND GETKEYS mset a 1 b 2 / " +
    "COMMAND GETKEYS ping / COMMAND GETKEYS nosuch a",
  "AUTH secret / COMMAND GETKEYSANDFLAGS set a b / COMMAND GETKEYS eval return 2 a b c / " +
    "COMMAND GETKEYS get / COMMAND HELP",
  "AUTH secret / HELLO 3 / COMMAND INFO get / COMMAND DOCS set / COMMAND GETKEYSANDFLAGS set a b / " +
    "COMMAND LIST FILTERBY ACLCAT hash",
  'AUTH secret / nosuch / NoSuch a b c / nosuch a\\nb / "" / "" a / get / GET a b / SET a',
  `AUTH secret / ${"n".repeat(200)} / nosuch ${"a".repeat(200)} b / nosuch ${"a ".repeat(60)}b`,
  "AUTH secret / OBJECT / OBJECT nosuch k / XGROUP nosuch / XINFO / SCRIPT / SCRIPT nosuch / " +
    "OBJECT ENCODING / XGROUP CREATE k",
  "AUTH secret / OBJECT HELP / XGROUP HELP / XINFO HELP / SCRIPT HELP / COMMAND HELP",
  "AUTH secret / SCRIPT EXISTS / SCRIPT LOAD / SCRIPT FLUSH nosuch / SCRIPT LOAD return( / " +
    "SCRIPT EXISTS a b",
  "AUTH secret / DBSIZE a / KEYS / KEYS a b / RANDOMKEY a / SCAN / SCAN abc / SCAN 0 COUNT / " +
    "SCAN 0 COUNT 0 / SCAN 0 TYPE",
  "AUTH secret / SCAN 0 MATCH / SCAN 0 NOSUCH 1 / SCAN 0 COUNT abc / SCAN 1a / SCAN + / SCAN \\s1 / " +
    "SCAN 99999999999999999999",
  "AUTH secret / FLUSHALL a / FLUSHDB a b / FLUSHALL ASYNC SYNC / TIME a / TIME",
  "AUTH secret / MGET / MSET / MSET a / MSET a 1 b / DEL / EXISTS / UNLINK / TOUCH / MSETNX a 1 b",
  "AUTH secret / EVAL / EVAL x / EVAL x abc / EVAL x -1 / EVAL x 1 / EVALSHA abc 0 / EVALSHA abc 1 / " +
    "ZUNION 0 a / ZUNION abc a",
];

function wordsOf(call: string): string[] {
  return call
    .split(" ")
    .map((word) => (word === '""' ? "" : word.replaceAll("\\s", " ").replaceAll("\\n", "\n")));
}

function conversation(text: string): string[][] {
  return text.split(" / ").map(wordsOf);
}

/** What differs, as lines; `atOnce`: as one pipeline. */
async function differences(pair: Pair, text: string, atOnce: boolean): Promise<string> {
  const calls = conversation(text);
  if (atOnce) return (await pair.compareBatch(calls, 0)).map(describeMismatch).join("\n");
  const lines: string[] = [];
  for (const words of calls) {
    const mismatch = await pair.compare(words);
    if (mismatch !== null) lines.push(describeMismatch(mismatch));
  }
  return lines.join("\n");
}

describe.each(["", "secret"])("password %p", (password) => {
  let rig: DifferentialRig;
  beforeAll(async () => {
    rig = await DifferentialRig.start(TRANSPORTS, password);
  });
  afterAll(() => rig.dispose());

  describe.each([...TRANSPORTS])("%s", (io) => {
    test.each(CONVERSATIONS)("%s", async (text) => {
      for (const atOnce of [false, true]) {
        const pair = await rig.connect(io);
        expect(await differences(pair, text, atOnce)).toBe("");
        pair.close();
      }
    });

    test("QUIT: the replies owed, OK, and the end", async () => {
      const { proxy, bare } = await rig.connect(io);
      for (const client of [proxy, bare]) {
        client.write(
          Buffer.concat([["AUTH", "secret"], ["SET", "k", "v"], ["QUIT"], ["PING"]].map(encodeRequest)),
        );
        await client.untilClosed();
      }
      const all = async (client: typeof proxy): Promise<string> => (await client.replies(3)).join("");
      expect(await all(proxy)).toBe(await all(bare));
      expect(proxy.reply()).rejects.toThrow("no reply is left");
    });

    test("CLIENT REPLY OFF, SKIP and ON", async () => {
      const pair = await rig.connect(io);
      const quiet = [
        ["AUTH", "secret"],
        ["CLIENT", "REPLY", "OFF"],
        ["SET", "r:1", "v"],
        ["MSET", "r:2", "v", "r:3", "v", "r:4", "v"],
        ["NOSUCHCOMMAND"],
        ["PING"],
        ["CLIENT", "REPLY", "ON"],
        ["MGET", "r:1", "r:2", "r:3", "r:4"],
        ["CLIENT", "REPLY", "SKIP"],
        ["SET", "r:1", "w"],
        ["GET", "r:1"],
        ["CLIENT", "REPLY", "SKIP"],
        ["DEL", "r:1", "r:2", "r:3"],
        ["GET", "r:1"],
        ["CLIENT", "REPLY", "SKIP"],
        ["PING"],
        ["ECHO", "end"],
      ];
      const bytes = Buffer.concat(quiet.map(encodeRequest));
      for (const client of [pair.proxy, pair.bare]) client.write(bytes);
      // AUTH, REPLY ON, MGET, GET, GET, ECHO
      const proxy = (await pair.proxy.replies(6)).map(String);
      expect(proxy).toEqual((await pair.bare.replies(6)).map(String));
      expect(proxy.at(-1)).toBe("$3\r\nend\r\n");
      pair.close();
    });

    test("CLIENT KILL ends the client that is named, and itself after its reply", async () => {
      for (const side of ["proxy", "bare"] as const) {
        const killer = (await rig.connect(io))[side];
        const victim = (await rig.connect(io))[side];
        for (const client of [killer, victim]) await client.command("AUTH", "secret");
        const id = (await victim.text("CLIENT", "ID")).slice(1).trim();
        expect(await killer.text("CLIENT", "KILL", "ID", id)).toBe(":1\r\n");
        await victim.untilClosed();
        const own = (await killer.text("CLIENT", "ID")).slice(1).trim();
        expect(await killer.text("CLIENT", "KILL", "ID", own)).toBe(":0\r\n");
        expect(await killer.text("CLIENT", "KILL", "ID", own, "SKIPME", "no")).toBe(":1\r\n");
        await killer.untilClosed();
      }
    });
  });
});
