/** `shoal slot list`, `slot move`, `slot assign`: who owns which slots, with and without their keys. */
import { assignSlotsTo, fetchSlots, moveSlots } from "../../contract/group-client.ts";
import type { SlotList } from "../../contract/group-schemas.ts";
import { countSlots, formatSlotSpans, parseSlotSpans } from "../../topology/slot-ranges.ts";
import { type CommandRow, CONTROL_OPTION, DIR_OPTION, type OptionRow } from "../command.ts";
import { formatTable } from "../print-table.ts";
import { controllerTarget } from "../target.ts";
import { NO_WAIT_OPTION } from "./confirm.ts";
import { checkArrived, followMoves } from "./follow-moves.ts";
import { missingOption } from "./rebalance.ts";

const TO_OPTION: OptionRow = { flags: "--to <group>", type: "text", doc: "the group that shall have them" };

/** `--json` prints {count, ranges}. */
export const slotListCommand: CommandRow = {
  name: "slot list",
  argument: "",
  summary: "Show who owns which slots, and where they are moving to",
  examples: [["shoal slot list", "a line for each range"]],
  options: [DIR_OPTION, CONTROL_OPTION],
  async run(world, options) {
    const list = await fetchSlots(world.http, await controllerTarget(world, options));
    world.print(options.json ? JSON.stringify(list, null, 2) : formatSlots(list));
    return 0;
  },
};

/**
 * The controller moves, this command watches: killed, it leaves the moves running. `--json` prints {id,
 * slots, result}.
 */
export const slotMoveCommand: CommandRow = {
  name: "slot move",
  argument: "<range>",
  summary: "Move slots with their keys to a group, while clients read and write",
  examples: [
    ["shoal slot move 0-99 --to g2", "waits until they are there"],
    ["shoal slot move 7,20-29 --to g2 --no-wait", "several ranges; comes back when it has begun"],
  ],
  options: [
    TO_OPTION,
    {
      flags: "--force",
      type: "flag",
      doc: "also keys so large that they block their servers for longer than the limit",
    },
    NO_WAIT_OPTION,
    DIR_OPTION,
    CONTROL_OPTION,
  ],
  async run(world, options, [range]) {
    const group = options.to;
    if (typeof group !== "string") throw missingOption("slot move", "--to GROUP");
    const target = await controllerTarget(world, options);
    // The number of slots, to refuse a range here that is none.
    const { count } = await fetchSlots(world.http, target);
    const spans = parseSlotSpans(range, count).map((span) => ({ ...span, target: group }));
    const { id } = await moveSlots(world.http, target, { moves: spans, force: options.force === true });
    const wait = id !== null && options.wait !== false;
    const result = wait ? await followMoves(world, target, options, { id, spans, keysEstimated: 0 }) : null;
    if (options.json) {
      world.print(JSON.stringify({ id, slots: countSlots(spans), result }, null, 2));
    } else if (id === null) {
      world.print(`Nothing to move: group ${group} has slots ${formatSlotSpans(spans)} already.`);
    } else if (result === null) {
      world.print(`Moves ${id} have begun. \`shoal moves --watch\` shows how they go on.`);
    } else {
      const be = result.arrived === 1 ? "slot is" : "slots are";
      world.print(`${result.arrived} ${be} in group ${group}, after ${result.seconds.toFixed(1)} s.`);
    }
    if (result !== null) checkArrived(result);
    return 0;
  },
};

/**
 * For what a move can't do: slots of a group that is lost, or whose keys somebody has brought by other
 * means. No lock is taken, so a client that writes to these slots at that very moment may write to the old
 * group.
 */
export const slotAssignCommand: CommandRow = {
  name: "slot assign",
  argument: "<range>",
  summary: "Hand slots over to a group without moving a key",
  examples: [
    ["shoal slot assign 0-99 --to g2", "refused while another group holds keys of them"],
    ["shoal slot assign 0-99 --to g2 --abandon-keys", "their group is lost for good: go on without it"],
  ],
  options: [
    TO_OPTION,
    {
      flags: "--abandon-keys",
      type: "flag",
      doc: "leave keys of these slots behind where no client sees them, without looking for them",
    },
    DIR_OPTION,
    CONTROL_OPTION,
  ],
  async run(world, options, [range]) {
    const group = options.to;
    if (typeof group !== "string") throw missingOption("slot assign", "--to GROUP");
    const target = await controllerTarget(world, options);
    const { count } = await fetchSlots(world.http, target);
    const slots = parseSlotSpans(range, count);
    const abandonKeys = options.abandonKeys === true;
    const answer = await assignSlotsTo(world.http, target, { slots, to: group, abandonKeys });
    if (options.json) world.print(JSON.stringify(answer, null, 2));
    else
      world.print(
        `Slots ${formatSlotSpans(slots)} belong to group ${group} (map version ${answer.map.version}).`,
      );
    return 0;
  },
};

/** A line for each range; phase and target where slots are leaving. */
function formatSlots(list: SlotList): string {
  const rows = list.ranges.map(({ from, to, group, move }) => {
    const slots = from === to ? String(from) : `${from}-${to}`;
    const moving = move === undefined ? "" : `${move.phase} to ${move.to}`;
    return [slots, String(to - from + 1), group, moving];
  });
  return formatTable([["SLOTS", "COUNT", "GROUP", "MOVE"], ...rows]);
}
