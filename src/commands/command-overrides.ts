/**
 * The short hand-written part: what Redis's own data does not say about going through a proxy. Everything
 * that is not named here follows from the generated table by the rules of `build-command.ts`.
 *
 * A subcommand without an entry and without keys takes its container's. Names that no server of the reference
 * version knows stand in `EXTRA_COMMANDS` and `EXTRA_SUBCOMMANDS` at the end.
 */
import type { CommandData } from "./command-data.ts";
import * as c from "./command.ts";

/** What is said here instead of what the rules would say. */
export interface Override {
  /** ROUTE_* */
  readonly route?: number;
  /** MERGE_* */
  readonly merge?: number;
  /** FINDER_* */
  readonly finder?: number;
  /** For the error text; see `Command.note`. */
  readonly note?: string;
}

const PROXY: Override = { route: c.ROUTE_PROXY };
const ANY: Override = { route: c.ROUTE_ANY_GROUP };
const FAN_OUT: Override = { route: c.ROUTE_ALL_GROUPS };
const SPLIT: Override = { route: c.ROUTE_SPLIT };
/** To every group; the answer is the first error, or the first reply. */
const TO_ALL: Override = { route: c.ROUTE_ALL_GROUPS, merge: c.MERGE_ALL_SUCCEEDED };
const OWN_MERGE: Override = { route: c.ROUTE_ALL_GROUPS, merge: c.MERGE_OWN };

const refused = (note: string): Override => ({ route: c.ROUTE_REFUSED, note });

const REPLICATION = refused("replication and failover belong to the controller");
const LIFE = refused("the servers' life belongs to the controller");

/** By full name ("script|load"). */
export const OVERRIDES: Readonly<Record<string, Override>> = {
  // Cut by server: the answer for many keys is made of the answers for each. MSETNX is not among them: all or
  // nothing does not survive a cut. Redis says multi_shard for both.
  mget: { route: c.ROUTE_SPLIT, merge: c.MERGE_BY_KEY },
  mset: SPLIT,
  del: SPLIT,
  unlink: SPLIT,
  exists: SPLIT,
  touch: SPLIT,

  // To every group. How to merge is in Redis's tips where it is not given.
  dbsize: FAN_OUT,
  flushall: FAN_OUT,
  flushdb: FAN_OUT,
  keys: { route: c.ROUTE_ALL_GROUPS, merge: c.MERGE_CONCAT },
  scan: { route: c.ROUTE_ALL_GROUPS, merge: c.MERGE_SCAN },
  randomkey: { route: c.ROUTE_ALL_GROUPS, merge: c.MERGE_RANDOM_KEY },
  info: { route: c.ROUTE_ALL_GROUPS, merge: c.MERGE_INFO },
  "script|load": FAN_OUT,
  "script|exists": FAN_OUT,
  "script|flush": FAN_OUT,
  "script|kill": FAN_OUT,
  "script|debug": refused("a script cannot be stepped through over a shared connection"),

  // Of all groups. What is merged in a way of its own: proxy/dispatch/fleet-commands.ts.
  function: FAN_OUT,
  "function|dump": OWN_MERGE,
  "function|list": OWN_MERGE,
  "function|stats": OWN_MERGE,
  config: TO_ALL,
  "config|get": OWN_MERGE,
  "config|resetstat": TO_ALL,
  "config|rewrite": TO_ALL,
  slowlog: FAN_OUT,
  "slowlog|get": OWN_MERGE,
  "slowlog|len": OWN_MERGE,
  latency: FAN_OUT,
  "latency|doctor": OWN_MERGE,
  "latency|graph": OWN_MERGE,
  "latency|histogram": OWN_MERGE,
  "latency|history": OWN_MERGE,
  "latency|latest": OWN_MERGE,
  memory: FAN_OUT,
  "memory|doctor": OWN_MERGE,
  "memory|malloc-stats": OWN_MERGE,
  "memory|stats": OWN_MERGE,
  wait: FAN_OUT,
  waitaof: FAN_OUT,
  lastsave: { route: c.ROUTE_ALL_GROUPS, merge: c.MERGE_MIN },
  bgsave: TO_ALL,
  bgrewriteaof: TO_ALL,
  swapdb: TO_ALL,
  monitor: PROXY,
  role: PROXY,
  debug: PROXY,
  "debug|digest-value": PROXY,
  "debug|htstats-key": PROXY,
  "debug|listpack": PROXY,
  "debug|object": PROXY,
  "debug|quicklist": PROXY,
  "debug|sdslen": PROXY,
  "debug|ziplist": PROXY,

  time: ANY,
  lolwut: ANY,
  command: ANY,
  pfselftest: ANY,

  // What a session is made of. READONLY and READWRITE mean what they mean in a Redis Cluster.
  auth: PROXY,
  hello: PROXY,
  select: PROXY,
  echo: PROXY,
  ping: PROXY,
  quit: PROXY,
  reset: PROXY,
  readonly: PROXY,
  readwrite: PROXY,
  asking: PROXY,
  client: PROXY,

  // Keys that the specifications do not tell, or not exactly.
  sort: { finder: c.FINDER_SORT },
  sort_ro: { finder: c.FINDER_SORT },
  xread: { finder: c.FINDER_XREAD },
  xreadgroup: { finder: c.FINDER_XREAD },
  georadius: { finder: c.FINDER_GEORADIUS },
  georadiusbymember: { finder: c.FINDER_GEORADIUS },
  migrate: { route: c.ROUTE_PROXY, finder: c.FINDER_MIGRATE },

  // Known, and to come. Until then one error that says so, and the connection lives.
  multi: PROXY,
  exec: PROXY,
  discard: PROXY,
  watch: PROXY,
  unwatch: PROXY,
  subscribe: PROXY,
  unsubscribe: PROXY,
  psubscribe: PROXY,
  punsubscribe: PROXY,
  ssubscribe: PROXY,
  sunsubscribe: PROXY,
  publish: PROXY,
  spublish: PROXY,
  pubsub: PROXY,
  acl: PROXY,

  // Never: each of these is about one server, behind the controller's back.
  cluster: refused("the map of the slots belongs to the controller"),
  replicaof: REPLICATION,
  slaveof: REPLICATION,
  failover: REPLICATION,
  sync: REPLICATION,
  psync: REPLICATION,
  replconf: REPLICATION,
  shutdown: LIFE,
  save: refused("it would stop a server for every client; BGSAVE on the server itself does not"),
  module: refused("modules are loaded by each server's own configuration"),
  "restore-asking": refused("it belongs to Redis Cluster's own way of moving keys"),
};

/** Data for a name that the reference server does not list. */
function extra(
  name: string,
  arity: number,
  since: string,
  summary: string,
  more: Partial<CommandData>,
): CommandData {
  const none: readonly string[] = [];
  const base = {
    flags: none,
    categories: none,
    tips: none,
    keySpecs: [],
    subcommands: [],
    group: "connection",
  };
  return { name, arity, since, summary, ...base, ...more };
}

const SESSION_FLAGS = { flags: ["noscript", "loading", "stale"], categories: ["slow", "connection"] };

/** A word of DEBUG that takes one key, so that it is asked of the server that holds it. */
function keyedDebug(word: string, summary: string): CommandData {
  return extra(`debug|${word}`, 3, "1.0.0", summary, {
    flags: ["admin", "noscript", "loading", "stale"],
    categories: ["admin", "slow", "dangerous"],
    group: "server",
    keySpecs: [{ flags: ["RO"], begin: { index: 2 }, find: { lastKey: 0, keyStep: 1, limit: 0 } }],
  });
}

/**
 * Commands of newer servers that clients send to every server, and that must get the right kind of answer.
 */
export const EXTRA_COMMANDS: readonly CommandData[] = [
  extra("waitaof", 4, "7.2.0", "Waits until writes are in the append-only files", {
    flags: ["noscript", "blocking"],
    categories: ["slow", "blocking", "connection"],
    tips: ["request_policy:all_shards", "response_policy:agg_min"],
    group: "generic",
  }),
];

/** By container. DEBUG has no subcommands in Redis's table, but some of its words take a key. */
export const EXTRA_SUBCOMMANDS: Readonly<Record<string, readonly CommandData[]>> = {
  client: [
    extra(
      "client|no-touch",
      3,
      "7.2.0",
      "Says whether this client's commands touch the keys' ages",
      SESSION_FLAGS,
    ),
    extra(
      "client|setinfo",
      4,
      "7.2.0",
      "Sets the name or the version of the client's library",
      SESSION_FLAGS,
    ),
  ],
  debug: [
    {
      ...keyedDebug("digest-value", "Shows a digest of keys' values"),
      arity: -3,
      keySpecs: [{ flags: ["RO"], begin: { index: 2 }, find: { lastKey: -1, keyStep: 1, limit: 0 } }],
    },
    keyedDebug("htstats-key", "Shows the hash table behind a key"),
    keyedDebug("listpack", "Shows the listpack behind a key"),
    keyedDebug("object", "Shows how a key's value is kept"),
    keyedDebug("quicklist", "Shows the quicklist behind a key"),
    keyedDebug("sdslen", "Shows the lengths of a key and its value"),
    keyedDebug("ziplist", "Shows the listpack behind a key"),
  ],
};
