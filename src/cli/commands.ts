/** All commands, in the order of the help. */
import type { CommandRow } from "./command.ts";
import { controllerCommand, proxyCommand } from "./daemon-commands.ts";
import { downCommand } from "./down.ts";
import { slotCommand } from "./slot.ts";
import { statusCommand } from "./status.ts";
import { upCommand } from "./up/up.ts";

export const COMMANDS: readonly CommandRow[] = [
  upCommand,
  downCommand,
  statusCommand,
  slotCommand,
  proxyCommand,
  controllerCommand,
];
