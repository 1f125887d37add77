/**
 * Where two servers may answer differently to the same request. One row for each reason; whatever is not
 * here must be equal to the byte.
 */
import { decodeReplyTree, type ReplyTree } from "../support/resp-client.ts";

/** Times that the two sides take from their own clocks; a run on a busy machine stays below. */
const CLOCK_DIFFERENCE_MS = 5000;

type Same = (proxy: ReplyTree, bare: ReplyTree, words: readonly string[]) => boolean;

interface Row {
  readonly reason: string;
  /** Command names, lower case; with a subcommand as "client|info". */
  readonly commands: string;
  readonly same: Same;
}

/** The tree as text, lists in the order of their elements' texts. */
function sorted(tree: ReplyTree): string {
  return `${tree.type}${tree.text}[${tree.items.map(sorted).sort().join(" ")}]`;
}

/** As `sorted`; the elements are taken in twos. */
function sortedPairs(tree: ReplyTree): string {
  const pairs: string[] = [];
  for (let i = 0; i < tree.items.length; i += 2)
    pairs.push(`${sorted(tree.items[i])} ${sorted(tree.items[i + 1])}`);
  return `${tree.type}${tree.text}[${pairs.sort().join(" ")}]`;
}

const anyOrder: Same = (proxy, bare) => sorted(proxy) === sorted(bare);

const anyOrderOfPairs: Same = (proxy, bare) =>
  proxy.items.length % 2 === 0 && bare.items.length % 2 === 0 && sortedPairs(proxy) === sortedPairs(bare);

/** Same types and sizes all the way down; the words may be others. */
const sameShape: Same = (proxy, bare) =>
  proxy.type === bare.type &&
  (proxy.text === "null") === (bare.text === "null") &&
  proxy.items.length === bare.items.length &&
  proxy.items.every((item, i) => sameShape(item, bare.items[i], []));

/** Numbers that are not far from each other, at any depth; all else equal. `unit`: milliseconds per 1. */
function near(unit: number): Same {
  const same: Same = (proxy, bare) => {
    if (proxy.type !== bare.type || proxy.items.length !== bare.items.length) return false;
    if (proxy.type === ":" && Number(proxy.text) > 0 && Number(bare.text) > 0) {
      return Math.abs(Number(proxy.text) - Number(bare.text)) * unit <= CLOCK_DIFFERENCE_MS;
    }
    return proxy.text === bare.text && proxy.items.every((item, i) => same(item, bare.items[i], []));
  };
  return same;
}

/** As `near`, where 0 is a time like any other. */
const nearFromZero: Same = (proxy, bare) => {
  if (proxy.type !== bare.type || proxy.items.length !== bare.items.length) return false;
  if (proxy.type === ":") return Math.abs(Number(proxy.text) - Number(bare.text)) <= CLOCK_DIFFERENCE_MS;
  return proxy.text === bare.text && proxy.items.every((item, i) => nearFromZero(item, bare.items[i], []));
};

const sameLength: Same = (proxy, bare) => proxy.type === bare.type && proxy.text.length === bare.text.length;

/** Equal but for the values beside these names. */
function except(...names: readonly string[]): Same {
  const blank = (tree: ReplyTree): string => {
    const items = tree.items.map((item, i) =>
      i % 2 === 1 && names.includes(tree.items[i - 1].text) ? "?" : blank(item),
    );
    return `${tree.type}${tree.text}[${items.join(" ")}]`;
  };
  return (proxy, bare) => blank(proxy) === blank(bare);
}

/** Of "key=value key=value" lines, what both sides must agree on. */
const CLIENT_FIELDS_COMPARED = [
  "name",
  "db",
  "flags",
  "sub",
  "psub",
  "multi",
  "cmd",
  "user",
  "redir",
  "resp",
];

function clientLine(text: string): string {
  const fields = new Map(
    text
      .trim()
      .split(" ")
      .map((field) => field.split("=") as [string, string]),
  );
  return CLIENT_FIELDS_COMPARED.map((name) => `${name}=${fields.get(name)}`).join(" ");
}

const sameClientLines: Same = (proxy, bare) => {
  const lines = (tree: ReplyTree): string[] => tree.text.trim().split("\n").map(clientLine);
  const bareLines = lines(bare);
  return proxy.type === bare.type && lines(proxy).every((line) => bareLines.includes(line));
};

/** TIME: seconds and microseconds, as strings. */
const sameTime: Same = (proxy, bare) =>
  sameShape(proxy, bare, []) &&
  proxy.items.length === 2 &&
  Math.abs(Number(proxy.items[0].text) - Number(bare.items[0].text)) * 1000 <= CLOCK_DIFFERENCE_MS;

/** `HELP` of a family: the first line names it; the proxy lists what it supports. */
const sameHelpHead: Same = (proxy, bare) =>
  proxy.type === bare.type && proxy.items.length > 3 && proxy.items[0].text === bare.items[0].text;

const ROWS: readonly Row[] = [
  { reason: "a server lists its hash table, the proxy its sorted one", commands: "acl|cat", same: anyOrder },
  { reason: "drawn by lot", commands: "acl|genpass", same: sameShape },
  {
    reason: "the order of a hash table depends on the server's random seed",
    commands:
      "smembers sinter sunion sdiff hkeys hvals keys scan sscan command|list command|docs command " +
      "command|info command|getkeysandflags",
    same: anyOrder,
  },
  { reason: "as above, and field and value belong together", commands: "hgetall", same: anyOrderOfPairs },
  {
    reason: "as above; the cursor is 0 because COUNT asks for all",
    commands: "hscan zscan",
    same: (proxy, bare) =>
      proxy.items.length === 2 &&
      bare.items.length === 2 &&
      proxy.items[0].text === bare.items[0].text &&
      sortedPairs(proxy.items[1]) === sortedPairs(bare.items[1]),
  },
  {
    reason: "chosen at random",
    commands: "srandmember hrandfield zrandmember randomkey lolwut",
    same: sameShape,
  },
  {
    reason: "all are taken, in the order of a hash table",
    commands: "spop",
    same: anyOrder,
  },
  { reason: "counts down by the clock", commands: "ttl expiretime", same: near(1000) },
  { reason: "counts down by the clock", commands: "pttl pexpiretime", same: near(1) },
  { reason: "the time", commands: "time", same: sameTime },
  {
    reason: "idle times",
    commands: "object|idletime xpending xinfo|consumers xinfo|stream",
    same: nearFromZero,
  },
  { reason: "a dumped set is in the order of its hash table", commands: "dump", same: sameLength },
  {
    reason: "depends on the sizes that the allocator has at hand",
    commands: "memory|usage",
    same: sameShape,
  },
  { reason: "the id of the connection", commands: "client|id", same: sameShape },
  { reason: "the id of the connection", commands: "hello", same: except("id") },
  {
    reason: "addresses, ages, buffers; the bare server has the rig's own connection, too",
    commands: "client|info client|list",
    same: sameClientLines,
  },
  { reason: "the order of a hash table", commands: "config|get", same: anyOrderOfPairs },
  { reason: "the servers' own time of starting", commands: "lastsave", same: sameShape },
  {
    reason: "each group's own text, or numbers that no two servers share; see integration/fleet-admin",
    commands: "latency|doctor latency|histogram memory|doctor memory|malloc-stats memory|stats slowlog|get",
    same: (proxy, bare) => proxy.type === bare.type,
  },
  { reason: "the proxy lists what it supports", commands: "client|help", same: sameHelpHead },
];

const BY_COMMAND = new Map(
  ROWS.flatMap((row) => row.commands.split(" ").map((name) => [name, row] as const)),
);

/** Whether these can start depends on what a server's child process is doing at the moment. */
const IN_BACKGROUND = new Set(["bgsave", "bgrewriteaof"]);
const STARTED_OR_BUSY = /^\+Background|in progress|Another child process is active/;

/** A server without cluster mode refuses them; the proxy reads from replicas (see proxy/replicas). */
const MORE_THAN_A_SERVER = new Set(["readonly", "readwrite"]);

/**
 * Whether the proxy's reply may stand beside the bare server's although their bytes differ. Errors never
 * may, with two exceptions: a malformed call may read as keys in different slots, and the proxy keeps its
 * users elsewhere than a server. Then both must be errors.
 */
export function allowedDifference(words: readonly string[], proxy: Buffer, bare: Buffer): boolean {
  if (IN_BACKGROUND.has(words[0].toLowerCase())) {
    return [proxy, bare].every((reply) => STARTED_OR_BUSY.test(reply.toString("latin1")));
  }
  if (MORE_THAN_A_SERVER.has(words[0].toLowerCase())) return proxy.toString("latin1") === "+OK\r\n";
  if (proxy[0] === 45 && bare[0] === 45) {
    const text = proxy.toString("latin1");
    return text.startsWith("-CROSSSLOT ") || text.startsWith("-ERR The proxy has no ACL file");
  }
  if (proxy[0] === 45 || bare[0] === 45) return false;
  const name = words[0].toLowerCase();
  const row = BY_COMMAND.get(`${name}|${words[1]?.toLowerCase()}`) ?? BY_COMMAND.get(name);
  return row !== undefined && row.same(decodeReplyTree(proxy), decodeReplyTree(bare), words);
}
