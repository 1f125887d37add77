/**
 * One command as the data path sees it, and the numbers its fields are made of.
 *
 *   request bytes ─▶ lookupCommand ─▶ Command ─▶ route? ─▶ findKeys ─▶ slot ─▶ group
 *                    (command-lookup)   │                  (key-finder)
 *                                       └─ flags, merge, note: what the dispatcher decides by
 *
 * Invariants: every `Command` is made by `buildCommand`, so all have one shape; a `Command` never changes;
 * ids are dense, so that per-command counters are arrays. Numbers instead of strings where the hot path
 * compares.
 */
import type { CommandTable } from "./command-table.ts";

/** Command flags, one bit each, named as Redis names them. */
export const FLAG_WRITE = 1 << 0;
export const FLAG_READONLY = 1 << 1;
export const FLAG_DENYOOM = 1 << 2;
export const FLAG_ADMIN = 1 << 3;
export const FLAG_PUBSUB = 1 << 4;
export const FLAG_NOSCRIPT = 1 << 5;
export const FLAG_BLOCKING = 1 << 6;
export const FLAG_FAST = 1 << 7;
export const FLAG_NO_AUTH = 1 << 8;
export const FLAG_MOVABLEKEYS = 1 << 9;
export const FLAG_NO_MULTI = 1 << 10;
export const FLAG_LOADING = 1 << 11;
export const FLAG_STALE = 1 << 12;
export const FLAG_SKIP_MONITOR = 1 << 13;
export const FLAG_SKIP_SLOWLOG = 1 << 14;
/** May be called without a key (EVAL … 0); see `ROUTE_HOME_GROUP`. */
export const FLAG_NO_MANDATORY_KEYS = 1 << 15;
export const FLAG_ALLOW_BUSY = 1 << 16;
export const FLAG_NO_ASYNC_LOADING = 1 << 17;
export const FLAG_ASKING = 1 << 18;
export const FLAG_MODULE = 1 << 19;
/** Ours: has subcommands, and a word that is not one of them is an error ("unknown subcommand"). */
export const FLAG_CONTAINER = 1 << 20;

/** Redis's flag words and their bits. Words that are not here say nothing that the proxy decides by. */
export const FLAG_BITS: ReadonlyMap<string, number> = new Map([
  ["write", FLAG_WRITE],
  ["readonly", FLAG_READONLY],
  ["denyoom", FLAG_DENYOOM],
  ["admin", FLAG_ADMIN],
  ["pubsub", FLAG_PUBSUB],
  ["noscript", FLAG_NOSCRIPT],
  ["blocking", FLAG_BLOCKING],
  ["fast", FLAG_FAST],
  ["no_auth", FLAG_NO_AUTH],
  ["movablekeys", FLAG_MOVABLEKEYS],
  ["no_multi", FLAG_NO_MULTI],
  ["loading", FLAG_LOADING],
  ["stale", FLAG_STALE],
  ["skip_monitor", FLAG_SKIP_MONITOR],
  ["skip_slowlog", FLAG_SKIP_SLOWLOG],
  ["no_mandatory_keys", FLAG_NO_MANDATORY_KEYS],
  ["allow_busy", FLAG_ALLOW_BUSY],
  ["no_async_loading", FLAG_NO_ASYNC_LOADING],
  ["asking", FLAG_ASKING],
  ["module", FLAG_MODULE],
]);

/** The keys decide, and all of them must be in one slot. When there is none, see `keylessRoute`. */
export const ROUTE_KEY = 0;
/** As ROUTE_KEY, but with keys of several slots it is cut by server and the replies are merged: `merge`. */
export const ROUTE_SPLIT = 1;
/** Sent to the primary of every group; the replies are merged: `merge`. */
export const ROUTE_ALL_GROUPS = 2;
/** Every server would answer the same: sent to any. */
export const ROUTE_ANY_GROUP = 3;
/** No key but an effect that must always land at the same place: the one group the cluster names for it. */
export const ROUTE_HOME_GROUP = 4;
/** Answered by the proxy itself, which keeps the session. */
export const ROUTE_PROXY = 5;
/** Known, but the proxy cannot do it yet: `refusalText`. */
export const ROUTE_LATER = 6;
/** Has no meaning, or does harm, through a proxy: `refusalText`. */
export const ROUTE_REFUSED = 7;

/** For documentation and metrics: the routes' names by number. */
export const ROUTE_NAMES: readonly string[] = [
  "key",
  "split",
  "all-groups",
  "any-group",
  "home-group",
  "proxy",
  "later",
  "refused",
];

/** Nothing to merge: one server answers. */
export const MERGE_NONE = 0;
/** First error if there is one, else the first reply. */
export const MERGE_ALL_SUCCEEDED = 1;
/** First reply that is not an error, else the first error. */
export const MERGE_ONE_SUCCEEDED = 2;
/** Integers added up (DEL, DBSIZE); an error of any group is the answer. */
export const MERGE_SUM = 3;
/** The least of the integers (WAIT). */
export const MERGE_MIN = 4;
export const MERGE_MAX = 5;
/** Element by element where the replies are arrays (SCRIPT EXISTS). */
export const MERGE_LOGICAL_AND = 6;
export const MERGE_LOGICAL_OR = 7;
/** Arrays set end to end, in the order of the groups (KEYS). */
export const MERGE_CONCAT = 8;
/** One element for each key, in the order of the request's keys (MGET). */
export const MERGE_BY_KEY = 9;
/** One group at a time; the cursor carries the group. */
export const MERGE_SCAN = 10;
/** One group's reply, chosen at random among those that are not nil. */
export const MERGE_RANDOM_KEY = 11;
/** The proxy's own sections and sums over the groups. */
export const MERGE_INFO = 12;
/** Redis says "special" and nobody has said here what that is: not to be fanned out. */
export const MERGE_UNKNOWN = 13;
/** In a way of the command's own, which the data plane knows by its name (SLOWLOG GET). */
export const MERGE_OWN = 14;

/** Flags of one key: what the command does with it. */
export const KEY_RO = 1 << 0;
export const KEY_RW = 1 << 1;
export const KEY_OW = 1 << 2;
export const KEY_RM = 1 << 3;
export const KEY_ACCESS = 1 << 4;
export const KEY_UPDATE = 1 << 5;
export const KEY_INSERT = 1 << 6;
export const KEY_DELETE = 1 << 7;
/** Looks like a key but is none (the channel of SPUBLISH): not found by `findKeys`. */
export const KEY_NOT_KEY = 1 << 8;
/** The specification may miss keys: a finder of our own is needed. */
export const KEY_INCOMPLETE = 1 << 9;
export const KEY_VARIABLE_FLAGS = 1 << 10;

/** Redis's words for these. */
export const KEY_FLAG_BITS: ReadonlyMap<string, number> = new Map([
  ["RO", KEY_RO],
  ["RW", KEY_RW],
  ["OW", KEY_OW],
  ["RM", KEY_RM],
  ["access", KEY_ACCESS],
  ["update", KEY_UPDATE],
  ["insert", KEY_INSERT],
  ["delete", KEY_DELETE],
  ["not_key", KEY_NOT_KEY],
  ["incomplete", KEY_INCOMPLETE],
  ["variable_flags", KEY_VARIABLE_FLAGS],
]);

/** Where a key specification begins to look: nobody knows, an argument index, behind a keyword. */
export const BEGIN_UNKNOWN = 0;
export const BEGIN_INDEX = 1;
export const BEGIN_KEYWORD = 2;
/** How the keys follow: nobody knows, first to last, a number of keys and then the keys. */
export const FIND_UNKNOWN = 0;
export const FIND_RANGE = 1;
export const FIND_KEYNUM = 2;

/** One key specification in numbers; fields that its types don't use are 0. */
export interface KeySpec {
  /** KEY_* bits. */
  readonly flags: number;
  /** BEGIN_* */
  readonly begin: number;
  /** BEGIN_INDEX: argument index. BEGIN_KEYWORD: index where the search starts, negative from the end. */
  readonly beginIndex: number;
  /** BEGIN_KEYWORD: the word, lower case. */
  readonly keyword: Uint8Array;
  /** FIND_* */
  readonly find: number;
  /** FIND_RANGE: relative to the first key; negative: relative to the end of the request. */
  readonly lastKey: number;
  /** FIND_RANGE with lastKey -1: only the first 1/limit of the rest are keys; 0 and 1: no limit. */
  readonly limit: number;
  /** Distance from one key to the next. */
  readonly keyStep: number;
  /** FIND_KEYNUM: where the number stands, relative to the beginning. */
  readonly keyNumIndex: number;
  /** FIND_KEYNUM: where the first key stands, relative to the beginning. */
  readonly firstKey: number;
}

/** Keys follow from the key specifications. */
export const FINDER_SPECS = 0;
/** The specifications don't say it all and nothing here knows better: only the server can tell. */
export const FINDER_UNKNOWN = 1;
/** The rest are walks over the options of a command, in `special-key-finders.ts`. */
export const FINDER_SORT = 2;
export const FINDER_XREAD = 3;
export const FINDER_GEORADIUS = 4;
export const FINDER_MIGRATE = 5;

/** A command or a subcommand. */
export interface Command {
  /** Lower case; a subcommand has its container in front: "client|id". */
  readonly name: string;
  /** Dense from 0 over commands and subcommands together. */
  readonly id: number;
  /** As Redis: exact, or minus the least; counts the name, and for a subcommand its container too. */
  readonly arity: number;
  /** FLAG_* bits. Scripts have neither WRITE nor READONLY: only READONLY says that nothing is written. */
  readonly flags: number;
  /** ROUTE_* */
  readonly route: number;
  /** MERGE_*: how the replies of several servers become one. */
  readonly merge: number;
  /**
   * Index of the key where every call has exactly one and always there (GET 1, OBJECT ENCODING 2); else 0.
   */
  readonly firstKey: number;
  readonly keySpecs: readonly KeySpec[];
  /** FINDER_* */
  readonly finder: number;
  /** "all_nodes", "all_shards", "multi_shard", "special", or "" for Redis's default. */
  readonly requestPolicy: string;
  /** "all_succeeded", "agg_sum" …, or "" for Redis's default. */
  readonly responsePolicy: string;
  readonly subcommands: CommandTable | null;
  /** ACL categories without the "@". */
  readonly categories: readonly string[];
  readonly group: string;
  readonly since: string;
  readonly summary: string;
  /** ROUTE_LATER: the family it waits for. ROUTE_REFUSED: why. Else "". */
  readonly note: string;
}

/** Whether a request of `argc` arguments has as many as the command wants. */
export function arityFits(command: Command, argc: number): boolean {
  return command.arity >= 0 ? argc === command.arity : argc >= -command.arity;
}

/**
 * Where a ROUTE_KEY or ROUTE_SPLIT request goes in which no key was found: a script without keys to the home
 * group, all else (malformed requests, which a server is going to refuse) to any.
 */
export function keylessRoute(command: Command): number {
  return (command.flags & FLAG_NO_MANDATORY_KEYS) !== 0 ? ROUTE_HOME_GROUP : ROUTE_ANY_GROUP;
}

/** The error for a command of ROUTE_LATER or ROUTE_REFUSED, without the "-" in front and the line end. */
export function refusalText(command: Command): string {
  return command.route === ROUTE_LATER
    ? `ERR Command '${command.name}' is not supported by the proxy yet: ${command.note}`
    : `ERR Command '${command.name}' is refused by the proxy: ${command.note}`;
}
