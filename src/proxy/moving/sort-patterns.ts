/**
 * SORT … BY weight_* GET data_*: keys that no word of the call names. On a moving slot they must be pulled
 * too, so the elements are read first, and the keys made of them as a server does (sort.c,
 * lookupKeyByPattern).
 *
 * An element that somebody adds between the reading and the SORT brings a key with it that may not be here;
 * the SORT then sees it as missing. Whoever adds an element sets its weight first, mostly, and that pulls it.
 */
import * as c from "../../commands/command.ts";
import { KeyPositions } from "../../commands/key-positions.ts";
import { findSortPatterns } from "../../commands/special-key-finders.ts";
import { decodeReply } from "../../resp/reply-decoder.ts";
import type { DataPlane } from "../data-plane.ts";
import { requestOf } from "../dispatch/ask-groups.ts";
import { argument, type Call } from "../dispatch/call.ts";
import { listOf } from "../dispatch/fleet-values.ts";
import type { WantedKey } from "./wanted-keys.ts";

/** Elements of a list that is sorted by other keys while its slot moves. */
const SORT_ELEMENTS_MAX = 100_000;

export interface PatternSort {
  /** What is sorted. */
  readonly wanted: WantedKey & { readonly key: string };
  /** Latin-1: a character per byte. */
  readonly patterns: readonly string[];
  /** What may be an element by then, because a command of the same transaction may add it. */
  readonly added: readonly string[];
}

const positions = new KeyPositions();

/** The patterns of a SORT, as text; none for other commands. */
export function patternsOf(call: Call): string[] {
  if (call.command.finder !== c.FINDER_SORT) return [];
  const count = findSortPatterns(call.request, positions);
  return [...positions.at.subarray(0, count)].map((index) => argument(call, index));
}

/** The keys that `patterns` stand for: the element in the place of the "*", without a "->field" behind it. */
export function keysOfPatterns(patterns: readonly string[], elements: readonly string[]): Set<string> {
  const keys = new Set<string>();
  for (const pattern of patterns) {
    const star = pattern.indexOf("*");
    const arrow = pattern.indexOf("->", star + 1);
    // "->" at the very end is part of the key.
    const end = arrow < 0 || arrow + 2 === pattern.length ? pattern.length : arrow;
    for (const element of elements) keys.add(pattern.slice(0, star) + element + pattern.slice(star + 1, end));
  }
  return keys;
}

/** Reads the elements at the key's home, where the key is by now; `told` gets the keys, or an error. */
export function readPatternKeys(
  plane: DataPlane,
  sort: PatternSort,
  told: (keys: readonly WantedKey[], error: string | null) => void,
): void {
  const { slot, database, key } = sort.wanted;
  const home = plane.slots.lane(database, 2).homes[slot];
  if (!home.prepare()) {
    told([], home.refusal);
    return;
  }
  home.begin(
    {
      onReply: (_request, bytes, start, end) => {
        // Not a list, not there: SORT itself says so.
        const elements = [...listOf(decodeReply(bytes, start, end)).map(String), ...sort.added];
        if (elements.length > SORT_ELEMENTS_MAX) told([], TOO_MANY);
        else
          told(
            [...keysOfPatterns(sort.patterns, elements)].map((each) => ({ slot, database, key: each })),
            null,
          );
      },
      onFailure: (_request, text) => told([], text),
    },
    0,
  );
  home.output.appendLatin1(requestOf("SORT", key, "BY", "nosort"));
  home.flushSoon();
}

const TOO_MANY = `TRYAGAIN SORT of more than ${SORT_ELEMENTS_MAX} elements by other keys while they move`;
