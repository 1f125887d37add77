/**
 * CLIENT TRACKING, CACHING, GETREDIR, TRACKINGINFO. Texts and rules are those of Redis 7.0 (networking.c,
 * tracking.c).
 */
import { array, bulk, errorReply, integer, map, OK } from "../../resp/reply-writer.ts";
import type { DataPlane } from "../data-plane.ts";
import { answer, argument, type Call, fail, parseInteger } from "../dispatch/call.ts";
import type { SessionCommand } from "../dispatch/client-commands.ts";
import { HOLD_DRAIN, HOLD_WAIT } from "../downstream/reply-queue.ts";
import type { Session } from "../downstream/session.ts";
import type { Request } from "../request.ts";
import { SessionTracking, TrackingMode } from "./session-tracking.ts";

const WORDS = new Set(["bcast", "optin", "optout", "noloop"]);
const NO_TARGET = "ERR The client ID you want redirect to does not exist";
const REENABLE = "before disabling tracking for this client, and then re-enabling it with a different mode.";

interface Options {
  words: Set<string>;
  redirect: number;
  prefixes: string[];
}

/** The options after ON or OFF; a text is the error. */
function parseOptions(plane: DataPlane, call: Call): Options | string {
  const options: Options = { words: new Set(), redirect: 0, prefixes: [] };
  for (let i = 3; i < call.request.argc; i++) {
    const word = argument(call, i).toLowerCase();
    const more = i + 1 < call.request.argc;
    if (WORDS.has(word)) options.words.add(word);
    else if (word === "prefix" && more) options.prefixes.push(argument(call, ++i));
    else if (word === "redirect" && more) {
      if (options.redirect !== 0) return "ERR A client can only redirect to a single other client";
      const id = parseInteger(argument(call, ++i));
      if (id === null) return "ERR value is not an integer or out of range";
      const known = plane.clients.get(Number(id)) !== undefined || plane.peers.any;
      if (!known) return NO_TARGET;
      options.redirect = Number(id);
    } else return "ERR syntax error";
  }
  return options;
}

/** Why these options can't be; null when they can. */
function conflict(options: Options, current: TrackingMode | null): string | null {
  const { words, prefixes } = options;
  if (prefixes.length > 0 && !words.has("bcast"))
    return "ERR PREFIX option requires BCAST mode to be enabled";
  if (current !== null && current.broadcast !== words.has("bcast"))
    return `ERR You can't switch BCAST mode on/off ${REENABLE}`;
  if (words.has("bcast") && (words.has("optin") || words.has("optout"))) {
    return "ERR OPTIN and OPTOUT are not compatible with BCAST";
  }
  if (words.has("optin") && words.has("optout"))
    return "ERR You can't specify both OPTIN mode and OPTOUT mode";
  const switches = (words.has("optin") && current?.optOut) || (words.has("optout") && current?.optIn);
  if (switches) return `ERR You can't switch OPTIN/OPTOUT mode ${REENABLE}`;
  return overlap(current?.prefixes ?? [], prefixes);
}

function overlap(known: readonly string[], added: readonly string[]): string | null {
  for (const [i, prefix] of added.entries()) {
    const fits = (each: string): boolean => each.startsWith(prefix) || prefix.startsWith(each);
    const existing = known.find(fits);
    if (existing !== undefined) return overlapText(prefix, "an existing prefix", existing);
    const provided = added.slice(i + 1).find(fits);
    if (provided !== undefined) return overlapText(prefix, "another provided prefix", provided);
  }
  return null;
}

function overlapText(prefix: string, what: string, other: string): string {
  return (
    `ERR Prefix '${prefix}' overlaps with ${what} '${other}'. ` +
    "Prefixes for a single client must not overlap."
  );
}

function tracking(plane: DataPlane, call: Call): boolean {
  const { session } = call;
  const word = argument(call, 2).toLowerCase();
  const options = parseOptions(plane, call);
  if (typeof options === "string") return fail(session, options);
  if (word !== "on" && word !== "off") return fail(session, "ERR syntax error");
  // What was sent before is not tracked, what comes after is: there must be nothing in between.
  if (session.inFlight > 0) {
    session.hold(HOLD_DRAIN);
    return false;
  }
  if (word === "off") {
    endTracking(plane, session);
    return answer(call, OK);
  }
  const current = session.tracking?.mode ?? null;
  const error = conflict(options, current);
  if (error !== null) return fail(session, error);
  // Without a prefix BCAST is about the prefix that all keys have; prefixes add up.
  const added = options.words.has("bcast") && options.prefixes.length === 0 ? [""] : options.prefixes;
  const prefixes = [...new Set([...(current?.prefixes ?? []), ...added])].toSorted();
  const mode = new TrackingMode(options.words, options.redirect, prefixes);
  const place = session.reserve();
  if (mode.redirect === 0 || plane.clients.get(mode.redirect) !== undefined)
    start(plane, session, mode, place);
  else startIfPeersKnow(plane, session, mode, place);
  return true;
}

/** The client to redirect to may be one of another worker. */
function startIfPeersKnow(plane: DataPlane, session: Session, mode: TrackingMode, place: Request): void {
  session.hold(HOLD_WAIT);
  void plane.peers.ask({ kind: "invalidate", id: mode.redirect, keys: [] }).then((answers) => {
    if (!session.closed && answers.some((each) => each === 1)) {
      start(plane, session, mode, place);
      return;
    }
    session.complete(place, errorReply(NO_TARGET));
    session.release(HOLD_WAIT);
  });
}

function start(plane: DataPlane, session: Session, mode: TrackingMode, place: Request): void {
  const before = session.tracking;
  const next = new SessionTracking(plane, session, mode);
  session.setTracking(next);
  session.setLane(session.lane.database, session.lane.protocol);
  // What is read now could not be vouched for.
  session.hold(HOLD_WAIT);
  plane.tracking.add(next, () => {
    next.started = true;
    if (before !== null) {
      if (before.mode.lane === mode.lane)
        for (const key of session.closed ? [] : before.keys) plane.tracking.note(key, next);
      // Nobody tells the new lane what changes of that which was read over the old one.
      else if (before.keys.size > 0) next.invalidate(null);
      plane.tracking.remove(before);
    }
    session.complete(place, OK);
    session.release(HOLD_WAIT);
  });
}

/** Ends a session's tracking. */
export function endTracking(plane: DataPlane, session: Session): void {
  if (session.tracking === null) return;
  const { mode } = session.tracking;
  plane.tracking.remove(session.tracking);
  session.setTracking(null);
  if (mode.lane !== "shared") session.setLane(session.lane.database, session.lane.protocol);
}

function caching(_plane: DataPlane, call: Call): boolean {
  const { session } = call;
  const mode = session.tracking?.mode;
  if (mode === undefined) {
    return fail(
      session,
      "ERR CLIENT CACHING can be called only when the client is in tracking mode " +
        "with OPTIN or OPTOUT mode enabled",
    );
  }
  const word = argument(call, 2).toLowerCase();
  if (word !== "yes" && word !== "no") return fail(session, "ERR syntax error");
  if (word === "yes" && !mode.optIn) {
    return fail(session, "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.");
  }
  if (word === "no" && !mode.optOut) {
    return fail(session, "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.");
  }
  (session.tracking as SessionTracking).caching = word;
  return answer(call, OK);
}

function getRedirection(_plane: DataPlane, call: Call): boolean {
  return answer(call, integer(call.session.tracking?.mode.redirect ?? -1));
}

function trackingInfo(_plane: DataPlane, call: Call): boolean {
  const { session } = call;
  const { protocol } = session.lane;
  const flags = flagsOf(session.tracking).map(bulk);
  const mode = session.tracking?.mode;
  const set = protocol === 3 ? `~${flags.length}\r\n${flags.join("")}` : array(flags);
  return answer(
    call,
    map(protocol, [
      [bulk("flags"), set],
      [bulk("redirect"), integer(mode?.redirect ?? -1)],
      [bulk("prefixes"), array((mode?.prefixes ?? []).map(bulk))],
    ]),
  );
}

function flagsOf(current: SessionTracking | null): string[] {
  if (current === null) return ["off"];
  const { mode } = current;
  const flags = ["on"];
  if (mode.broadcast) flags.push("bcast");
  if (mode.optIn) flags.push("optin", ...(current.caching === "yes" ? ["caching-yes"] : []));
  if (mode.optOut) flags.push("optout", ...(current.caching === "no" ? ["caching-no"] : []));
  if (mode.noLoop) flags.push("noloop");
  if (current.brokenRedirect) flags.push("broken_redirect");
  return flags;
}

export const TRACKING_COMMANDS: readonly (readonly [string, SessionCommand])[] = [
  ["client|tracking", tracking],
  ["client|caching", caching],
  ["client|getredir", getRedirection],
  ["client|trackinginfo", trackingInfo],
];
