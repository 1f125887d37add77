/** `shoal options`: the settings of the whole cluster. */
import { fetchOptions, setOptions } from "../../contract/group-client.ts";
import type { OptionList } from "../../contract/group-schemas.ts";
import { type CommandRow, CONTROL_OPTION, DIR_OPTION } from "../command.ts";
import { HintedError } from "../hinted-error.ts";
import { formatTable } from "../print-table.ts";
import { controllerTarget } from "../target.ts";

/** `--json` prints {options: [{name, value, set, default, doc}]}. */
export const optionsListCommand: CommandRow = {
  name: "options list",
  argument: "",
  summary: "Show every option of the cluster: its value, its default, what it is",
  examples: [["shoal options list", "those that were set have their default beside them"]],
  options: [DIR_OPTION, CONTROL_OPTION],
  async run(world, options) {
    const list = await fetchOptions(world.http, await controllerTarget(world, options));
    world.print(options.json ? JSON.stringify(list, null, 2) : formatOptions(list));
    return 0;
  },
};

/** All of them or none: the controller checks every name and value before it changes one. */
export const optionsSetCommand: CommandRow = {
  name: "options set",
  argument: "<name=value...>",
  summary: "Set options of the cluster; every proxy has them within a moment",
  examples: [
    ["shoal options set acks=replica", "a write is answered when a replica has it"],
    ["shoal options set hold_timeout_ms=5000 read_from=prefer-replica", "several at once"],
    ["shoal options set acks=", "the default again"],
  ],
  options: [DIR_OPTION, CONTROL_OPTION],
  async run(world, options, pairs) {
    const changes = parsePairs(pairs);
    const target = await controllerTarget(world, options);
    const list = await setOptions(world.http, target, { options: changes });
    const changed = { options: list.options.filter((row) => row.name in changes) };
    world.print(options.json ? JSON.stringify(list, null, 2) : formatOptions(changed));
    return 0;
  },
};

/** "acks=*=async" is acks and "*=async"; nothing behind the sign: the default. */
function parsePairs(pairs: readonly string[]): Record<string, string | null> {
  const changes: Record<string, string | null> = {};
  for (const pair of pairs) {
    const at = pair.indexOf("=");
    if (at < 1) {
      throw new HintedError(
        "INVALID_ARGUMENT",
        `Cannot set ${JSON.stringify(pair)}: want name=value`,
        "`shoal options list` shows every name and what it may be.",
      );
    }
    const value = pair.slice(at + 1);
    changes[pair.slice(0, at)] = value === "" ? null : value;
  }
  return changes;
}

/** What is set has its default beside it, so that a person sees what was changed. */
function formatOptions(list: OptionList): string {
  const rows = list.options.map((row) => {
    const value = row.set ? String(row.value) : `${String(row.value)} (default)`;
    return [row.name, value, row.set ? String(row.default) : "", row.doc];
  });
  return formatTable([["OPTION", "VALUE", "DEFAULT", "WHAT IT IS"], ...rows]);
}
