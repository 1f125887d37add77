/**
 * Stopping a cluster's processes in order: proxies (they drain), the controller, then the servers (SIGTERM
 * lets them write their files). Each gets a bounded time, then SIGKILL.
 */
import type { PartKind, PartRecord } from "../folder/run-record.ts";
import type { Machine } from "../machine.ts";
import { pollUntil } from "./poll.ts";

/** In the order of the stop. Proxies drain up to their drain_timeout_ms (10 s) and need a moment more. */
const STOP_TIMEOUTS_MS: ReadonlyArray<readonly [PartKind, number]> = [
  ["proxy", 14_000],
  ["controller", 5000],
  // A primary waits up to 10 s for its replicas before it ends (shutdown-timeout).
  ["server", 20_000],
];

/** Bound for a process to be gone after SIGKILL. */
const KILL_TIMEOUT_MS = 5000;

export interface StopOptions {
  readonly parts: readonly PartRecord[];
  /** True once nobody wants to wait any more: the rest is killed. */
  readonly atOnce: () => boolean;
  readonly onStopped: (part: PartRecord, killed: boolean) => void;
}

/** Those that still ran come back, in the order in which they were stopped. */
export async function stopParts(machine: Machine, options: StopOptions): Promise<PartRecord[]> {
  const stopped: PartRecord[] = [];
  for (const [kind, timeoutMs] of STOP_TIMEOUTS_MS) {
    const running = options.parts.filter((part) => part.kind === kind && machine.isRunning(part.process));
    await Promise.all(
      running.map(async (part) => {
        const killed = await stopPart(machine, part, timeoutMs, options.atOnce);
        options.onStopped(part, killed);
      }),
    );
    stopped.push(...running);
  }
  return stopped;
}

/** Whether it had to be killed comes back. */
async function stopPart(
  machine: Machine,
  part: PartRecord,
  timeoutMs: number,
  atOnce: () => boolean,
): Promise<boolean> {
  const isGone = (): boolean => !machine.isRunning(part.process);
  machine.signalProcess(part.process, "SIGTERM");
  await pollUntil(timeoutMs, () => isGone() || atOnce());
  if (isGone()) return false;
  machine.signalProcess(part.process, "SIGKILL");
  await pollUntil(KILL_TIMEOUT_MS, isGone);
  return true;
}
