/** What the commands run on: the machine's processes, ports and signals. */
import type { Machine } from "../cli/machine.ts";
import { systemClock } from "../platform/clock.ts";
import { PortableNet } from "../platform/portable/portable-net.ts";
import { checkAddressFree, findFreePorts } from "../platform/processes/addresses.ts";
import { startProcess } from "../platform/processes/child-process.ts";
import { lockFolder, lockHolder } from "../platform/processes/folder-lock.ts";
import { identifyProcess, isRunning, signalProcess } from "../platform/processes/process-identity.ts";
import { onStopSignal } from "../platform/processes/signals.ts";
import { systemRandom } from "../platform/random.ts";
import { systemTimers } from "../platform/timers.ts";
import type { VerifyEnv } from "../verify/worker.ts";

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

/** The consistency checker's own connections: to any server, so by the transport that runs everywhere. */
export const verifyEnv: VerifyEnv = {
  clock: systemClock,
  timers: systemTimers,
  random: systemRandom,
  net: new PortableNet(systemTimers),
};
