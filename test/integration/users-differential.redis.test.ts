/**
 * Rights, against a server alone: the same random rules for a user on both sides, then for every form of
 * every command whether it is allowed, and the words in which it is not. Asked with ACL DRYRUN, which runs
 * nothing.
 *
 *   SHOAL_DIFFERENTIAL_ROUNDS=50   more rule sets (default 1 stands for 40)
 *   SHOAL_DIFFERENTIAL_SEED=123    begins with this seed instead of one from the clock
 */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { CATEGORIES } from "../../src/proxy/users/command-rights.ts";
import { KEYED_SAMPLES } from "../../src/commands/testing/keyed-samples.ts";
import { KEYLESS_SAMPLES } from "../../src/commands/testing/keyless-samples.ts";
import { SeededRandom } from "../differential/streams/seeded-random.ts";
import { ProxyProcess } from "../support/proxy-process.ts";
import { RedisProcess } from "../support/redis-process.ts";
import { decodeReplyTree, encodeRequest, type RespClient, type ReplyTree } from "../support/resp-client.ts";
import { RespClient as Client } from "../support/resp-client.ts";

setDefaultTimeout(120_000);

const RULE_SETS = 40 * Number(process.env.SHOAL_DIFFERENTIAL_ROUNDS ?? 1);
const SEED = Number(process.env.SHOAL_DIFFERENTIAL_SEED ?? Date.now() % 1_000_000_000);
/** Newer than the bare server. */
const NOT_THERE = /^(waitaof|client\|no-touch|client\|setinfo)$/;

let server: RedisProcess;
let bareServer: RedisProcess;
let proxyProcess: ProxyProcess;
let proxy: RespClient;
let bare: RespClient;

beforeAll(async () => {
  [server, bareServer] = await Promise.all([RedisProcess.start(), RedisProcess.start()]);
  proxyProcess = await ProxyProcess.start([server.addr]);
  proxy = await proxyProcess.connect();
  bare = await Client.connect(bareServer.port);
});

afterAll(async () => {
  await proxyProcess.dispose();
  await Promise.all([server.dispose(), bareServer.dispose()]);
});

/** Every form of every command, as words. */
const CALLS: readonly (readonly string[])[] = Object.entries({ ...KEYED_SAMPLES, ...KEYLESS_SAMPLES })
  .filter(([name]) => !NOT_THERE.test(name))
  .flatMap(([, samples]) => samples)
  // Redis 7.0 finds no key in it and lets everybody make any key this way.
  .filter((sample) => sample !== "PFMERGE k")
  .map((sample) => sample.split(" "));

const COMMAND_NAMES = Object.keys({ ...KEYED_SAMPLES, ...KEYLESS_SAMPLES }).filter((n) => !NOT_THERE.test(n));
const PATTERNS = ["k", "l*", "[k-m]", "?", "a:*", "\\k", "*", "k*k", "", "[^k]*", "m"];
const CHANNELS = ["k", "c*", "*", "?", "news.*", "k*"];
const ODD = [
  "zzz",
  "+nosuch",
  "-nosuch",
  "+@nosuch",
  "+config|nosuch",
  "+get|",
  "%Q~a",
  "%~a",
  "~a b",
  "+config|get|x",
  "+",
];
const FLAGS = [
  "on",
  "off",
  "nopass",
  "resetpass",
  ">secret",
  "#" + "ab".repeat(32),
  "#abc",
  "<secret",
  "!abc",
  "",
];

function ruleOf(random: SeededRandom): string {
  const sign = random.pick(["+", "-"]);
  const kind = random.int(100);
  if (kind < 30) return `${sign}@${random.pick(CATEGORIES)}`;
  if (kind < 55) return mixedCase(random, `${sign}${random.pick(COMMAND_NAMES)}`);
  if (kind < 60) return random.pick(["+@all", "-@all", "allcommands", "nocommands"]);
  if (kind < 64)
    return random.pick(["+select|0", "+select|9", "+debug|object", "-select|0", "+get|k", "+object"]);
  if (kind < 80) return `${random.pick(["~", "~", "%R~", "%W~", "%RW~", "%wr~"])}${random.pick(PATTERNS)}`;
  if (kind < 84)
    return random.pick(["allkeys", "resetkeys", "~*", "resetchannels", "allchannels", "clearselectors"]);
  if (kind < 90) return `&${random.pick(CHANNELS)}`;
  if (kind < 94) return random.pick(FLAGS);
  if (kind < 98) return `(${Array.from({ length: random.int(4) }, () => selectorRule(random)).join(" ")})`;
  return random.pick(ODD);
}

function selectorRule(random: SeededRandom): string {
  for (;;) {
    const rule = ruleOf(random);
    if (/^[+\-~%&]|^all|^no|^reset[kc]/.test(rule)) return rule;
  }
}

function mixedCase(random: SeededRandom, text: string): string {
  return random.chance(0.2) ? text.toUpperCase() : text;
}

async function both(...words: string[]): Promise<[string, string]> {
  const [ours, theirs] = await Promise.all([proxy.text(...words), bare.text(...words)]);
  return [ours, theirs];
}

/** The same calls to one side, all at once. */
async function answers(client: RespClient, calls: readonly (readonly string[])[]): Promise<string[]> {
  client.write(Buffer.concat(calls.map(encodeRequest)));
  return (await client.replies(calls.length)).map((raw) => raw.toString("latin1"));
}

/** Names the first calls about which the two sides differ. */
async function differences(user: string, bareUser: string): Promise<string[]> {
  const dry = (name: string) => CALLS.map((words) => ["ACL", "DRYRUN", name, ...words]);
  const [ours, theirs] = await Promise.all([answers(proxy, dry(user)), answers(bare, dry(bareUser))]);
  return CALLS.flatMap((words, i) =>
    ours[i] === theirs[i] ? [] : [`${words.join(" ")}: proxy ${ours[i].trim()}, bare ${theirs[i].trim()}`],
  ).slice(0, 10);
}

function field(tree: ReplyTree, name: string): ReplyTree | undefined {
  return tree.items[tree.items.findIndex((item) => item.text === name) + 1];
}

test("random rules: the same answers, the same users, the same rights", async () => {
  console.log(`users-differential: SHOAL_DIFFERENTIAL_SEED=${SEED}`);
  const random = new SeededRandom(SEED);
  const seen = { allowed: 0, denied: 0 };
  for (let set = 0; set < RULE_SETS; set++) {
    const given: string[] = [];
    await both("ACL", "DELUSER", "u");
    for (let steps = 1 + random.int(4); steps > 0; steps--) {
      const rules = Array.from({ length: random.int(6) }, () => ruleOf(random));
      given.push(...rules, "/");
      const [ours, theirs] = await both("ACL", "SETUSER", "u", ...rules);
      expect(ours, given.join(" ")).toBe(theirs);
    }
    const [ours, theirs] = await Promise.all([
      proxy.command("ACL", "GETUSER", "u"),
      bare.command("ACL", "GETUSER", "u"),
    ]);
    for (const name of ["flags", "passwords", "keys", "channels"]) {
      const [our, their] = [ours, theirs].map((raw) => field(decodeReplyTree(raw), name));
      expect(our, `${name} of ${given.join(" ")}`).toEqual(their as ReplyTree);
    }
    expect(await differences("u", "u"), given.join(" ")).toEqual([]);
    // What ACL LIST shows makes the same user elsewhere.
    const list = decodeReplyTree(await proxy.command("ACL", "LIST")).items.map((item) => item.text);
    const line = list.find((each) => each.startsWith("user u ")) as string | undefined;
    // All of its rules were wrong.
    if (line === undefined) continue;
    await bare.command("ACL", "DELUSER", "copy");
    expect(await bare.text("ACL", "SETUSER", "copy", ...line.split(" ").slice(2)), line).toBe("+OK\r\n");
    expect(await differences("u", "copy"), line).toEqual([]);
    const dry = await answers(
      bare,
      CALLS.map((words) => ["ACL", "DRYRUN", "u", ...words]),
    );
    for (const answer of dry) seen[answer === "+OK\r\n" ? "allowed" : "denied"]++;
  }
  console.log(`users-differential: ${RULE_SETS} rule sets × ${CALLS.length} calls, ${seen.allowed} allowed`);
  expect(seen.allowed).toBeGreaterThan(1000);
  expect(seen.denied).toBeGreaterThan(1000);
});

/** Calls with " / " between them; each is made on both sides by one connection that begins unknown. */
const CONVERSATIONS: readonly string[] = [
  "AUTH r wrong / AUTH r p / ACL WHOAMI / GET a:1 / GET b / SET a:1 v / FLUSHALL / MGET a:1 b",
  "AUTH r p / MULTI / GET b / GET a:1 / EXEC / MULTI / SET a:1 x / EXEC / EXEC",
  "AUTH r p / MULTI / FLUSHALL / DISCARD / MULTI / EXEC",
  "AUTH noexec p / MULTI / GET a:1 / EXEC / EXEC / GET a:1 / EXEC",
  "AUTH r p / SORT a:l BY b_* / SORT a:l GET # / SORT a:l BY nosort / SORT a:l STORE b / SORT a:l STORE a:m",
  "AUTH r p / PUBLISH c1 x / PUBLISH d1 x / SPUBLISH c1 x / SPUBLISH d1 x",
  "AUTH off p / AUTH open anything / ACL WHOAMI / AUTH nobody p",
  "HELLO 3 AUTH r p / ACL WHOAMI / GET b / HELLO 2 AUTH r wrong / ACL WHOAMI / RESET / ACL WHOAMI",
  "AUTH r p / AUTH default p / ACL WHOAMI / GET b",
  "AUTH ro p / SET a:1 v / GET a:1 / SET a:1 v GET",
  "AUTH ro p / GETSET a:1 v / COPY a:1 a:2 / COPY a:1 b / LMOVE a:l b LEFT LEFT",
  "AUTH wo p / SET a:1 v / GET a:1 / SET a:1 v GET",
  "AUTH wo p / BITFIELD a:1 GET u8 0 / BITFIELD a:1 SET u8 0 1 / EXISTS a:1 / DEL a:1",
  "AUTH r p / NOSUCH / GET / ACL NOSUCH / CONFIG / SELECT 0 / SELECT 1 / ACL WHOAMI x",
  "ACL GETUSER r / ACL GETUSER ro / ACL GETUSER nosuch",
  "ACL USERS / ACL DRYRUN r GET b / ACL DRYRUN r NOSUCH",
  "HELLO 3 / ACL GETUSER open / ACL GETUSER sel / ACL GETUSER nosuch",
  "HELLO 3 / ACL GENPASS x / ACL GENPASS 0 / ACL GENPASS 4097 / ACL GENPASS 5 5",
  "ACL DRYRUN nosuch GET b / ACL DRYRUN r GET / ACL DRYRUN r CONFIG NOSUCH / ACL CAT",
  "ACL CAT nosuch / ACL CAT a b / ACL LOG x / ACL HELP x",
  "ACL DELUSER default / ACL DELUSER nosuch / ACL SETUSER a\\sb / ACL SETUSER",
  "ACL DELUSER / ACL GETUSER / ACL SETUSER q (+get / ACL SETUSER q (+nosuch)",
  "CLIENT KILL USER nobody / CLIENT KILL USER sel",
];

const USERS: readonly (readonly string[])[] = [
  ["r", "on", ">p", "~a:*", "&c*", "+@all", "-flushall", "-select", "+select|0"],
  ["noexec", "on", ">p", "~*", "+@all", "-exec"],
  ["off", "off", ">p", "~*", "+@all"],
  ["open", "on", "nopass", "~x", "+@read", "-get"],
  ["ro", "on", ">p", "%R~a:*", "%W~c:*", "+@all"],
  ["wo", "on", ">p", "%W~a:*", "+@all"],
  ["sel", "on", ">p", "~k", "+get", "(~l +set)", "(~m +@read &c)"],
];

test.each(CONVERSATIONS)("%s", async (text) => {
  for (const user of USERS) {
    const [ours, theirs] = await both("ACL", "SETUSER", user[0], "reset", ...user.slice(1));
    expect(ours).toBe(theirs);
  }
  await both("ACL", "DELUSER", "u", "copy");
  await both("FLUSHALL");
  for (const atOnce of [false, true]) {
    const pair = [await proxyProcess.connect(), await Client.connect(bareServer.port)];
    const calls = text.split(" / ").map((call) => call.split(" ").map((word) => word.replaceAll("\\s", " ")));
    const told = await Promise.all(
      pair.map(async (client) => {
        if (atOnce) return answers(client, calls);
        const lines: string[] = [];
        for (const words of calls) lines.push(await client.text(...words));
        return lines;
      }),
    );
    const comparable = (lines: readonly string[]) =>
      lines.map((line, i) => `${calls[i].join(" ")} → ${withoutCommands(line)}`);
    expect(comparable(told[0])).toEqual(comparable(told[1]));
    for (const client of pair) client.close();
  }
});

/** GETUSER's `commands` may be other words for the same; the rights themselves are compared above. */
function withoutCommands(line: string): string {
  return line
    .replaceAll(/\$8\r\ncommands\r\n\$\d+\r\n[^\r]*\r\n/g, "commands ")
    .replaceAll(/\$4\r\nproto\r\n.*|\$2\r\nid\r\n:\d+\r\n|\$\d+\r\n[0-9a-f]{64}\r\n/gs, "");
}
