/**
 * The processes of one `shoal up`: starts them, notes each in run.json before anything else happens,
 * replaces proxies and controllers that die, stops all in order.
 *
 * A server that dies is *not* started again: its replica may be about to take over, and an empty or old
 * primary that comes back too early is how data gets lost. It is reported; the controller decides.
 * Invariant: while a part runs, run.json names it, so that even a killed supervisor leaves nothing that
 * can't be found.
 */
import { ShoalError } from "../../base/shoal-error.ts";
import { type ClusterFolder, lastLines } from "../folder/cluster-folder.ts";
import {
  type PartKind,
  type PartRecord,
  type RunRecord,
  removeRunRecord,
  writeRunRecord,
} from "../folder/run-record.ts";
import { HintedError } from "../hinted-error.ts";
import type { ChildProcess, Machine, ProcessIdentity } from "../machine.ts";
import { pause } from "./poll.ts";
import { stopParts } from "./stop-parts.ts";

/** A process to start. */
export interface PartPlan {
  readonly kind: PartKind;
  readonly id: string;
  /** host:port. */
  readonly address: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly logFile: string;
}

interface RunningPart {
  readonly plan: PartPlan;
  record: PartRecord | null;
  /** Deaths in a row, each within SETTLED_MS. */
  crashes: number;
  startedAtMs: number;
  /** It is being stopped on purpose. */
  leaving: boolean;
}

/** Having run for so long, a part's death is an accident and not a habit. */
const SETTLED_MS = 10_000;
const RESTART_PAUSE_MS_MIN = 100;
const RESTART_PAUSE_MS_MAX = 5000;

/** Lines of a log that an error quotes. */
const QUOTED_LINES = 6;

const KIND_WORDS = { server: "redis-server", controller: "controller", proxy: "proxy" } as const;

/** "proxy p1", for messages. */
export function partName(part: { kind: PartKind; id: string }): string {
  return `${KIND_WORDS[part.kind]} ${part.id}`;
}

export class Supervisor {
  readonly #machine: Machine;
  readonly #folder: ClusterFolder;
  readonly #control: string;
  readonly #tell: (text: string) => void;
  readonly #parts: RunningPart[] = [];
  #state: RunRecord["state"] = "starting";
  #writes: Promise<void> = Promise.resolve();
  /** Starts under way: a stop waits for them, so that none is missed. */
  readonly #launches = new Set<Promise<void>>();
  #atOnce = false;
  #fail: (error: Error) => void = () => {};
  /** Rejects when a part dies, or stop is asked for, before everything serves; never resolves. */
  readonly startFailure: Promise<never>;
  #requestStop: () => void = () => {};
  /** Resolves when stop is asked for. */
  readonly stopRequested: Promise<void>;

  constructor(machine: Machine, folder: ClusterFolder, control: string, tell: (text: string) => void) {
    this.#machine = machine;
    this.#folder = folder;
    this.#control = control;
    this.#tell = tell;
    this.startFailure = new Promise((_, reject) => (this.#fail = reject));
    // Somebody waits for it only while it starts.
    this.startFailure.catch(() => {});
    this.stopRequested = new Promise((resolve) => (this.#requestStop = resolve));
  }

  get parts(): PartRecord[] {
    return this.#parts.flatMap((part) => (part.record === null ? [] : [part.record]));
  }

  /** @throws ShoalError START_FAILED, DISK */
  async start(plan: PartPlan): Promise<void> {
    const part: RunningPart = { plan, record: null, crashes: 0, startedAtMs: 0, leaving: false };
    this.#parts.push(part);
    await this.#launch(part);
  }

  isRunning(id: string): boolean {
    return this.parts.some((part) => part.id === id && this.#machine.isRunning(part.process));
  }

  /** Stops one part for good: it is not started again, and run.json names it no more. */
  async stopPart(id: string): Promise<void> {
    const gone = this.#parts.filter((part) => part.plan.id === id);
    for (const part of gone) part.leaving = true;
    await stopParts(this.#machine, {
      parts: gone.flatMap((part) => (part.record === null ? [] : [part.record])),
      atOnce: () => this.#atOnce,
      onStopped: (part) => this.#tell(`${partName(part)} (pid ${part.process.pid}) stopped: taken out`),
    });
    for (const part of gone) this.#parts.splice(this.#parts.indexOf(part), 1);
    await this.#note();
  }

  /** Everything serves: from now on a death is repaired and not a failed start. */
  async markServing(): Promise<void> {
    this.#state = "serving";
    await this.#note();
  }

  /** Someone wants it to stop; asked for again, it is done at once. */
  requestStop(atOnce: boolean): void {
    if (atOnce) this.#atOnce = true;
    this.#requestStop();
    this.#fail(new ShoalError("CONFLICT", "Cannot finish the start: asked to stop"));
  }

  /** Proxies, controller, servers; settles when nothing is left. */
  async stop(): Promise<void> {
    this.#state = "stopping";
    await Promise.allSettled(this.#launches);
    await this.#note();
    await stopParts(this.#machine, {
      parts: this.parts,
      atOnce: () => this.#atOnce,
      onStopped: (part, killed) => {
        this.#tell(
          `${partName(part)} (pid ${part.process.pid}) ${killed ? "did not stop, killed" : "stopped"}`,
        );
      },
    });
    await this.#writes;
    removeRunRecord(this.#folder);
  }

  async #launch(part: RunningPart): Promise<void> {
    const launch = this.#launchNow(part);
    this.#launches.add(launch);
    try {
      await launch;
    } finally {
      this.#launches.delete(launch);
    }
  }

  async #launchNow(part: RunningPart): Promise<void> {
    const { plan } = part;
    const what = partName(plan);
    const { command, args, cwd, logFile } = plan;
    const child = await this.#machine.startProcess({ what, command, args, cwd, logFile, detached: true });
    const identity = this.#machine.identifyProcess(child.pid) ?? { pid: child.pid, startedAt: "ended" };
    part.startedAtMs = performance.now();
    part.record = { kind: plan.kind, id: plan.id, address: plan.address, process: identity };
    void child.ended.then((end) => this.#partEnded(part, identity, end));
    await this.#note();
  }

  async #partEnded(
    part: RunningPart,
    identity: ProcessIdentity,
    end: Awaited<ChildProcess["ended"]>,
  ): Promise<void> {
    if (this.#state === "stopping" || part.leaving) return;
    const how = end.signal ?? `status ${end.status}`;
    if (this.#state === "starting") {
      this.#fail(await this.#startError(part.plan, how));
      return;
    }
    const what = `${partName(part.plan)} (pid ${identity.pid}) ended by ${how}`;
    if (part.plan.kind === "server") {
      this.#tell(`${what}; not started again: its group goes on without it, the next \`shoal up\` starts it`);
      return;
    }
    await this.#restart(part, what);
  }

  async #restart(part: RunningPart, what: string): Promise<void> {
    if (performance.now() - part.startedAtMs >= SETTLED_MS) part.crashes = 0;
    const crashes = part.crashes++;
    const pauseMs =
      crashes === 0 ? 0 : Math.min(RESTART_PAUSE_MS_MIN * 2 ** (crashes - 1), RESTART_PAUSE_MS_MAX);
    if (pauseMs > 0) await pause(pauseMs);
    if (this.#state === "stopping" || part.leaving) return;
    try {
      await this.#launch(part);
      this.#tell(`${what}; started again (pid ${part.record?.process.pid})`);
    } catch (error) {
      this.#tell(`${what}; ${error instanceof Error ? error.message : String(error)}`);
      await this.#restart(part, partName(part.plan));
    }
  }

  async #startError(plan: PartPlan, how: string): Promise<ShoalError> {
    const lines = await lastLines(plan.logFile, QUOTED_LINES);
    const quoted = lines.length === 0 ? "it said nothing" : `its log ends with:\n    ${lines.join("\n    ")}`;
    return new HintedError(
      "START_FAILED",
      `Cannot start ${partName(plan)} on ${plan.address}: it ended by ${how}; ${quoted}`,
      `The whole log: ${plan.logFile}`,
    );
  }

  /** One write after the other, each with what is so at its time. */
  #note(): Promise<void> {
    this.#writes = this.#writes.then(() => {
      const supervisor = this.#machine.identifyProcess(process.pid) as ProcessIdentity;
      const { parts } = this;
      return writeRunRecord(this.#folder, { supervisor, state: this.#state, control: this.#control, parts });
    });
    return this.#writes;
  }
}
