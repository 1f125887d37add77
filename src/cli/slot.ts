/**
 * `shoal slot KEY…`: where keys live. The controller is asked, so that there is one place that knows the
 * function.
 */
import { fetchSlot } from "../contract/client.ts";
import { type CommandRow, CONTROL_OPTION, DIR_OPTION } from "./command.ts";
import { formatTable } from "./print-table.ts";
import { controllerTarget } from "./target.ts";

export const slotCommand: CommandRow = {
  name: "slot",
  argument: "<key...>",
  summary: "Tell slot and group of keys",
  examples: [
    ["shoal slot user:1 user:2", "slot, group and primary of each"],
    ["shoal slot '{user:1}:cart'", "what stands in braces decides alone"],
    [
      "shoal slot '{list}'",
      "a key that is named like a command (list, move, assign): in braces it has the same slot",
    ],
  ],
  options: [DIR_OPTION, CONTROL_OPTION],
  async run(world, options, keys) {
    const target = await controllerTarget(world, options);
    const encoder = new TextEncoder();
    const answers = [];
    for (const key of keys)
      answers.push({ key, ...(await fetchSlot(world.http, target, encoder.encode(key))) });
    if (options.json) {
      world.print(JSON.stringify(answers, null, 2));
      return 0;
    }
    const rows = answers.map((answer) => {
      const moving = answer.move === undefined ? "" : `→ ${answer.move.to}`;
      return [answer.key, String(answer.slot), answer.group, answer.primary, moving];
    });
    world.print(formatTable([["KEY", "SLOT", "GROUP", "PRIMARY"], ...rows]));
    return 0;
  },
};
