/** Starting a process and hearing of its end. */
import { type ChildProcess as NodeChild, type StdioOptions, spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync } from "node:fs";
import { dirname } from "node:path";
import { ShoalError, errorTextOf } from "../../base/shoal-error.ts";
import { killGroup } from "./process-identity.ts";

/** How a process ended: with a status, or by a signal. */
export interface ProcessEnd {
  readonly status: number | null;
  readonly signal: string | null;
}

export interface SpawnOptions {
  /** What to call it in errors: "redis-server of g1-1". */
  readonly what: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd?: string;
  /** File to which its output is appended; without it the output goes where ours goes. */
  readonly logFile?: string;
  /** A channel for messages (JSON both ways); the child must be Bun or Node too. */
  readonly messages?: boolean;
  /** A session of its own, so that Ctrl-C in our terminal does not reach it and it may outlive us. */
  readonly detached?: boolean;
}

/** A process that we started. */
export interface ChildProcess {
  readonly pid: number;
  /** Settles once it has ended; never rejects. */
  readonly ended: Promise<ProcessEnd>;
  /** Only with `messages`. Dropped when the channel is gone. */
  send(message: unknown): void;
  /** One receiver; the last one given counts. */
  onMessage(receive: (message: unknown) => void): void;
  /**
   * SIGKILL to a detached process reaches those that it started, too. Nothing happens when it has ended
   * already: our own child's pid is not used again before we have heard of its end.
   */
  kill(signal: NodeJS.Signals): void;
  /** Forgets it: our process may end while it runs on. */
  release(): void;
}

/** @throws ShoalError START_FAILED when there is no such program, DISK when the log can't be opened */
export async function startProcess(options: SpawnOptions): Promise<ChildProcess> {
  const log = options.logFile === undefined ? null : openLog(options.logFile);
  const output = log ?? "inherit";
  const stdio: StdioOptions = ["ignore", output, output];
  if (options.messages) stdio.push("ipc");
  let child: NodeChild;
  try {
    child = spawn(options.command, [...options.args], {
      cwd: options.cwd,
      stdio,
      detached: options.detached,
    });
  } catch (error) {
    throw startError(options, error);
  } finally {
    if (log !== null) closeSync(log);
  }
  const ended = new Promise<ProcessEnd>((resolve) => {
    child.once("exit", (status, signal) => resolve({ status, signal }));
  });
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", (error) => reject(startError(options, error)));
  });
  // Later errors (a signal or message that could not be sent) mean that it is gone, and `ended` says so.
  child.on("error", () => {});
  return wrap(child, ended, options.detached === true);
}

function wrap(child: NodeChild, ended: Promise<ProcessEnd>, detached: boolean): ChildProcess {
  const pid = child.pid as number;
  let receive: (message: unknown) => void = () => {};
  child.on("message", (message) => receive(message));
  return {
    pid,
    ended,
    send(message) {
      if (child.connected) child.send(message as object, () => {});
    },
    onMessage(next) {
      receive = next;
    },
    kill(signal) {
      if (child.exitCode !== null || child.signalCode !== null) return;
      if (detached && signal === "SIGKILL") killGroup(pid);
      child.kill(signal);
    },
    release() {
      if (child.connected) child.disconnect();
      child.unref();
    },
  };
}

function startError(options: SpawnOptions, error: unknown): ShoalError {
  const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
  const why = missing ? `no program ${options.command}` : errorTextOf(error);
  return new ShoalError("START_FAILED", `Cannot start ${options.what}: ${why}`, error);
}

function openLog(path: string): number {
  try {
    mkdirSync(dirname(path), { recursive: true });
    return openSync(path, "a", 0o600);
  } catch (error) {
    throw new ShoalError("DISK", `Cannot open ${path}: ${errorTextOf(error)}`, error);
  }
}
