/**
 * What to do with a request that is not the plain case: one table from the command's route to a function.
 *
 *   request ─▶ command? ─▶ subcommand? ─▶ allowed? ─▶ arity? ─▶ route ─┬─ key        findKeys ─▶ one slot ─▶
 *   its upstream
 *                │ unknown: ask a server once (learned.ts)             ├─ split      several servers ─▶
 *                gather
 *                                                                      ├─ all-groups every server ─▶ gather
 *                                                                      ├─ any-group  one that is there
 *                                                                      ├─ proxy      session-commands.ts
 *                                                                      └─ later, refused ─▶ an error that
 *                                                                      says so
 *
 * Each function answers true when the request is taken (an answer will come, or has), false when the session
 * must look at it again later; it has then set the hold that it waits for.
 */
import * as c from "../../commands/command.ts";
import { lookupSubcommand } from "../../commands/command-lookup.ts";
import { findKeys } from "../../commands/key-finder.ts";
import { FIND_MALFORMED, FIND_NOT_KNOWN, KeyPositions } from "../../commands/key-positions.ts";
import { findSortPatterns, isBlockingCall, patternHasOneSlot } from "../../commands/special-key-finders.ts";
import type { RequestScanner } from "../../resp/request-scanner.ts";
import { slotOf } from "../../routing/slot-of.ts";
import type { DataPlane } from "../data-plane.ts";
import type { Session } from "../downstream/session.ts";
import type { Upstream } from "../upstream/upstream.ts";
import { type Call, fail, quoted, QUOTED_BYTES_MAX } from "./call.ts";
import { fanOut } from "./fan-out.ts";
import { LearnedCommands } from "./learned-commands.ts";
import { SESSION_COMMANDS } from "./session-commands.ts";
import { split } from "./split.ts";

export class Dispatcher {
  readonly plane: DataPlane;
  readonly #learned: LearnedCommands;
  readonly #keys = new KeyPositions();

  constructor(plane: DataPlane) {
    this.plane = plane;
    this.#learned = new LearnedCommands(plane);
  }

  dispatch(
    session: Session,
    known: c.Command | null,
    request: RequestScanner,
    start: number,
    end: number,
  ): boolean {
    const { bytes, argStart, argEnd, argc } = request;
    let command = known ?? this.#learned.get(bytes, argStart[0], argEnd[0]);
    if (command === undefined) return this.#learned.ask(session, bytes, argStart[0], argEnd[0]);
    if (command === null) return fail(session, unknownCommandText(request));
    if (command.subcommands !== null && argc > 1) {
      const subcommand = lookupSubcommand(command, bytes, argStart[1], argEnd[1]);
      if (subcommand === null && (command.flags & c.FLAG_CONTAINER) !== 0) {
        return fail(session, unknownSubcommandText(command, request));
      }
      command = subcommand ?? command;
    }
    if (!session.authenticated && (command.flags & c.FLAG_NO_AUTH) === 0)
      return fail(session, "NOAUTH Authentication required.");
    if (!c.arityFits(command, argc))
      return fail(session, `ERR wrong number of arguments for '${command.name}' command`);
    const call: Call = { session, command, request, bytes, start, end };
    if (!this.#route(call)) return false;
    this.plane.count(command, session);
    session.afterCommand();
    return true;
  }

  #route(call: Call): boolean {
    const { session, command } = call;
    switch (command.route) {
      case c.ROUTE_KEY:
      case c.ROUTE_SPLIT:
        return this.#byKeys(call);
      case c.ROUTE_ALL_GROUPS:
        return fanOut(this.plane, call);
      case c.ROUTE_ANY_GROUP:
        return this.#toAny(call);
      case c.ROUTE_HOME_GROUP:
        return this.#toSlot(call, 0);
      case c.ROUTE_PROXY: {
        const run = SESSION_COMMANDS.get(command.name);
        return run === undefined ? fail(session, notSupportedText(command)) : run(this.plane, call);
      }
      default:
        return fail(session, c.refusalText(command));
    }
  }

  #byKeys(call: Call): boolean {
    const { session, command, request } = call;
    if ((command.flags & c.FLAG_BLOCKING) !== 0 && isBlockingCall(command, request)) {
      return fail(session, `ERR Blocking call of '${command.name}' is not supported by the proxy yet`);
    }
    const count = findKeys(command, request, this.#keys);
    if (count === FIND_NOT_KNOWN) return fail(session, notSupportedText(command));
    if (count === FIND_MALFORMED || count === 0) {
      return c.keylessRoute(command) === c.ROUTE_HOME_GROUP ? this.#toSlot(call, 0) : this.#toAny(call);
    }
    const slot = this.#slotOfArgument(call, this.#keys.at[0]);
    const other = this.#firstInOtherSlot(call, slot);
    if (other === 0) {
      if (command.finder === c.FINDER_SORT && !this.#sortStays(call, slot)) return true;
      return this.#toSlot(call, slot);
    }
    if (command.route === c.ROUTE_SPLIT) return split(this.plane, call, this.#keys);
    this.plane.counters.crossSlotErrors++;
    return fail(session, crossSlotText(call, this.#keys.at[0], other));
  }

  #slotOfArgument(call: Call, index: number): number {
    const { request, bytes } = call;
    return slotOf(bytes, request.argStart[index], request.argEnd[index], this.plane.slots.mask);
  }

  /** The argument index of the first key that is not in `slot`; 0 when all are. */
  #firstInOtherSlot(call: Call, slot: number): number {
    const { at, count } = this.#keys;
    for (let i = 1; i < count; i++) if (this.#slotOfArgument(call, at[i]) !== slot) return at[i];
    return 0;
  }

  /**
   * SORT reads other keys by pattern: only right when they are in the same slot whatever the pattern's `*`
   * becomes.
   */
  #sortStays(call: Call, slot: number): boolean {
    const { request, session } = call;
    const patterns = this.#keys;
    const count = findSortPatterns(request, patterns);
    for (let i = 0; i < count; i++) {
      const index = patterns.at[i];
      if (patternHasOneSlot(request, index) && this.#slotOfArgument(call, index) === slot) continue;
      fail(
        session,
        `CROSSSLOT Pattern '${quoted(request, index)}' of 'sort' reaches keys of other slots than its key`,
      );
      return false;
    }
    return true;
  }

  #toSlot(call: Call, slot: number): boolean {
    return this.sendTo(call, call.session.lane.bySlot[slot]);
  }

  /** Any server that is there, the first one otherwise. */
  #toAny(call: Call): boolean {
    const { groups } = call.session.lane;
    const ready = groups.find((upstream) => upstream.state === "ready");
    return this.sendTo(call, ready ?? groups.find((upstream) => upstream.prepare()) ?? groups[0]);
  }

  /** Sends the request as it is. */
  sendTo(call: Call, upstream: Upstream): boolean {
    if (!upstream.prepare()) return fail(call.session, upstream.refusal);
    upstream.send(call.session, call.bytes, call.start, call.end);
    return true;
  }
}

function notSupportedText(command: c.Command): string {
  return `ERR Command '${command.name}' is not supported by the proxy yet`;
}

/** The words of a server that does not know a command (server.c, processCommand). */
function unknownCommandText(request: RequestScanner): string {
  let args = "";
  for (let i = 1; i < request.argc && args.length < QUOTED_BYTES_MAX; i++) {
    args += `'${upToNul(quoted(request, i)).slice(0, QUOTED_BYTES_MAX - args.length)}' `;
  }
  return `ERR unknown command '${upToNul(quoted(request, 0))}', with args beginning with: ${args}`;
}

/** Redis prints these words as C strings. */
function upToNul(text: string): string {
  const nul = text.indexOf("\0");
  return nul < 0 ? text : text.slice(0, nul);
}

function unknownSubcommandText(command: c.Command, request: RequestScanner): string {
  return `ERR unknown subcommand '${upToNul(quoted(request, 1))}'. Try ${command.name.toUpperCase()} HELP.`;
}

function crossSlotText(call: Call, first: number, other: number): string {
  const { request, command } = call;
  return (
    `CROSSSLOT Keys '${quoted(request, first)}' and '${quoted(request, other)}' of '${command.name}' ` +
    "are in different slots; give them a common {tag}"
  );
}
