/**
 * MULTI, EXEC, DISCARD, WATCH, UNWATCH, and the queuing in between. Texts and rules are those of Redis 7.0
 * (multi.c).
 */
import * as c from "../../commands/command.ts";
import { OK } from "../../resp/reply-writer.ts";
import type { DataPlane } from "../data-plane.ts";
import { HOLD_DRAIN, HOLD_WAIT } from "../downstream/reply-queue.ts";
import type { Session } from "../downstream/session.ts";
import { runsWithTransaction, transactionRefusal } from "../pubsub/in-transaction.ts";
import type { Upstream } from "../upstream/upstream.ts";
import { DATABASES } from "../slots/slot-table.ts";
import { answer, argument, type Call, fail, parseInteger } from "./call.ts";
import { fleetRefusal, SLOTS_MOVE } from "./fleet-transaction.ts";
import { foundKeys, locate, PROBLEM, sample, SEVERAL, SLOT_ANY, slotOfArgument } from "./locate.ts";
import type { SessionCommand } from "./client-commands.ts";
import { mayWrite } from "./pause.ts";
import { type RunLocally, Transaction } from "./transaction.ts";
import { Watch } from "./watch.ts";

const QUEUED = "+QUEUED\r\n";
const ABORTED = "EXECABORT Transaction discarded because of previous errors.";

/** Commands that are carried out at once inside a transaction. */
const NOT_QUEUED = new Set(["exec", "discard", "multi", "watch", "quit", "reset"]);
/** The proxy's own commands that a server answers as well, or better, in the middle of a transaction. */
const ANSWERED_BY_SERVER = new Set(["ping", "echo"]);

/** Takes a call into the session's transaction. False: it is to be carried out now. */
export function queueCall(plane: DataPlane, call: Call): boolean {
  const { session, command } = call;
  const transaction = session.transaction;
  if (transaction === null || NOT_QUEUED.has(command.name)) return false;
  const error = refusal(plane, call, transaction);
  if (error !== null) {
    transaction.failed = true;
    fail(session, error);
    return true;
  }
  transaction.mayWrite ||= mayWrite(plane, call);
  if (command.name === "select") {
    // A server refuses all others, and EXEC's reply says so.
    const database = parseInteger(argument(call, 1));
    if (database !== null && database >= 0 && database < DATABASES) transaction.database = database;
    transaction.queue(call);
  } else if (runsWithTransaction(plane, call, transaction.slot)) transaction.queue(call);
  else if (command.route === c.ROUTE_PROXY && !ANSWERED_BY_SERVER.has(command.name))
    transaction.queueLocal(call);
  else if (command.route === c.ROUTE_ALL_GROUPS) transaction.queueFleet(call);
  else plane.scripts.queueIn(transaction, call);
  session.answer(QUEUED);
  return true;
}

/** Why a call can't be part of the transaction; null when it can. Sets the transaction's slot. */
function refusal(plane: DataPlane, call: Call, transaction: Transaction): string | null {
  const { command, session } = call;
  if ((command.flags & c.FLAG_NO_MULTI) !== 0) return "ERR Command not allowed inside a transaction";
  const unfit = transactionRefusal(call);
  if (unfit !== null) return unfit;
  if (command.route === c.ROUTE_LATER || command.route === c.ROUTE_REFUSED) return c.refusalText(command);
  if (transaction.length + call.end - call.start > plane.config.client_request_bytes_max) {
    return "ERR Transaction is too large for the proxy";
  }
  if (command.route === c.ROUTE_ALL_GROUPS) {
    // What it shows is put right by the proxy, which can't be done inside EXEC's reply.
    if (command.name === "config|get") return "ERR Command not allowed inside a transaction";
    return fleetRefusal(plane, call, transaction.database);
  }
  if (command.route !== c.ROUTE_KEY && command.route !== c.ROUTE_SPLIT) return null;
  const place = locate(plane, call);
  if (place.slot === PROBLEM) return place.error;
  if (place.slot === SLOT_ANY) return null;
  if (plane.slots.sampler.open) sample(plane, call, place);
  const split = session.lane.groups.length > 1;
  if (split && place.slot === SEVERAL) return place.error;
  session.tracking?.note(call, foundKeys);
  if (split && transaction.slot >= 0 && place.slot !== transaction.slot) {
    return `CROSSSLOT Key '${place.key}' of '${command.name}' is in another slot than the transaction's keys`;
  }
  if (split && session.watch !== null && place.slot !== session.watch.slot) {
    return `CROSSSLOT Key '${place.key}' of '${command.name}' is in another slot than the watched keys`;
  }
  const home = session.lane.homes[place.slot];
  if (home !== undefined && !home.prepare() && !plane.holding.mayWait(home)) return home.refusal;
  if (place.slot >= 0) transaction.slot = place.slot;
  return null;
}

function multi(plane: DataPlane, call: Call): boolean {
  const { session } = call;
  if (session.transaction !== null) return fail(session, "ERR MULTI calls can not be nested");
  session.setTransaction(new Transaction(plane, call));
  return answer(call, OK);
}

function discard(_plane: DataPlane, call: Call): boolean {
  const { session } = call;
  if (session.transaction === null) return fail(session, "ERR DISCARD without MULTI");
  endTransaction(session);
  endWatch(session);
  return answer(call, OK);
}

/** Forgets the transaction and what it has queued. */
export function endTransaction(session: Session): void {
  session.transaction?.drop();
  session.setTransaction(null);
}

/** Ends the watching. */
export function endWatch(session: Session): void {
  session.watch?.end();
  session.watch = null;
}

function exec(plane: DataPlane, call: Call): boolean {
  const { session } = call;
  const { transaction, watch } = session;
  if (transaction === null) return fail(session, "ERR EXEC without MULTI");
  const home = transaction.slot < 0 ? null : session.lane.homes[transaction.slot];
  if (home !== null && home.busy) return abandon(session, home.refusal);
  if (transaction.failed) {
    endTransaction(session);
    endWatch(session);
    return fail(session, ABORTED);
  }
  if (transaction.ofOneGroup && session.lane.groups.length > 1 && !hasOneHome(plane, session, transaction))
    return abandon(session, "CROSSSLOT its keys have come to be in several groups since MULTI");
  if (watch !== null && !watch.holds(session)) {
    endTransaction(session);
    endWatch(session);
    return answer(call, session.lane.protocol === 3 ? "_\r\n" : "*-1\r\n");
  }
  if (transaction.onlyLocal && watch === null) {
    session.setTransaction(null);
    return answer(call, transaction.answerLocally(session, plane.dispatcher.runLocally));
  }
  const upstream = shared(session, transaction.slot);
  if (plane.holding.enter(session, upstream)) return false;
  if (!transaction.fleet.empty && plane.holding.enterAny(session, session.lane.groups)) return false;
  if (plane.moving.active && transaction.fleet.touchesKeys) return abandon(session, SLOTS_MOVE);
  if (watch !== null || transaction.database >= 0) return execAlone(plane, call, transaction);
  if (!upstream.prepare()) return abandon(session, upstream.refusal);
  session.setTransaction(null);
  // What follows must not overtake what happens elsewhere after EXEC.
  if (transaction.publishesAfter || !transaction.fleet.empty) session.hold(HOLD_WAIT);
  transaction.run(call, upstream, plane.dispatcher.runLocally, () => session.release(HOLD_WAIT));
  return true;
}

/** Whether all keys of a transaction are served at one place. */
function hasOneHome(plane: DataPlane, session: Session, transaction: Transaction): boolean {
  const homes = new Set<Upstream>();
  for (const call of transaction.calls(session)) {
    locate(plane, call);
    for (let i = 0; i < foundKeys.count; i++)
      homes.add(session.lane.homes[slotOfArgument(plane, call, foundKeys.at[i])]);
  }
  return homes.size <= 1;
}

/** EXEC can't be sent: nothing has run, and the session is out of the transaction. */
export function abandon(session: Session, reason: string): true {
  endTransaction(session);
  endWatch(session);
  return fail(session, `EXECABORT Transaction discarded because of: ${reason}`);
}

function shared(session: Session, slot: number): Upstream {
  if (slot >= 0) return session.lane.homes[slot];
  return session.lane.groups.find((each) => each.prepare()) ?? session.lane.groups[0];
}

/** EXEC over a connection of the session's own: with WATCH, or with a SELECT inside. */
function execAlone(plane: DataPlane, call: Call, transaction: Transaction): boolean {
  const { session } = call;
  if (session.inFlight > 0) {
    session.hold(HOLD_DRAIN);
    return false;
  }
  const { watch } = session;
  const runLocally: RunLocally = plane.dispatcher.runLocally;
  const upstream =
    watch === null ? plane.privates.takeReady(session, shared(session, transaction.slot)) : watch.upstream;
  if (upstream === null) return false;
  if (typeof upstream === "string") return abandon(session, upstream);
  session.setTransaction(null);
  session.watch = null;
  session.hold(HOLD_WAIT);
  watch?.follow(session);
  transaction.run(call, upstream, runLocally, (executed) => {
    if (executed && transaction.database >= 0) session.setLane(transaction.database, session.lane.protocol);
    // After a SELECT inside, the connection is on another database than its like.
    if (transaction.database >= 0) plane.privates.discard(upstream);
    else if (watch !== null) watch.release();
    else upstream.whenIdle(() => plane.privates.give(upstream));
    session.release(HOLD_WAIT);
  });
  return true;
}

function watchKeys(plane: DataPlane, call: Call): boolean {
  const { session } = call;
  if (session.transaction !== null) return fail(session, "ERR WATCH inside MULTI is not allowed");
  if (session.inFlight > 0) {
    session.hold(HOLD_DRAIN);
    return false;
  }
  const place = locate(plane, call);
  if (place.slot < 0) return fail(session, place.error);
  if (session.watch !== null && session.watch.slot !== place.slot && session.lane.groups.length > 1) {
    return fail(
      session,
      `CROSSSLOT Key '${place.key}' of 'watch' is in another slot than those watched already`,
    );
  }
  if (session.watch === null) {
    const home = session.lane.homes[place.slot];
    if (plane.holding.enter(session, home)) return false;
    const upstream = plane.privates.takeReady(session, home);
    if (upstream === null) return false;
    if (typeof upstream === "string") return fail(session, upstream);
    session.watch = new Watch(plane, place.slot, upstream);
  }
  for (let i = 0; i < foundKeys.count; i++) session.watch.add(slotOfArgument(plane, call, foundKeys.at[i]));
  // What was watched before can't be vouched for any more: EXEC will answer nil, whatever else is watched
  // now.
  if (session.watch.lost) return answer(call, OK);
  const { upstream } = session.watch;
  session.watch.follow(session);
  upstream.beginFor(session);
  upstream.output.append(call.bytes, call.start, call.end);
  upstream.flushSoon();
  // What follows goes over other connections and must not overtake it.
  session.hold(HOLD_WAIT);
  upstream.whenIdle(() => {
    plane.privates.answered(upstream);
    session.release(HOLD_WAIT);
  });
  return true;
}

function unwatch(_plane: DataPlane, call: Call): boolean {
  endWatch(call.session);
  return answer(call, OK);
}

export const TRANSACTION_COMMANDS: readonly (readonly [string, SessionCommand])[] = [
  ["multi", multi],
  ["exec", exec],
  ["discard", discard],
  ["watch", watchKeys],
  ["unwatch", unwatch],
];
