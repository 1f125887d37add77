/** Commands for all groups: sent to every primary, merged by the table's word, or in a way of their own. */
import * as c from "../../commands/command.ts";
import { bulk, nullReply } from "../../resp/reply-writer.ts";
import type { DataPlane } from "../data-plane.ts";
import type { Call } from "./call.ts";
import { askInWords, Gather, type Merge } from "./gather.ts";
import { info } from "./info-command.ts";
import { mergeOf, valueOf } from "./merges.ts";
import { scan } from "./scan-command.ts";

type FanOut = (plane: DataPlane, call: Call) => boolean;

const SPECIAL: Readonly<Record<number, FanOut>> = {
  [c.MERGE_SCAN]: scan,
  [c.MERGE_RANDOM_KEY]: randomKey,
  [c.MERGE_INFO]: info,
};

export function fanOut(plane: DataPlane, call: Call): boolean {
  const special = SPECIAL[call.command.merge];
  if (special !== undefined) return special(plane, call);
  askEveryGroup(plane, call, mergeOf(call.command));
  return true;
}

/** Sends the request as it is to every group. */
function askEveryGroup(plane: DataPlane, call: Call, merge: Merge): void {
  const { session, bytes, start, end } = call;
  const gather = new Gather(plane, session, call.command, merge);
  for (const upstream of session.lane.groups) {
    if (!gather.begin(upstream)) continue;
    upstream.output.append(bytes, start, end);
    upstream.flushSoon();
  }
  gather.seal();
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
