/**
 * Finders for the commands whose key specifications do not tell everything, each a walk over the options in
 * the order in which the server's own parser takes them, so that a key that is called like an option is not
 * mistaken for one. Where the walk meets something that is no option it goes on: the server is going to
 * refuse the request.
 */
import { argumentIs, keywordBytes, type ArgumentView } from "./argument-view.ts";
import { FINDER_XREAD, FLAG_BLOCKING, FLAG_READONLY, type Command } from "./command.ts";
import { FIND_MALFORMED, type KeyPositions } from "./key-positions.ts";

const AUTH = keywordBytes("auth");
const AUTH2 = keywordBytes("auth2");
const BLOCK = keywordBytes("block");
const BY = keywordBytes("by");
const COUNT = keywordBytes("count");
const GET = keywordBytes("get");
const GROUP = keywordBytes("group");
const KEYS = keywordBytes("keys");
const LIMIT = keywordBytes("limit");
const STORE = keywordBytes("store");
const STOREDIST = keywordBytes("storedist");
const STREAMS = keywordBytes("streams");

const NO_STREAMS = 0;
const STAR = 0x2a;
const OPEN = 0x7b;
const CLOSE = 0x7d;

/** SORT key [BY p] [LIMIT o c] [GET p …] [ASC|DESC] [ALPHA] [STORE key]; the last STORE counts. */
export function findSortKeys(command: Command, request: ArgumentView, out: KeyPositions): number {
  out.add(1);
  if ((command.flags & FLAG_READONLY) !== 0) return 1;
  let store = 0;
  for (let i = 2; i < request.argc; i++) {
    if (argumentIs(request, i, STORE) && i + 1 < request.argc) store = ++i;
    else i += sortOptionArguments(request, i);
  }
  if (store !== 0) out.add(store);
  return out.count;
}

/**
 * The patterns of SORT and SORT_RO (BY, GET) that make it read other keys than its own, as argument indexes.
 * Those without a "*" ("BY nosort", "GET #") read none and are left out.
 *
 * @param out is cleared first
 * @returns how many there are
 */
export function findSortPatterns(request: ArgumentView, out: KeyPositions): number {
  out.count = 0;
  for (let i = 2; i < request.argc; i++) {
    const pattern = i + 1 < request.argc && (argumentIs(request, i, BY) || argumentIs(request, i, GET));
    if (pattern) {
      if (indexOfByte(request, i + 1, request.argStart[i + 1], STAR) >= 0) out.add(i + 1);
      i++;
    } else if (argumentIs(request, i, STORE)) {
      i++;
    } else {
      i += sortOptionArguments(request, i);
    }
  }
  return out.count;
}

/**
 * Whether every key that a SORT pattern can stand for is in one slot: it has its whole hash tag before the
 * "*". That slot is then the slot of the pattern itself, taken as a key.
 *
 * @param index of an argument that `findSortPatterns` found
 */
export function patternHasOneSlot(request: ArgumentView, index: number): boolean {
  const start = request.argStart[index];
  const star = indexOfByte(request, index, start, STAR);
  const open = indexOfByte(request, index, start, OPEN);
  if (open < 0 || open > star) return false;
  const close = indexOfByte(request, index, open + 1, CLOSE);
  return close >= 0 && close < star;
}

function indexOfByte(request: ArgumentView, index: number, from: number, byte: number): number {
  const end = request.argEnd[index];
  for (let i = from; i < end; i++) if (request.bytes[i] === byte) return i;
  return -1;
}

/** How many arguments a SORT option takes along; the words that are no option take none. */
function sortOptionArguments(request: ArgumentView, index: number): number {
  if (argumentIs(request, index, LIMIT)) return 2;
  return argumentIs(request, index, BY) || argumentIs(request, index, GET) ? 1 : 0;
}

/** XREAD and XREADGROUP: what follows STREAMS is keys, then as many ids. */
export function findXreadKeys(request: ArgumentView, out: KeyPositions): number {
  const first = walkXread(request, false);
  const count = first === NO_STREAMS ? 0 : Math.trunc((request.argc - first) / 2);
  if (count === 0) return FIND_MALFORMED;
  for (let i = 0; i < count; i++) out.add(first + i);
  return count;
}

/**
 * Whether this call may wait at the server and so needs a connection of its own: the blocking commands
 * always, XREAD and XREADGROUP when they say BLOCK.
 */
export function isBlockingCall(command: Command, request: ArgumentView): boolean {
  if ((command.flags & FLAG_BLOCKING) === 0) return false;
  return command.finder !== FINDER_XREAD || walkXread(request, true) !== NO_STREAMS;
}

/**
 * Walks XREAD's options up to STREAMS. Returns the index of what was asked for: the BLOCK option, or the
 * first key; NO_STREAMS when it is not there.
 */
function walkXread(request: ArgumentView, wantBlock: boolean): number {
  for (let i = 1; i + 1 < request.argc; i++) {
    if (argumentIs(request, i, STREAMS)) return wantBlock ? NO_STREAMS : i + 1;
    if (argumentIs(request, i, BLOCK)) {
      if (wantBlock) return i;
      i++;
    } else if (argumentIs(request, i, COUNT)) {
      i++;
    } else if (argumentIs(request, i, GROUP)) {
      i += 2;
    }
  }
  return NO_STREAMS;
}

/**
 * GEORADIUS and GEORADIUSBYMEMBER: of several STORE and STOREDIST the last one is written, the others never.
 */
export function findGeoradiusKeys(command: Command, request: ArgumentView, out: KeyPositions): number {
  out.add(1);
  let store = 0;
  // The options begin where the specification of STORE begins to search; the two commands differ in it.
  for (let i = command.keySpecs[1].beginIndex; i + 1 < request.argc; i++) {
    if (argumentIs(request, i, STORE) || argumentIs(request, i, STOREDIST)) store = ++i;
    else if (argumentIs(request, i, COUNT)) i++;
  }
  if (store !== 0) out.add(store);
  return out.count;
}

/** MIGRATE host port key|"" db timeout [COPY] [REPLACE] [AUTH p | AUTH2 u p] [KEYS key …] */
export function findMigrateKeys(request: ArgumentView, out: KeyPositions): number {
  const named = request.argEnd[3] > request.argStart[3];
  for (let i = 6; i < request.argc; i++) {
    if (argumentIs(request, i, KEYS)) {
      if (named || i + 1 === request.argc) return FIND_MALFORMED;
      for (let key = i + 1; key < request.argc; key++) out.add(key);
      return out.count;
    }
    if (argumentIs(request, i, AUTH)) i++;
    else if (argumentIs(request, i, AUTH2)) i += 2;
  }
  out.add(3);
  return 1;
}
