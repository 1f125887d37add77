/**
 * A command as plain data: the shape that the generated table holds, that a COMMAND INFO reply is turned
 * into, and that `buildCommand` makes a `Command` from. Texts are as Redis writes them, so that this shape
 * has no opinion.
 */

/** Where the search for keys begins: at an index, after a keyword, or nobody knows (`null`). */
export type BeginSearch =
  | { readonly index: number }
  | { readonly keyword: string; readonly startFrom: number }
  | null;

/** How the keys follow from there: a range, a number and then so many keys, or nobody knows (`null`). */
export type FindKeys =
  | { readonly lastKey: number; readonly keyStep: number; readonly limit: number }
  | { readonly keyNumIndex: number; readonly firstKey: number; readonly keyStep: number }
  | null;

/** One key specification; see https://redis.io/docs/latest/develop/reference/key-specs/ */
export interface KeySpecData {
  /** As Redis writes them: RO RW OW RM access update insert delete not_key incomplete variable_flags. */
  readonly flags: readonly string[];
  readonly begin: BeginSearch;
  readonly find: FindKeys;
}

/** Everything that is known of one command or subcommand. */
export interface CommandData {
  /** Lower case; a subcommand has its container in front: "client|id". */
  readonly name: string;
  /** As Redis counts: the exact number of arguments with the name, or minus the least number. */
  readonly arity: number;
  /** Command flags, lower case ("write", "no_auth"). */
  readonly flags: readonly string[];
  /** ACL categories without the "@". */
  readonly categories: readonly string[];
  /** Command tips ("request_policy:all_shards", "nondeterministic_output"). */
  readonly tips: readonly string[];
  readonly keySpecs: readonly KeySpecData[];
  readonly subcommands: readonly CommandData[];
  /** The version that brought it ("1.0.0"), "" when unknown. */
  readonly since: string;
  /** Family in Redis's documentation ("string", "sorted-set", "server"), "" when unknown. */
  readonly group: string;
  readonly summary: string;
  /** The version from which Redis advises against it. */
  readonly deprecatedSince?: string;
  /** True where words that are not listed as subcommands are arguments all the same (DEBUG). */
  readonly openSubcommands?: boolean;
}
