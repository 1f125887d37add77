/**
 * What to do with a request that is not the plain case: one table from the command's route to a function.
 *
 *   request ─▶ command? ─▶ subcommand? ─▶ arity? ─▶ allowed? ─▶ route ─┬─ key        findKeys ─▶ one slot ─▶
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
import { isBlockingCall } from "../../commands/special-key-finders.ts";
import type { RequestScanner } from "../../resp/request-scanner.ts";
import type { DataPlane } from "../data-plane.ts";
import type { Session } from "../downstream/session.ts";
import { listenerRefusal } from "../pubsub/subscribe-commands.ts";
import type { Upstream } from "../upstream/upstream.ts";
import { refusedByRights } from "../users/check-rights.ts";
import { type Call, fail, quoted, QUOTED_BYTES_MAX } from "./call.ts";
import { fanOut } from "./fan-out.ts";
import { BlockingCall } from "./blocking-call.ts";
import { foundKeys, locate, PROBLEM, sample, SEVERAL, SLOT_ANY } from "./locate.ts";
import { refusedToMonitors } from "./monitor.ts";
import { abandon, queueCall } from "./transaction-commands.ts";
import { LearnedCommands } from "./learned-commands.ts";
import { SESSION_COMMANDS } from "./session-commands.ts";
import { split } from "./split.ts";
import { WRITES_STOPPED } from "./write-stop.ts";

export class Dispatcher {
  readonly plane: DataPlane;
  readonly #learned: LearnedCommands;

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
    if (command === null) return reject(session, unknownCommandText(request));
    if (command.subcommands !== null && argc > 1) {
      const subcommand = lookupSubcommand(command, bytes, argStart[1], argEnd[1]);
      if (subcommand === null && (command.flags & c.FLAG_CONTAINER) !== 0) {
        return reject(session, unknownSubcommandText(command, request));
      }
      command = subcommand ?? command;
    }
    if (!c.arityFits(command, argc)) {
      const text = `wrong number of arguments for '${command.name}' command`;
      return command.name === "exec" ? abandon(session, text) : reject(session, `ERR ${text}`);
    }
    if (!session.authenticated && (command.flags & c.FLAG_NO_AUTH) === 0)
      return reject(session, "NOAUTH Authentication required.");
    if (session.subscriber !== null) {
      const refusal = listenerRefusal(session, command.name);
      if (refusal !== null) return reject(session, refusal);
    }
    const call: Call = { session, command, request, bytes, start, end };
    if (!session.user.unrestricted && refusedByRights(this.plane, call)) return true;
    if (session.monitoring && refusedToMonitors(this.plane, call))
      return reject(session, "ERR Replica can't interact with the keyspace");
    if (this.plane.pause.active && this.plane.pause.holds(call)) return false;
    if (this.plane.writeStop.active && this.plane.writeStop.refuses(call))
      return command.name === "exec" ? abandon(session, WRITES_STOPPED) : reject(session, WRITES_STOPPED);
    if (command.group === "scripting" && !this.plane.functions.ready(session, command)) return false;
    if (this.plane.moving.active) {
      const admitted = this.plane.moving.admit(call);
      if (typeof admitted === "string") {
        return command.name === "exec" ? abandon(session, admitted) : fail(session, admitted);
      }
      if (!admitted) return false;
    }
    if (this.plane.acks.on && !this.plane.acks.place(call)) return false;
    // Before it runs: CLIENT INFO names itself.
    session.info.lastCommand = command;
    if (!queueCall(this.plane, call) && !this.#route(call)) return false;
    this.plane.count(command, session);
    session.afterCommand();
    session.tracking?.commandDone(command.name);
    return true;
  }

  #route(call: Call): boolean {
    const { session, command } = call;
    const byKeys = command.route === c.ROUTE_KEY || command.route === c.ROUTE_SPLIT;
    if (session.reads !== null && !byKeys) this.plane.replicas.touched(session);
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
    const place = locate(this.plane, call);
    if (place.slot === PROBLEM) return fail(session, place.error);
    if (this.plane.slots.sampler.open) sample(this.plane, call, place);
    session.tracking?.note(call, foundKeys);
    if (session.reads !== null) {
      const taken = this.plane.replicas.take(call, place.slot);
      if (taken !== null) return taken;
    }
    if (place.slot === SEVERAL) return split(this.plane, call, foundKeys);
    if ((command.flags & c.FLAG_BLOCKING) !== 0 && isBlockingCall(command, request) && place.slot >= 0) {
      return BlockingCall.start(this.plane, call, session.lane.homes[place.slot]);
    }
    if (command.group === "scripting" && place.slot >= 0) return this.#script(call, place.slot);
    return place.slot === SLOT_ANY ? this.#toAny(call) : this.#toSlot(call, place.slot);
  }

  /** Runs a command of the proxy inside EXEC: its answer comes back instead of going to the client. */
  readonly runLocally = (call: Call): string => {
    const { session, command } = call;
    session.capture = [];
    const run = SESSION_COMMANDS.get(command.name);
    const done = run !== undefined && run(this.plane, call);
    const text = session.capture.join("");
    session.capture = null;
    return done && text !== "" ? text : "-ERR Command not allowed inside a transaction\r\n";
  };

  #toSlot(call: Call, slot: number): boolean {
    return this.sendTo(call, call.session.lane.homes[slot]);
  }

  #script(call: Call, slot: number): boolean {
    const upstream = call.session.lane.homes[slot];
    if (this.plane.holding.enter(call.session, upstream)) return false;
    if (!upstream.takes()) return fail(call.session, upstream.refusal);
    const words = this.plane.scripts.wordsFor(call, upstream);
    if (words === null) return this.sendTo(call, upstream);
    call.session.tracking?.announce(upstream);
    upstream.beginFor(call.session);
    upstream.output.appendLatin1(words);
    upstream.flushSoon();
    return true;
  }

  /** Any server that is there, the first one otherwise. */
  #toAny(call: Call): boolean {
    const { groups } = call.session.lane;
    const ready = groups.find((upstream) => upstream.state === "ready");
    return this.sendTo(call, ready ?? groups.find((upstream) => upstream.prepare()) ?? groups[0]);
  }

  /** Sends the request as it is. */
  sendTo(call: Call, upstream: Upstream): boolean {
    if (this.plane.holding.enter(call.session, upstream)) return false;
    if (!upstream.takes()) return fail(call.session, upstream.refusal);
    call.session.tracking?.announce(upstream);
    return upstream.send(call.session, call.bytes, call.start, call.end);
  }
}

/**
 * An error before the command runs: it also spoils the transaction that the command would have been part of.
 */
function reject(session: Session, text: string): true {
  if (session.transaction !== null) session.transaction.failed = true;
  return fail(session, text);
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
