/** A worker's process as the master needs it; platform/processes starts the real ones, tests their own. */
import type { Env } from "../../env/env.ts";
import type { MasterMessage } from "./worker-messages.ts";

/** The master has no sockets of its own. */
export type MasterEnv = Pick<Env, "clock" | "timers" | "log">;

export interface WorkerEnd {
  /** Exit status, or null when a signal ended it. */
  readonly status: number | null;
  readonly signal: string | null;
}

export interface WorkerProcess {
  readonly pid: number;
  /** Settles when the process is gone; never rejects. */
  readonly ended: Promise<WorkerEnd>;
  send(message: MasterMessage): void;
  /** What is received is a `WorkerMessage`: it comes from a process of our own program. */
  onMessage(receive: (message: unknown) => void): void;
  kill(signal: "SIGTERM" | "SIGKILL"): void;
}

/** Starts the process of worker `index`; it does nothing before it is sent `start`. May reject. */
export type StartWorker = (index: number) => Promise<WorkerProcess>;

/** "status 1" or "SIGKILL", for logs. */
export function describeEnd(end: WorkerEnd): string {
  return end.signal ?? `status ${end.status}`;
}
