/**
 * Where one run of the benchmark lives: a temporary folder and the processes that were started, all of which
 * are gone when it is closed, also after Ctrl-C.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "../../test/support/until.ts";

/** A drain that takes longer is cut. */
const STOP_MS_MAX = 5000;
/** The end of a log says why a process did not start. */
const LOG_BYTES_SHOWN = 500;

/** A process that serves a port. */
export interface Served {
  readonly name: string;
  readonly port: number;
  readonly pid: number;
  stop(): Promise<void>;
}

export class Workbench {
  readonly folder = mkdtempSync(join(tmpdir(), "shoal-bench-"));
  readonly #children = new Set<ChildProcess>();

  constructor() {
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      process.once(signal, () => {
        this.#abandon();
        process.exit(signal === "SIGINT" ? 130 : 143);
      });
    }
  }

  /** Makes a folder of its own below the workbench's; its path comes back. */
  makeFolder(name: string): string {
    const path = join(this.folder, name);
    mkdirSync(path);
    return path;
  }

  writeFile(name: string, text: string): string {
    const path = join(this.folder, name);
    writeFileSync(path, text);
    return path;
  }

  /**
   * Starts a server and waits until its port takes connections. It may use as many descriptors as the machine
   * allows.
   * @throws Error with the end of what it printed, when it does not come to that
   */
  async serve(name: string, port: number, command: readonly string[]): Promise<Served> {
    const logPath = join(this.folder, `${name}-${port}.log`);
    const log = openSync(logPath, "a");
    const words = ["-c", 'ulimit -n "$(ulimit -Hn)"; exec "$@"', "sh", ...command];
    const child = spawn("sh", words, { stdio: ["ignore", log, log] });
    this.#children.add(child);
    try {
      await until(() => {
        if (hasEnded(child)) throw new Error("it has ended");
        return takesConnections(port);
      }, `${name} serves port ${port}`);
    } catch (error) {
      const printed = readFileSync(logPath, "utf8").slice(-LOG_BYTES_SHOWN);
      throw new Error(`Cannot start ${name}: it does not serve port ${port}: ${printed}`, { cause: error });
    }
    return { name, port, pid: child.pid as number, stop: () => this.#stop(child) };
  }

  async close(): Promise<void> {
    await Promise.all([...this.#children].map((child) => this.#stop(child)));
    rmSync(this.folder, { recursive: true, force: true });
  }

  async #stop(child: ChildProcess): Promise<void> {
    this.#children.delete(child);
    if (hasEnded(child)) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), STOP_MS_MAX);
    await ended;
    clearTimeout(timer);
  }

  /** Without waiting: for a process that is about to end. A proxy's workers end when their master has. */
  #abandon(): void {
    for (const child of this.#children) child.kill("SIGKILL");
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

function takesConnections(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
