/** A folder and free ports for one cluster, and `shoal` run on it as a person would run it. */
import { type Subprocess, spawn } from "bun";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RunRecord } from "../../src/cli/folder/run-record.ts";
import { findFreePorts } from "../../src/platform/processes/addresses.ts";
import { isRunning } from "../../src/platform/processes/process-identity.ts";

const SHOAL = join(import.meta.dir, "../../bin/shoal");

export interface Outcome {
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
}

export class UpRig {
  readonly folder: string;
  readonly dir: string;
  /** Of the first proxy; the next ports are free as well. */
  readonly port: number;
  readonly controlPort: number;
  readonly serverPort: number;
  /** Everything that ever stood in run.json, so that a failing test leaves nothing behind. */
  readonly #seen = new Map<string, RunRecord["parts"][number]["process"]>();
  readonly #foreground: Subprocess[] = [];

  private constructor(folder: string, port: number) {
    this.folder = folder;
    this.dir = join(folder, "data");
    this.port = port;
    this.controlPort = port + 8;
    this.serverPort = port + 10;
  }

  static async create(): Promise<UpRig> {
    // A free port far from others': the range is chosen anew for each run, and each cluster lies within 40
    // ports.
    const start = 22_000 + Math.floor(Math.random() * 200) * 40;
    const [port] = await findFreePorts("127.0.0.1", start, 1, new Set());
    return new UpRig(mkdtempSync(join(tmpdir(), "shoal-up-")), port);
  }

  /** The options of a small cluster on this rig's ports. */
  get small(): string[] {
    return ["--groups", "2", "--replicas", "1", "--proxies", "2", ...this.ports];
  }

  get ports(): string[] {
    const { port, controlPort, serverPort } = this;
    return ["--port", `${port}`, "--control-port", `${controlPort}`, "--server-port", `${serverPort}`];
  }

  /** Runs `shoal COMMAND … --dir DIR` to its end; another --dir in `args` counts instead. */
  async run(command: string, ...args: string[]): Promise<Outcome> {
    const child = this.start(command, ...args);
    const [out, err, status] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    this.record();
    return { status: child.signalCode === null ? status : null, out, err };
  }

  start(command: string, ...args: string[]): Subprocess<"ignore", "pipe", "pipe"> {
    const dir = args.includes("--dir") ? [] : ["--dir", this.dir];
    const child = spawn([SHOAL, command, ...args, ...dir], {
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
    this.#foreground.push(child);
    return child;
  }

  /** run.json as it is now; null when nothing runs. */
  record(): RunRecord | null {
    const path = join(this.dir, "run.json");
    if (!existsSync(path)) return null;
    const record = JSON.parse(readFileSync(path, "utf8")) as RunRecord;
    for (const identity of [record.supervisor, ...record.parts.map((part) => part.process)]) {
      this.#seen.set(`${identity.pid}:${identity.startedAt}`, identity);
    }
    return record;
  }

  /** Those of everything ever seen that still run. */
  running(): number[] {
    return [...this.#seen.values()].filter(isRunning).map((identity) => identity.pid);
  }

  cleanUp(): void {
    this.record();
    for (const child of this.#foreground) child.kill("SIGKILL");
    for (const pid of this.running()) {
      process.kill(pid, "SIGKILL");
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}
