/** All commands, in the order of the help. */
import type { CommandRow } from "./command.ts";
import { checkCommand } from "./check/check.ts";
import { controllerCommand, proxyCommand } from "./daemon-commands.ts";
import { downCommand } from "./down.ts";
import { drillCommand } from "./drill/drill.ts";
import { eventsCommand } from "./events.ts";
import { failoverCommand } from "./failover.ts";
import { slotCommand } from "./slot.ts";
import { statusCommand } from "./status.ts";
import { groupAddCommand, groupListCommand, groupRemoveCommand } from "./topology/group.ts";
import {
  movesCancelCommand,
  movesCommand,
  movesLimitCommand,
  movesPauseCommand,
  movesResumeCommand,
} from "./topology/moves.ts";
import { optionsListCommand, optionsSetCommand } from "./topology/options.ts";
import { proxyForgetCommand } from "./topology/proxies.ts";
import { groupDrainCommand, rebalanceCommand } from "./topology/rebalance.ts";
import {
  serverAddCommand,
  serverListCommand,
  serverRemoveCommand,
  serverZoneCommand,
} from "./topology/server.ts";
import { slotAssignCommand, slotListCommand, slotMoveCommand } from "./topology/slots.ts";
import { upCommand } from "./up/up.ts";
import { verifyCommand } from "./verify/verify.ts";

export const COMMANDS: readonly CommandRow[] = [
  upCommand,
  downCommand,
  statusCommand,
  groupAddCommand,
  groupRemoveCommand,
  groupDrainCommand,
  groupListCommand,
  serverAddCommand,
  serverRemoveCommand,
  serverListCommand,
  serverZoneCommand,
  slotCommand,
  slotListCommand,
  slotMoveCommand,
  slotAssignCommand,
  rebalanceCommand,
  movesCommand,
  movesPauseCommand,
  movesResumeCommand,
  movesCancelCommand,
  movesLimitCommand,
  failoverCommand,
  eventsCommand,
  optionsListCommand,
  optionsSetCommand,
  checkCommand,
  verifyCommand,
  drillCommand,
  proxyCommand,
  proxyForgetCommand,
  controllerCommand,
];

/** What a family of commands is about, where none of them is the family's own. */
export const FAMILY_SUMMARIES: Readonly<Record<string, string>> = {
  group: "Groups of servers: add, remove, drain, list",
  server: "Single servers: add and remove replicas, list, zone",
  options: "Settings of the whole cluster: list, set",
};
