/** What the commands run on: the machine's processes, ports and signals. */
import type { Machine } from "../cli/machine.ts";
import { checkAddressFree, findFreePorts } from "../platform/processes/addresses.ts";
import { startProcess } from "../platform/processes/child-process.ts";
import { lockFolder, lockHolder } from "../platform/processes/folder-lock.ts";
import { identifyProcess, isRunning, signalProcess } from "../platform/processes/process-identity.ts";
import { onStopSignal } from "../platform/processes/signals.ts";

export const machine: Machine = {
  startProcess,
  identifyProcess,
  isRunning,
  signalProcess,
  checkAddressFree,
  findFreePorts,
  lockFolder,
  lockHolder,
  onStopSignal,
};
