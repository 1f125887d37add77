/** Commands for all groups: sent to every primary, merged by the table's word, or in a way of their own. */
import * as c from "../../commands/command.ts";
import { array, bulk, integer, nullReply } from "../../resp/reply-writer.ts";
import type { DataPlane } from "../data-plane.ts";
import { askEveryGroup, type FanOut } from "./ask-groups.ts";
import { argument, type Call } from "./call.ts";
import { FLEET_COMMANDS } from "./fleet-commands.ts";
import { askInWords, Gather, type Merge } from "./gather.ts";
import { info } from "./info-command.ts";
import { mergeOf, valueOf } from "./merges.ts";
import { scan } from "./scan-command.ts";

const SPECIAL: Readonly<Record<number, FanOut>> = {
  [c.MERGE_SCAN]: scan,
  [c.MERGE_RANDOM_KEY]: randomKey,
  [c.MERGE_INFO]: info,
};

export function fanOut(plane: DataPlane, call: Call): boolean {
  if (waitsForAll(call.command) && plane.holding.enterAny(call.session, call.session.lane.groups))
    return false;
  const twice = plane.moving.active ? plane.moving.wholeKeyspace.take(call) : null;
  if (twice !== null) return twice;
  const special = FLEET_COMMANDS.get(call.command.name) ?? SPECIAL[call.command.merge];
  if (special !== undefined) return special(plane, call);
  if (call.command.name === "script|load") {
    plane.scripts.remember(call.bytes, call.request.argStart[2], call.request.argEnd[2]);
  } else if (call.command.name === "script|flush") plane.forgetScripts();
  const exists = call.command.name === "script|exists";
  askEveryGroup(plane, call, exists ? knownScripts(plane, call) : mergeOf(call.command));
  return true;
}

/**
 * Whether it waits for groups that are lost: what is about keys and scripts does. INFO, CONFIG and the like
 * answer at once, because clients ask them on connecting; SCAN needs one group; what ends a script can't
 * wait.
 */
function waitsForAll({ name, merge, flags, group }: c.Command): boolean {
  if (merge === c.MERGE_SCAN || name.endsWith("|kill")) return false;
  return (flags & (c.FLAG_WRITE | c.FLAG_READONLY)) !== 0 || group === "scripting";
}

/**
 * SCRIPT EXISTS: a script that every group has; or that one has and the proxy can show to the others. One
 * that no group has was flushed, whatever the proxy remembers.
 */
function knownScripts(plane: DataPlane, call: Call): Merge {
  const shas = Array.from({ length: call.request.argc - 2 }, (_, i) => argument(call, i + 2).toLowerCase());
  return (gather) => {
    const error = gather.errorText(false);
    if (error !== null) return error;
    const groups = gather.parts.map((part) => valueOf(part) as number[]);
    return array(
      shas.map((sha, i) => {
        const having = groups.filter((flags) => flags[i] === 1).length;
        if (having === groups.length) return integer(1);
        if (having === 0 || plane.scripts.textOf(sha) === null) return integer(0);
        // Whoever calls it next at a group that has not got it shows it again.
        plane.slots.forEachUpstream((upstream) => upstream.scripts.delete(sha));
        return integer(1);
      }),
    );
  };
}

/**
 * A key of a group that is drawn with the weight of its number of keys, so that each key has the same
 * chance.
 */
function randomKey(plane: DataPlane, call: Call): boolean {
  const { session, command } = call;
  const { protocol } = session.lane;
  const gather = new Gather(plane, session, command, ({ parts }) => {
    const error = gather.errorText(false);
    if (error !== null) return error;
    const groups = [];
    for (let i = 0; i < parts.length; i += 2) {
      const key = valueOf(parts[i]) as string | null;
      if (key !== null) groups.push({ key, weight: Math.max(1, valueOf(parts[i + 1]) as number) });
    }
    let draw = plane.env.random.fraction() * groups.reduce((sum, group) => sum + group.weight, 0);
    for (const group of groups) if ((draw -= group.weight) < 0) return bulk(group.key);
    return groups.length === 0 ? nullReply(protocol) : bulk(groups[0].key);
  });
  askInWords(gather, session.lane.groups, ["*1\r\n$9\r\nRANDOMKEY\r\n", "*1\r\n$6\r\nDBSIZE\r\n"]);
  return true;
}
