/**
 * Commands with many keys whose meaning survives a cut by server: MGET, MSET, DEL, UNLINK, EXISTS, TOUCH.
 *
 *   MGET a b c d ─▶ g1: MGET a c        reply in the order of the request's keys
 *                   g2: MGET b d
 *
 * Keys of several slots on one server stay together: one request per server, not per slot. When all are on
 * one server the request goes there as it is. The pieces are copied from the request's own bytes, straight
 * into the output queues.
 */
import * as c from "../../commands/command.ts";
import type { KeyPositions } from "../../commands/key-positions.ts";
import { slotOf } from "../../routing/slot-of.ts";
import type { DataPlane } from "../data-plane.ts";
import type { Upstream } from "../upstream/upstream.ts";
import type { Call } from "./call.ts";
import { Gather } from "./gather.ts";
import { mergeByKey, mergeOf } from "./merges.ts";

/** Cuts the call by server. `keys`: the argument indexes of its keys, all of them every `step` arguments. */
export function split(plane: DataPlane, call: Call, keys: KeyPositions): true {
  const { session, command, request, bytes } = call;
  const { bySlot } = session.lane;
  const targets: Upstream[] = [];
  const counts: number[] = [];
  const targetOfKey = new Uint16Array(keys.count);
  for (let i = 0; i < keys.count; i++) {
    const index = keys.at[i];
    const upstream = bySlot[slotOf(bytes, request.argStart[index], request.argEnd[index], plane.slots.mask)];
    let target = targets.indexOf(upstream);
    if (target < 0) target = targets.push(upstream) - 1;
    targetOfKey[i] = target;
    counts[target] = (counts[target] ?? 0) + 1;
  }
  if (targets.length === 1) return plane.dispatcher.sendTo(call, targets[0]) as true;
  plane.counters.splitRequests++;
  const merge = command.merge === c.MERGE_BY_KEY ? mergeByKey(targetOfKey) : mergeOf(command);
  const gather = new Gather(plane, session, command, merge);
  const step = keys.count > 1 ? keys.at[1] - keys.at[0] : 1;
  const usable = targets.map((upstream, target) => {
    if (!gather.begin(upstream)) return false;
    upstream.output.appendLatin1(`*${counts[target] * step + 1}\r\n`);
    upstream.output.append(bytes, headerStart(call, 0), request.argEnd[0] + 2);
    return true;
  });
  // Neighbours that go to the same server are copied together: a copy costs the same for one key as for five.
  for (let i = 0, next = 0; i < keys.count; i = next) {
    const target = targetOfKey[i];
    for (next = i + 1; next < keys.count && targetOfKey[next] === target;) next++;
    if (!usable[target]) continue;
    const end = request.argEnd[keys.at[next - 1] + step - 1] + 2;
    targets[target].output.append(bytes, headerStart(call, keys.at[i]), end);
  }
  for (const upstream of targets) upstream.flushSoon();
  gather.seal();
  return true;
}

/**
 * Where the "$n" of argument `index` begins: behind the argument before it, or behind the request's own
 * header. As in Redis and in the scanner, the byte behind a header's CR is skipped whatever it is: looking
 * for a LF would find a later one.
 */
function headerStart(call: Call, index: number): number {
  const { request, bytes, start } = call;
  return index > 0 ? request.argEnd[index - 1] + 2 : bytes.indexOf(13, start) + 2;
}
