/**
 * Ranges of slots as lists: read, written, counted, handed over. Pure. A list of a topology covers every
 * slot once and in order; {@link assignSlots} keeps it so, and joins neighbours that say the same, because
 * the list travels to every proxy with every map.
 */
import { ShoalError } from "../base/shoal-error.ts";
import type { SlotRange } from "./cluster-map.ts";

/** Slots `from` to `to`, both included. */
export interface SlotSpan {
  readonly from: number;
  readonly to: number;
}

/** Ranges in one text; more is no line that a person typed. */
const SPANS_MAX = 16_384;

/**
 * Reads "0-99,200" or "7". @throws ShoalError INVALID_ARGUMENT for what is none, backwards, twice in it, or
 * not a slot of the cluster
 */
export function parseSlotSpans(text: string, slots: number): SlotSpan[] {
  const fail = (why: string): never => {
    throw new ShoalError("INVALID_ARGUMENT", `Cannot use slots ${JSON.stringify(text)}: ${why}`);
  };
  const parts = text.split(",");
  if (parts.length > SPANS_MAX) fail(`more than ${SPANS_MAX} ranges`);
  const spans = parts.map((part) => {
    const match = /^\s*(\d{1,6})(?:\s*-\s*(\d{1,6}))?\s*$/.exec(part);
    if (match === null) return fail("want a slot or a range, like 7 or 0-99 or 0-99,200");
    const from = Number(match[1]);
    const to = match[2] === undefined ? from : Number(match[2]);
    if (to < from) fail(`${from} is behind ${to}`);
    if (to >= slots) fail(`the last slot is ${slots - 1}`);
    return { from, to };
  });
  spans.sort((a, b) => a.from - b.from);
  for (let i = 1; i < spans.length; i++) {
    if (spans[i].from <= spans[i - 1].to) fail(`slot ${spans[i].from} stands in it twice`);
  }
  return spans;
}

/** "0-99 200"; "none" when there is none. */
export function formatSlotSpans(spans: readonly SlotSpan[]): string {
  if (spans.length === 0) return "none";
  return spans.map(({ from, to }) => (from === to ? String(from) : `${from}-${to}`)).join(" ");
}

export function countSlots(spans: readonly SlotSpan[]): number {
  return spans.reduce((sum, { from, to }) => sum + to - from + 1, 0);
}

/** The parts of `ranges` that lie within `span`, cut to it. */
export function cutRanges<Range extends SlotSpan>(ranges: readonly Range[], span: SlotSpan): Range[] {
  return ranges
    .filter((range) => range.from <= span.to && range.to >= span.from)
    .map((range) => ({
      ...range,
      from: Math.max(range.from, span.from),
      to: Math.min(range.to, span.to),
    }));
}

/** `ranges` with the slots of `span` belonging to `group`, without a move. */
export function assignSlots(ranges: readonly SlotRange[], span: SlotSpan, group: string): SlotRange[] {
  const last = ranges.length === 0 ? -1 : ranges[ranges.length - 1].to;
  return joinRanges([
    ...cutRanges(ranges, { from: 0, to: span.from - 1 }),
    { from: span.from, to: span.to, group },
    ...cutRanges(ranges, { from: span.to + 1, to: last }),
  ]);
}

/** Neighbours that say the same become one range. */
export function joinRanges(ranges: readonly SlotRange[]): SlotRange[] {
  const joined: SlotRange[] = [];
  for (const range of ranges) {
    const last = joined[joined.length - 1];
    const same =
      last !== undefined &&
      last.to + 1 === range.from &&
      last.group === range.group &&
      last.move?.to === range.move?.to &&
      last.move?.phase === range.move?.phase;
    if (same) joined[joined.length - 1] = { ...last, to: range.to };
    else joined.push(range);
  }
  return joined;
}

/** Slots in ascending order as spans: [1, 2, 3, 7] is 1-3 and 7. */
export function spansOf(slots: Iterable<number>): SlotSpan[] {
  const spans: Array<{ from: number; to: number }> = [];
  for (const slot of slots) {
    const last = spans[spans.length - 1];
    if (last !== undefined && last.to + 1 === slot) last.to = slot;
    else spans.push({ from: slot, to: slot });
  }
  return spans;
}
