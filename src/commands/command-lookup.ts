/**
 * The built-in commands by name and by id. This is the first thing that happens to every request, so it makes
 * no object and no string; see `command-table.ts` for how.
 */
import type { ArgumentView } from "./argument-view.ts";
import { buildCommand } from "./build-command.ts";
import type { CommandData } from "./command-data.ts";
import { EXTRA_COMMANDS, EXTRA_SUBCOMMANDS } from "./command-overrides.ts";
import { CommandTable } from "./command-table.ts";
import { COMMAND_DATA } from "./command-table.generated.ts";
import type { Command } from "./command.ts";

/** All built-in commands and subcommands; COMMANDS[i].id is i. */
export const COMMANDS: readonly Command[] = buildAll();

const BUILT_IN = new CommandTable(COMMANDS.filter((command) => !command.name.includes("|")));

/** The built-in command whose name is bytes[start, end), in whatever case; null when the table has none. */
export function lookupCommand(bytes: Uint8Array, start: number, end: number): Command | null {
  return BUILT_IN.lookup(bytes, start, end);
}

/** The subcommand of `container` that bytes[start, end) names, in whatever case; null when there is none. */
export function lookupSubcommand(
  container: Command,
  bytes: Uint8Array,
  start: number,
  end: number,
): Command | null {
  return container.subcommands === null ? null : container.subcommands.lookup(bytes, start, end);
}

/**
 * What a request calls: the subcommand where the command has it, else the command itself (which, when it
 * carries FLAG_CONTAINER and argc > 1, means an unknown subcommand); null for a name that the table does not
 * know.
 */
export function commandOf(request: ArgumentView): Command | null {
  const command = BUILT_IN.lookup(request.bytes, request.argStart[0], request.argEnd[0]);
  if (command === null || command.subcommands === null || request.argc < 2) return command;
  const subcommand = command.subcommands.lookup(request.bytes, request.argStart[1], request.argEnd[1]);
  return subcommand ?? command;
}

/**
 * For tests, tools and documentation: by name as a string ("client|id"), lower case. Not for the hot path.
 */
export function commandByName(name: string): Command | null {
  return COMMANDS.find((command) => command.name === name) ?? null;
}

function buildAll(): Command[] {
  const byId: Command[] = [];
  let next = 0;
  for (const data of withExtras()) {
    const command = buildCommand(data, () => next++);
    byId.push(command, ...(command.subcommands?.commands ?? []));
  }
  return byId;
}

/** The generated data with what stands beside it by hand. */
function withExtras(): CommandData[] {
  const listed = COMMAND_DATA.map((data) => {
    const more = EXTRA_SUBCOMMANDS[data.name];
    if (more === undefined) return data;
    const openSubcommands = data.subcommands.length === 0;
    return { ...data, openSubcommands, subcommands: [...data.subcommands, ...more] };
  });
  return [...listed, ...EXTRA_COMMANDS];
}
