/**
 * Where a call's keys are: one slot, none in particular, or a problem that the client is told.
 */
import * as c from "../../commands/command.ts";
import { findKeys } from "../../commands/key-finder.ts";
import { FIND_MALFORMED, FIND_NOT_KNOWN, KeyPositions } from "../../commands/key-positions.ts";
import { findSortPatterns, patternHasOneSlot } from "../../commands/special-key-finders.ts";
import { slotOf } from "../../routing/slot-of.ts";
import type { DataPlane } from "../data-plane.ts";
import { type Call, quoted } from "./call.ts";

/** No key, and any server will do. */
export const SLOT_ANY = -1;
/** The keys are in several slots; `keys` has their positions. */
export const SEVERAL = -2;
/** `error` says what. */
export const PROBLEM = -3;

/** Valid as long as the call. */
export interface Location {
  /** A slot, SLOT_ANY, SEVERAL or PROBLEM. */
  readonly slot: number;
  readonly error: string;
  /** The first key, as an error may repeat it. */
  readonly key: string;
}

/** The positions that the last `locate` has found; valid until the next. */
export const foundKeys = new KeyPositions();
const patterns = new KeyPositions();

/** The slot of a keyless script: its home must be the same every time. */
export const HOME_SLOT = 0;

/**
 * Finds a call's slot, and leaves its keys in `foundKeys`. Keys of several slots are a PROBLEM unless the
 * command is split.
 */
export function locate(plane: DataPlane, call: Call): Location {
  const { command, request } = call;
  const count = findKeys(command, request, foundKeys);
  if (count === FIND_NOT_KNOWN)
    return problem(`ERR Command '${command.name}' is not supported by the proxy yet`);
  if (count === FIND_MALFORMED || count === 0) {
    const home = c.keylessRoute(command) === c.ROUTE_HOME_GROUP;
    return { slot: home ? HOME_SLOT : SLOT_ANY, error: "", key: "" };
  }
  const first = foundKeys.at[0];
  const slot = slotOfArgument(plane, call, first);
  // With all slots on one server every command means what it means there.
  if (call.session.lane.groups.length === 1) return { slot, error: "", key: quoted(request, first) };
  const other = firstInOtherSlot(plane, call, slot);
  if (other !== 0) {
    if (command.route !== c.ROUTE_SPLIT) plane.counters.crossSlotErrors++;
    return new CrossSlot(call, first, other);
  }
  if (command.finder === c.FINDER_SORT) {
    const error = sortPatternError(plane, call, slot);
    if (error !== null) return problem(error);
  }
  return { slot, error: "", key: quoted(request, first) };
}

/**
 * Keys `first` and `other` are in different slots. The error is put together for who wants it: not for a
 * split.
 */
class CrossSlot implements Location {
  readonly slot: number;
  readonly key = "";
  readonly #call: Call;
  readonly #first: number;
  readonly #other: number;

  constructor(call: Call, first: number, other: number) {
    this.slot = call.command.route === c.ROUTE_SPLIT ? SEVERAL : PROBLEM;
    this.#call = call;
    this.#first = first;
    this.#other = other;
  }

  get error(): string {
    return crossSlotText(this.#call, this.#first, this.#other);
  }
}

function problem(error: string): Location {
  return { slot: PROBLEM, error, key: "" };
}

export function slotOfArgument(plane: DataPlane, call: Call, index: number): number {
  const { request, bytes } = call;
  return slotOf(bytes, request.argStart[index], request.argEnd[index], plane.slots.mask);
}

/** Counts a located call for its slot; one that is cut, for the slot of each key. */
export function sample(plane: DataPlane, call: Call, place: Location): void {
  const { sampler } = plane.slots;
  if (place.slot >= 0) sampler.count(place.slot);
  else if (place.slot === SEVERAL)
    for (let i = 0; i < foundKeys.count; i++) sampler.count(slotOfArgument(plane, call, foundKeys.at[i]));
}

/** The argument index of the first key that is not in `slot`; 0 when all are. */
function firstInOtherSlot(plane: DataPlane, call: Call, slot: number): number {
  const { at, count } = foundKeys;
  for (let i = 1; i < count; i++) if (slotOfArgument(plane, call, at[i]) !== slot) return at[i];
  return 0;
}

/**
 * SORT reads other keys by pattern. That is only right when they are in the key's slot whatever the
 * pattern's `*` becomes, or when all slots are on one server.
 */
function sortPatternError(plane: DataPlane, call: Call, slot: number): string | null {
  const { request } = call;
  const count = findSortPatterns(request, patterns);
  for (let i = 0; i < count; i++) {
    const index = patterns.at[i];
    if (patternHasOneSlot(request, index) && slotOfArgument(plane, call, index) === slot) continue;
    return `CROSSSLOT Pattern '${quoted(request, index)}' of 'sort' reaches keys of other slots than its key`;
  }
  return null;
}

function crossSlotText(call: Call, first: number, other: number): string {
  const { request, command } = call;
  return (
    `CROSSSLOT Keys '${quoted(request, first)}' and '${quoted(request, other)}' of '${command.name}' ` +
    "are in different slots; give them a common {tag}"
  );
}
