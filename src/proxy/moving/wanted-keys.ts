/**
 * The keys of a call that are in slots which are not simply served: those that must be made usable first.
 *
 *   most commands ─▶ the key finder         EXEC ─▶ all that is queued, each in the database it runs in
 *   COPY … DB n, MOVE key n ─▶ the key in the other database as well: it is in the way, or overwritten
 *   a script without keys ─▶ no key, but it must wait while its home slot is locked
 */
import * as c from "../../commands/command.ts";
import { findKeys } from "../../commands/key-finder.ts";
import { KeyPositions } from "../../commands/key-positions.ts";
import type { DataPlane } from "../data-plane.ts";
import { argument, type Call, parseInteger } from "../dispatch/call.ts";
import { HOME_SLOT, slotOfArgument } from "../dispatch/locate.ts";
import type { Transaction } from "../dispatch/transaction.ts";
import type { Session } from "../downstream/session.ts";
import { SLOT_LOCKED, SLOT_SERVING } from "../slots/slot-states.ts";
import { type PatternSort, patternsOf } from "./sort-patterns.ts";

export interface WantedKey {
  readonly slot: number;
  readonly database: number;
  /** Latin-1: a character per byte. Null: nothing to fetch, but the slot must not be locked. */
  readonly key: string | null;
}

/** What a call needs. */
export interface Wanted {
  readonly keys: WantedKey[];
  /** What it sorts by keys that it does not name. */
  readonly sorts: PatternSort[];
}

const positions = new KeyPositions();

/** Adds what one call that runs in `database` needs to `out`. */
function addWanted(plane: DataPlane, call: Call, database: number, out: Wanted): void {
  const { command, request } = call;
  const { states } = plane.slots;
  const count = findKeys(command, request, positions);
  const add = (index: number, inDatabase: number): void => {
    const slot = slotOfArgument(plane, call, index);
    if (states.of(slot) !== SLOT_SERVING)
      out.keys.push({ slot, database: inDatabase, key: argument(call, index) });
  };
  for (let i = 0; i < count; i++) add(positions.at[i], database);
  if (count <= 0) {
    const atHome = c.keylessRoute(command) === c.ROUTE_HOME_GROUP || command.route === c.ROUTE_HOME_GROUP;
    if (atHome && states.of(HOME_SLOT) === SLOT_LOCKED)
      out.keys.push({ slot: HOME_SLOT, database, key: null });
    return;
  }
  const other = otherDatabase(call);
  if (other !== null && other !== database) add(command.name === "copy" ? 2 : 1, other);
  const patterns = patternsOf(call);
  const slot = slotOfArgument(plane, call, 1);
  if (patterns.length > 0 && states.of(slot) !== SLOT_SERVING)
    out.sorts.push({ wanted: { slot, database, key: argument(call, 1) }, patterns, added: [] });
}

/** The second database of COPY … DB n and MOVE key n; null for all else, and for words that are refused. */
function otherDatabase(call: Call): number | null {
  const { command, request } = call;
  if (command.name === "move") return parseInteger(argument(call, 2));
  if (command.name !== "copy") return null;
  for (let i = 3; i + 1 < request.argc; i++)
    if (argument(call, i).toLowerCase() === "db") return parseInteger(argument(call, i + 1));
  return null;
}

/** What the session's call needs now: EXEC does all that is queued, in the databases that SELECT names. */
export function wantedBy(plane: DataPlane, call: Call): Wanted {
  const { session, command } = call;
  const out: Wanted = { keys: [], sorts: [] };
  const { transaction } = session;
  let { database } = session.lane;
  if (transaction === null) addWanted(plane, call, database, out);
  else if (command.name === "exec") {
    for (const queued of transaction.calls(session)) {
      if (queued.command.name === "select") database = parseInteger(argument(queued, 1)) ?? database;
      else addWanted(plane, queued, database, out);
    }
    const { keys, sorts } = out;
    if (sorts.length > 0) {
      const added = wordsOf(transaction, session);
      return { keys, sorts: sorts.map((sort) => ({ ...sort, added })) };
    }
  }
  return out;
}

/** All words of the calls that are queued, each once: any of them may be an element when a SORT runs. */
function wordsOf(transaction: Transaction, session: Session): string[] {
  const words = new Set<string>();
  for (const queued of transaction.calls(session))
    for (let i = 2; i < queued.request.argc; i++) words.add(argument(queued, i));
  return [...words];
}
