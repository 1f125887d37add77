/**
 * Where the keys of a request are, as argument indexes: for one request the same as a server finds when it
 * runs it.
 *
 *   findKeys ─┬─ firstKey: one key at a fixed place            (nearly every request)
 *             ├─ key specifications: begin, then range or number (EVAL, MGET, ZUNIONSTORE …)
 *             └─ finders for what they don't tell               (SORT, XREAD, GEORADIUS, MIGRATE)
 *
 * Invariants: the caller has checked the arity; positions are in the order of the specifications; nothing is
 * allocated unless a request has more keys than any before it; FIND_MALFORMED is only said of requests that
 * every server refuses without touching a key, so the caller may send them anywhere to fetch the server's own
 * words.
 * Rejected: asking COMMAND GETKEYS. It costs a round trip, and it is wrong in corners (see README.md).
 */
import { argumentAsCount, argumentIs, type ArgumentView } from "./argument-view.ts";
import * as c from "./command.ts";
import { findGeoradiusKeys, findMigrateKeys, findSortKeys, findXreadKeys } from "./special-key-finders.ts";
import { FIND_MALFORMED, FIND_NOT_KNOWN, type KeyPositions } from "./key-positions.ts";

/**
 * Finds the keys of a request.
 *
 * @param command what the request calls (a subcommand where it calls one)
 * @param request its arguments; the arity fits
 * @param out is cleared and takes the argument indexes of the keys
 * @returns how many there are, or FIND_MALFORMED, or FIND_NOT_KNOWN
 */
export function findKeys(command: c.Command, request: ArgumentView, out: KeyPositions): number {
  out.count = 0;
  if (command.firstKey !== 0) {
    out.add(command.firstKey);
    return 1;
  }
  switch (command.finder) {
    case c.FINDER_SPECS:
      return findBySpecs(command.keySpecs, request, out);
    case c.FINDER_SORT:
      return findSortKeys(command, request, out);
    case c.FINDER_XREAD:
      return findXreadKeys(request, out);
    case c.FINDER_GEORADIUS:
      return findGeoradiusKeys(command, request, out);
    case c.FINDER_MIGRATE:
      return findMigrateKeys(request, out);
    default:
      return FIND_NOT_KNOWN;
  }
}

/** All specifications, one after the other; one that does not fit the request makes all of it malformed. */
function findBySpecs(specs: readonly c.KeySpec[], request: ArgumentView, out: KeyPositions): number {
  for (let i = 0; i < specs.length; i++) {
    const spec = specs[i];
    if ((spec.flags & c.KEY_NOT_KEY) !== 0) continue;
    const begin = beginOf(spec, request);
    if (begin === 0) continue;
    const found =
      spec.find === c.FIND_RANGE
        ? addRange(spec, begin, request, out)
        : addCounted(spec, begin, request, out);
    if (!found) {
      out.count = 0;
      return FIND_MALFORMED;
    }
  }
  return out.count;
}

/** The index that the specification begins at; 0 when its keyword is not in the request. */
function beginOf(spec: c.KeySpec, request: ArgumentView): number {
  if (spec.begin === c.BEGIN_INDEX) return spec.beginIndex;
  // A keyword as the last argument has no key after it and is not looked at, as in Redis.
  const forward = spec.beginIndex >= 0;
  const from = forward ? spec.beginIndex : request.argc + spec.beginIndex;
  if (forward) {
    for (let i = from; i < request.argc - 1; i++) if (argumentIs(request, i, spec.keyword)) return i + 1;
  } else {
    for (let i = from; i > 0; i--) if (argumentIs(request, i, spec.keyword)) return i + 1;
  }
  return 0;
}

/** Adds first … last by steps; false when the request is too short for them. */
function addRange(spec: c.KeySpec, first: number, request: ArgumentView, out: KeyPositions): boolean {
  const { argc } = request;
  const step = spec.keyStep;
  let last = first + spec.lastKey;
  if (spec.lastKey < 0) {
    // "limit" says that keys are only the first part of the rest (XREAD: keys, then as many ids).
    last =
      spec.limit > 1 ? first + Math.trunc((argc - first) / spec.limit) + spec.lastKey : argc + spec.lastKey;
    // PFMERGE with a destination only: the second range is empty, and that is no mistake.
    if (last < first) return true;
  }
  if (last >= argc) return false;
  // Keys with a value each (MSET) and one value too few: the server refuses it, and a cut would hide that.
  if (step > 1 && spec.limit <= 1 && (last - first + 1) % step !== 0) return false;
  for (let i = first; i <= last; i += step) out.add(i);
  return true;
}

/** Adds as many keys as the request says; false when the number is none or says more than there are. */
function addCounted(spec: c.KeySpec, begin: number, request: ArgumentView, out: KeyPositions): boolean {
  const numberAt = begin + spec.keyNumIndex;
  if (numberAt >= request.argc) return false;
  const count = argumentAsCount(request, numberAt);
  if (count < 0) return false;
  const first = begin + spec.firstKey;
  if (first + (count - 1) * spec.keyStep >= request.argc) return false;
  for (let i = 0; i < count; i++) out.add(first + i * spec.keyStep);
  return true;
}
