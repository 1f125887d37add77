/**
 * The commands that are about the servers and not about keys, by name: how one answer is made for all groups.
 *
 *   FLEET_COMMANDS           route "all groups", with a merge that the command table has no word for
 *   FLEET_SESSION_COMMANDS   route "proxy": answered, or sent on, by a function of this folder
 *
 * Whatever is not here but goes to all groups (SCRIPT FLUSH, FUNCTION LOAD, LATENCY's and SLOWLOG's RESET …)
 * is merged by the table's word. An error of one group is the answer; if other groups have done it by then,
 * the error says which.
 */
import { array, bulk, integer } from "../../resp/reply-writer.ts";
import type { DataPlane } from "../data-plane.ts";
import { type FanOut, merged } from "./ask-groups.ts";
import { answer, type Call } from "./call.ts";
import type { SessionCommand } from "./client-commands.ts";
import { configGet, configSet } from "./config-commands.ts";
import { debug } from "./debug-command.ts";
import { functionStats, killScripts, mergeFullest } from "./function-commands.ts";
import { mergeHistogram, mergeHistory, mergeLatest, mergeTexts, resetLatency } from "./latency-merge.ts";
import { mergeMemoryStats } from "./memory-merge.ts";
import { migrate } from "./migrate-command.ts";
import { monitor } from "./monitor.ts";
import { clientPause, clientUnpause } from "./pause.ts";
import { mergeSlowlog, slowlogLength } from "./slowlog-merge.ts";
import { wait } from "./wait-command.ts";

export const FLEET_COMMANDS: ReadonlyMap<string, FanOut> = new Map<string, FanOut>([
  ["config|get", configGet],
  ["config|set", configSet],
  ["function|dump", merged(() => mergeFullest)],
  ["function|kill", killScripts],
  ["function|list", merged(() => mergeFullest)],
  ["function|stats", functionStats],
  ["latency|doctor", merged(() => mergeTexts)],
  ["latency|graph", merged(() => mergeTexts)],
  ["latency|histogram", merged(() => mergeHistogram)],
  ["latency|history", merged(() => mergeHistory)],
  ["latency|latest", merged(() => mergeLatest)],
  ["latency|reset", resetLatency],
  ["memory|doctor", merged(() => mergeTexts)],
  ["memory|malloc-stats", merged(() => mergeTexts)],
  ["memory|stats", merged(() => mergeMemoryStats)],
  ["script|kill", killScripts],
  ["slowlog|get", merged(mergeSlowlog)],
  ["slowlog|len", slowlogLength],
  ["wait", wait],
  ["waitaof", wait],
]);

/** A primary without replicas: they are the cluster's own affair, and no client may go to them. */
function role(_plane: DataPlane, call: Call): boolean {
  return answer(call, array([bulk("master"), integer(0), array([])]));
}

export const FLEET_SESSION_COMMANDS: readonly (readonly [string, SessionCommand])[] = [
  ["client|pause", clientPause],
  ["client|unpause", clientUnpause],
  ["debug", debug],
  ["debug|digest-value", debug],
  ["debug|htstats-key", debug],
  ["debug|listpack", debug],
  ["debug|object", debug],
  ["debug|quicklist", debug],
  ["debug|sdslen", debug],
  ["debug|ziplist", debug],
  ["migrate", migrate],
  ["monitor", monitor],
  ["role", role],
];
