/**
 * From plain data (the generated table, or a server's COMMAND INFO) to a `Command`: bits instead of words,
 * and the decision which way the command goes. Both sources come through here, so a command that was learned
 * from a server while running is routed by the same rules as one of the table.
 *
 *   route = override by name
 *         ▸ "…|help": any group
 *         ▸ has keys: by key (keys that cannot be found: later)
 *         ▸ override of the container
 *         ▸ policy all_shards or all_nodes whose replies can be merged: all groups
 *         ▸ container: any group, whose server knows how to say "unknown subcommand"
 *         ▸ else later: without key and policy nothing tells where it would be right
 */
import { keywordBytes } from "./argument-view.ts";
import type { CommandData, KeySpecData } from "./command-data.ts";
import { OVERRIDES, type Override } from "./command-overrides.ts";
import { CommandTable } from "./command-table.ts";
import * as c from "./command.ts";

const NO_KEYWORD = new Uint8Array(0);

/**
 * Redis's response policies; "" is the default, which for a command without keys sets the replies end to end.
 */
const MERGE_BY_POLICY: ReadonlyMap<string, number> = new Map([
  ["", c.MERGE_CONCAT],
  ["all_succeeded", c.MERGE_ALL_SUCCEEDED],
  ["one_succeeded", c.MERGE_ONE_SUCCEEDED],
  ["agg_sum", c.MERGE_SUM],
  ["agg_min", c.MERGE_MIN],
  ["agg_max", c.MERGE_MAX],
  ["agg_logical_and", c.MERGE_LOGICAL_AND],
  ["agg_logical_or", c.MERGE_LOGICAL_OR],
]);

/** Hands out the next free id at each call. */
export type NextId = () => number;

/**
 * Builds a command and its subcommands; each takes an id, the container first.
 *
 * @param data what the table or a server says of it; a subcommand alone ("client|id") is right too
 * @param nextId where the ids come from
 */
export function buildCommand(data: CommandData, nextId: NextId): c.Command {
  const id = nextId();
  const keySpecs = data.keySpecs.map(buildKeySpec);
  const override = OVERRIDES[data.name];
  const finder = override?.finder ?? finderOf(keySpecs);
  const responsePolicy = tipValue(data.tips, "response_policy:");
  const requestPolicy = tipValue(data.tips, "request_policy:");
  const merge = override?.merge ?? MERGE_BY_POLICY.get(responsePolicy) ?? c.MERGE_UNKNOWN;
  const chosen = override?.route === undefined ? chooseRoute(data, finder, merge) : override;
  const route = chosen.route as number;
  const subcommands = data.subcommands.map((subcommand) => buildCommand(subcommand, nextId));
  return {
    name: data.name,
    id,
    arity: data.arity,
    flags: flagsOf(data),
    route,
    merge: route === c.ROUTE_SPLIT || route === c.ROUTE_ALL_GROUPS ? merge : c.MERGE_NONE,
    firstKey: onlyKeyOf(data.arity, keySpecs, finder),
    keySpecs,
    finder,
    requestPolicy,
    responsePolicy,
    subcommands: subcommands.length === 0 ? null : new CommandTable(subcommands),
    categories: data.categories,
    group: data.group,
    since: data.since,
    summary: data.summary,
    note: chosen.note ?? "",
  };
}

function chooseRoute(data: CommandData, finder: number, merge: number): Override {
  const bar = data.name.indexOf("|");
  const inherited = bar < 0 ? undefined : OVERRIDES[data.name.slice(0, bar)];
  const refused = inherited?.route === c.ROUTE_REFUSED;
  if (data.name.endsWith("|help") && !refused) return { route: c.ROUTE_ANY_GROUP };
  if (data.keySpecs.some((spec) => !spec.flags.includes("not_key"))) return chooseKeyRoute(finder);
  if (inherited?.route !== undefined) return inherited;
  const policy = tipValue(data.tips, "request_policy:");
  if ((policy === "all_shards" || policy === "all_nodes") && merge !== c.MERGE_UNKNOWN) {
    return { route: c.ROUTE_ALL_GROUPS };
  }
  if (data.subcommands.length > 0) return { route: c.ROUTE_ANY_GROUP };
  return { route: c.ROUTE_LATER, note: "it has neither a key nor a policy that says which server it is for" };
}

/** A wrong server for a key is a wrong answer: a command whose keys are not all known does not run. */
function chooseKeyRoute(finder: number): Override {
  if (finder === c.FINDER_UNKNOWN) {
    return { route: c.ROUTE_LATER, note: "its key specifications do not tell where all of its keys are" };
  }
  return { route: c.ROUTE_KEY };
}

function flagsOf(data: CommandData): number {
  let flags = 0;
  for (const word of data.flags) flags |= c.FLAG_BITS.get(word) ?? 0;
  if (data.subcommands.length > 0 && data.openSubcommands !== true) flags |= c.FLAG_CONTAINER;
  return flags;
}

/** "Incomplete" counts as unknown: half of the keys is not enough to route by. */
function finderOf(keySpecs: readonly c.KeySpec[]): number {
  const unclear = keySpecs.some(
    (spec) =>
      spec.begin === c.BEGIN_UNKNOWN || spec.find === c.FIND_UNKNOWN || (spec.flags & c.KEY_INCOMPLETE) !== 0,
  );
  return unclear ? c.FINDER_UNKNOWN : c.FINDER_SPECS;
}

/** See `Command.firstKey`. The arity must promise the argument, or the hot path would have to check. */
function onlyKeyOf(arity: number, keySpecs: readonly c.KeySpec[], finder: number): number {
  if (finder !== c.FINDER_SPECS || keySpecs.length !== 1) return 0;
  const spec = keySpecs[0];
  const fixed = spec.begin === c.BEGIN_INDEX && spec.find === c.FIND_RANGE && spec.lastKey === 0;
  if (!fixed || (spec.flags & c.KEY_NOT_KEY) !== 0) return 0;
  return Math.abs(arity) > spec.beginIndex ? spec.beginIndex : 0;
}

function buildKeySpec(data: KeySpecData): c.KeySpec {
  let flags = 0;
  for (const word of data.flags) flags |= c.KEY_FLAG_BITS.get(word) ?? 0;
  const { begin, find } = data;
  const keyword = begin !== null && "keyword" in begin ? keywordBytes(begin.keyword) : NO_KEYWORD;
  const range = find !== null && "lastKey" in find ? find : null;
  const keyNum = find !== null && "keyNumIndex" in find ? find : null;
  return {
    flags,
    begin: begin === null ? c.BEGIN_UNKNOWN : "index" in begin ? c.BEGIN_INDEX : c.BEGIN_KEYWORD,
    beginIndex: begin === null ? 0 : "index" in begin ? begin.index : begin.startFrom,
    keyword,
    find: range !== null ? c.FIND_RANGE : keyNum !== null ? c.FIND_KEYNUM : c.FIND_UNKNOWN,
    lastKey: range?.lastKey ?? 0,
    limit: range?.limit ?? 0,
    // A step of 0 would make the key finder's loop endless; no server sends one for a key that exists.
    keyStep: Math.max(1, find?.keyStep ?? 1),
    keyNumIndex: keyNum?.keyNumIndex ?? 0,
    firstKey: keyNum?.firstKey ?? 0,
  };
}

/** The rest of the first tip that begins with `prefix`, or "". */
function tipValue(tips: readonly string[], prefix: string): string {
  return tips.find((tip) => tip.startsWith(prefix))?.slice(prefix.length) ?? "";
}
