/**
 * CONFIG GET and SET through the proxy: about the servers, except for what is the proxy's own.
 *
 * GET asks one group. What a client would otherwise learn or take amiss (the servers' passwords, their port)
 * is replaced by the proxy's. SET goes to every group, but not for what would cut the servers off from the
 * proxies and the controller: that may only be set to what GET shows, as tools do that write back all they
 * have read.
 */
import { bulk, errorReply, map, OK } from "../../resp/reply-writer.ts";
import { readLatin1 } from "../../base/bytes.ts";
import type { DataPlane } from "../data-plane.ts";
import { askEveryGroup, requestOf } from "./ask-groups.ts";
import type { Upstream } from "../upstream/upstream.ts";
import { argument, type Call, fail, parseInteger } from "./call.ts";
import { pairsOf } from "./fleet-values.ts";
import { askInWords, Gather, type Part } from "./gather.ts";
import { mergeOf, valueOf } from "./merges.ts";

/** How clients, proxies and controller reach and trust the servers. */
const NOT_TO_BE_SET = new Set([
  "bind",
  "bind-source-addr",
  "masterauth",
  "masteruser",
  "port",
  "protected-mode",
  "requirepass",
  "tls-port",
]);

/** What is said in place of the servers' values. */
function ownValues(plane: DataPlane): Readonly<Record<string, string>> {
  const { listen, requirepass } = plane.config;
  return { port: listen.slice(listen.lastIndexOf(":") + 1), requirepass, masterauth: "", masteruser: "" };
}

/** CONFIG GET pattern …: the first group that is there. */
export function configGet(plane: DataPlane, call: Call): boolean {
  const { session, command, bytes, start, end } = call;
  const gather = new Gather(plane, session, command, ({ parts }) => {
    if (parts[0].error !== null) return errorReply(parts[0].error);
    const pairs = shownSettings(plane, parts[0]).map(([name, value]) => [bulk(name), bulk(value)] as const);
    return map(session.lane.protocol, pairs);
  });
  askInWords(gather, [anyGroup(call)], [readLatin1(bytes, start, end)]);
  return true;
}

/** A reply to CONFIG GET as clients are shown it. */
function shownSettings(plane: DataPlane, part: Part): (readonly [string, string])[] {
  const own = ownValues(plane);
  return pairsOf(valueOf(part)).map(([name, value]) => [
    name,
    Object.hasOwn(own, name) ? own[name] : String(value),
  ]);
}

function anyGroup(call: Call): Upstream {
  const { groups } = call.session.lane;
  return groups.find((each) => each.state === "ready") ?? groups.find((each) => each.prepare()) ?? groups[0];
}

/** CONFIG SET name value …: every group, or none. */
export function configSet(plane: DataPlane, call: Call): boolean {
  const text = protectedSetting(call);
  if (text !== null) return setAsShown(plane, call, text);
  const trackedKeys = newTrackedKeys(call);
  const merge = mergeOf(call.command);
  if (trackedKeys === null) return askEveryGroup(plane, call, merge);
  return askEveryGroup(plane, call, (gather) => {
    if (gather.failed === null) {
      // The table that clients are told from is the workers', and theirs is as long as a server's.
      plane.tracking.limitKeys(trackedKeys);
      if (plane.peers.any) void plane.peers.ask({ kind: "tracked-keys", max: trackedKeys });
    }
    return merge(gather);
  });
}

function newTrackedKeys(call: Call): number | null {
  for (let i = 2; i + 1 < call.request.argc; i += 2) {
    if (argument(call, i).toLowerCase() !== "tracking-table-max-keys") continue;
    const count = parseInteger(argument(call, i + 1));
    return count === null ? null : Number(count);
  }
  return null;
}

/** CONFIG SET of what is not to be set: fine as long as it changes nothing. */
function setAsShown(plane: DataPlane, call: Call, error: string): boolean {
  const { session, command, request } = call;
  const wanted = new Map<string, string>();
  for (let i = 2; i + 1 < request.argc; i += 2)
    wanted.set(argument(call, i).toLowerCase(), argument(call, i + 1));
  // Among others that do change it would have to be taken out of the call.
  if (request.argc % 2 !== 0 || [...wanted.keys()].some((name) => !NOT_TO_BE_SET.has(name)))
    return fail(session, error);
  const gather = new Gather(plane, session, command, ({ parts }) => {
    if (parts[0].error !== null) return errorReply(parts[0].error);
    const shown = new Map(shownSettings(plane, parts[0]));
    return [...wanted].every(([name, value]) => shown.get(name) === value) ? OK : errorReply(error);
  });
  askInWords(gather, [anyGroup(call)], [requestOf("CONFIG", "GET", ...wanted.keys())]);
  return true;
}

/**
 * The error for a CONFIG SET of what is not to be set through the proxy; null when there is nothing of it.
 */
export function protectedSetting(call: Call): string | null {
  for (let i = 2; i < call.request.argc; i += 2) {
    const name = argument(call, i);
    if (!NOT_TO_BE_SET.has(name.toLowerCase())) continue;
    const why = "it belongs to each server's own configuration and to the proxy's";
    return `ERR CONFIG SET failed (possibly related to argument '${name}') - ${why}`;
  }
  return null;
}
