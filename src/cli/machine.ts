/** What the commands ask of the machine besides files; apps/shoal.ts hands in platform/processes. */

/** A process for ever: a pid is used again, a pid with its start is not. */
export interface ProcessIdentity {
  readonly pid: number;
  readonly startedAt: string;
}

export interface ChildProcess {
  readonly pid: number;
  /** Settles once it has ended; never rejects. */
  readonly ended: Promise<{ readonly status: number | null; readonly signal: string | null }>;
  send(message: unknown): void;
  onMessage(receive: (message: unknown) => void): void;
  kill(signal: NodeJS.Signals): void;
  /** Forgets it, so that this process may end while it runs on. */
  release(): void;
}

export interface StartOptions {
  /** What to call it in errors. */
  readonly what: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd?: string;
  readonly logFile?: string;
  readonly messages?: boolean;
  readonly detached?: boolean;
}

export interface Machine {
  /** @throws ShoalError START_FAILED, DISK */
  startProcess(options: StartOptions): Promise<ChildProcess>;
  /** Null when no process has the pid. */
  identifyProcess(pid: number): ProcessIdentity | null;
  isRunning(identity: ProcessIdentity): boolean;
  /** Whether the very process still ran and was sent the signal. */
  signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): boolean;
  /** @throws ShoalError ADDRESS_IN_USE naming who has it */
  checkAddressFree(host: string, port: number): Promise<void>;
  /** @throws ShoalError LIMIT */
  findFreePorts(host: string, from: number, count: number, taken: ReadonlySet<number>): Promise<number[]>;
  /** @throws ShoalError CONFLICT when a living process has it */
  lockFolder(path: string): { release(): void };
  lockHolder(path: string): ProcessIdentity | null;
  /** Calls `run` for each SIGINT, SIGTERM or SIGHUP, with how many came before it. */
  onStopSignal(run: (signal: string, earlier: number) => void): { off(): void };
}
