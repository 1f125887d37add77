/** A plan as a person reads it: what moves, and each group before and after. */
import type { RebalanceAnswer } from "../../contract/group-schemas.ts";
import { formatBytes, formatTable } from "../print-table.ts";

/** Lines of moves that are printed; the rest is counted. */
const MOVES_SHOWN_MAX = 24;

/** "about" stands before what was estimated from a sample. */
export function formatPlan(plan: RebalanceAnswer): string {
  const about = plan.measured.exact ? "" : "about ";
  const parts = [movesTable(plan), groupsTable(plan)];
  const { total } = plan;
  const keys = `${about}${total.keys.toLocaleString("en")} keys`;
  const text = `${total.slots} slots with ${keys} (${about}${formatBytes(total.bytes)}) move.`;
  const notes = plan.measured.notes.map((note) => `Note: ${note}`);
  return [...parts, [text, spreadText(plan), ...notes].join("\n")].join("\n\n");
}

/** In order of the slots. */
function movesTable(plan: RebalanceAnswer): string {
  const rows = plan.moves.slice(0, MOVES_SHOWN_MAX).map((move) => {
    const slots = move.from === move.to ? String(move.from) : `${move.from}-${move.to}`;
    const count = String(move.to - move.from + 1);
    return [slots, count, move.source, move.target, move.keys.toLocaleString("en"), formatBytes(move.bytes)];
  });
  const more = plan.moves.length - rows.length;
  const table = formatTable([["SLOTS", "COUNT", "FROM", "TO", "KEYS", "BYTES"], ...rows]);
  return more > 0 ? `${table}\n… and ${more} more ranges` : table;
}

/** Before → after for each group, also for those that keep what they have. */
function groupsTable(plan: RebalanceAnswer): string {
  const number = (before: number, after: number, show: (value: number) => string): string => {
    return `${show(before)} → ${show(after)}`;
  };
  const whole = (value: number): string => value.toLocaleString("en");
  const rows = plan.groups.map(({ id, share, draining, before, after }) => [
    id,
    draining ? `${share} (draining)` : String(share),
    number(before.slots, after.slots, whole),
    number(before.keys, after.keys, whole),
    number(before.bytes, after.bytes, formatBytes),
  ]);
  return formatTable([["GROUP", "WEIGHT", "SLOTS", "KEYS", "BYTES"], ...rows]);
}

/** "Spread of slots per weight: 0 to 512 (mean 341) before, 341 to 342 after." */
function spreadText(plan: RebalanceAnswer): string {
  const show = (value: number): string => {
    return plan.by === "memory" ? formatBytes(value) : Math.round(value).toLocaleString("en");
  };
  const { before, after } = plan.spread;
  const of = plan.by === "ops" ? "calls" : plan.by;
  const was = `${show(before.min)} to ${show(before.max)} (mean ${show(before.mean)}) before`;
  return `Spread of ${of} per weight: ${was}, ${show(after.min)} to ${show(after.max)} after.`;
}
