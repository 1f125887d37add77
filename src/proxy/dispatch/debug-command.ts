/**
 * DEBUG through the proxy: off unless `enable_debug` says otherwise, because it can stop a server for
 * everybody. The servers have a switch of their own (enable-debug-command), which must be on too.
 *
 *   a word with a key (OBJECT …) ─▶ the key's group
 *   a word that ends a server    ─▶ refused
 *   DIGEST, POPULATE, REPLICATE  ─▶ refused, unless there is one group
 *   all other words              ─▶ every group
 */
import { refusalText } from "../../commands/command.ts";
import type { DataPlane } from "../data-plane.ts";
import { askEveryGroup, merged } from "./ask-groups.ts";
import { argument, type Call, fail } from "./call.ts";
import { locate, PROBLEM, SLOT_ANY } from "./locate.ts";
import { mergeTexts } from "./latency-merge.ts";
import { mergeOf } from "./merges.ts";

const ENDS_THE_SERVER = new Set([
  "assert",
  "crash-and-recover",
  "leak",
  "oom",
  "panic",
  "restart",
  "segfault",
  "sigalrm",
]);
/** Writes that pass by the slots: keys would come to be where nobody looks for them. */
const PASSES_THE_SLOTS = new Set(["populate", "replicate"]);
/** Answered by text for people, per group. */
const TEXTS = new Set(["htstats", "mallctl", "mallctl-str"]);

/** DEBUG word …; words with a key come as subcommands ("debug|object"). */
export function debug(plane: DataPlane, call: Call): boolean {
  const { session, command } = call;
  if (!plane.config.enable_debug) return fail(session, DISABLED);
  // Inside EXEC's reply there is no place for an answer that comes later.
  if (session.capture !== null) return fail(session, "ERR Command not allowed inside a transaction");
  if (command.keySpecs.length > 0) return byKey(plane, call);
  const word = argument(call, 1).toLowerCase();
  const name = `debug|${word}`;
  if (ENDS_THE_SERVER.has(word)) return fail(session, refusalText({ ...command, name, note: LIFE }));
  if (PASSES_THE_SLOTS.has(word) && session.lane.groups.length > 1) {
    return fail(session, refusalText({ ...command, name, note: STRAYS }));
  }
  if (word === "digest") {
    if (session.lane.groups.length === 1) return plane.dispatcher.sendTo(call, session.lane.groups[0]);
    return fail(
      session,
      refusalText({ ...command, name, note: "groups' digests make no digest of the whole" }),
    );
  }
  if (word === "help") return plane.dispatcher.sendTo(call, session.lane.groups[0]);
  if (TEXTS.has(word)) return merged(() => mergeTexts)(plane, call);
  return askEveryGroup(plane, call, mergeOf(command));
}

const DISABLED =
  "ERR DEBUG command not allowed. Set enable_debug = true in the proxy's configuration, " +
  "and enable-debug-command in the servers'";
const STRAYS = "it writes keys without regard to their slots";
const LIFE = "it would end the servers";

function byKey(plane: DataPlane, call: Call): boolean {
  const { session } = call;
  const place = locate(plane, call);
  if (place.slot === PROBLEM) return fail(session, place.error);
  const upstream = place.slot === SLOT_ANY ? session.lane.groups[0] : session.lane.homes[place.slot];
  return plane.dispatcher.sendTo(call, upstream);
}
