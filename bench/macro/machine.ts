/** Where the numbers were measured. */
import { execFileSync } from "node:child_process";
import { cpus, loadavg, release, totalmem } from "node:os";
import { VERSION } from "../../src/apps/version.ts";

export interface Machine {
  readonly cores: number;
  readonly cpu: string;
  readonly memoryBytes: number;
  readonly kernel: string;
  /** Processes that wanted to run, averaged over the minute before: above 0.5 the numbers are noisy. */
  readonly loadBefore: number;
  readonly shoal: string;
  readonly bun: string;
  /** As the program says it; null when it is not there. */
  readonly redisServer: string | null;
  readonly nutcracker: string | null;
}

export function describeMachine(nutcrackerProgram: string | null): Machine {
  return {
    cores: cpus().length,
    cpu: cpus()[0]?.model ?? "unknown",
    memoryBytes: totalmem(),
    kernel: release(),
    loadBefore: loadavg()[0],
    shoal: VERSION,
    bun: Bun.version,
    redisServer: versionOf(Bun.which("redis-server") ?? "valkey-server", "--version"),
    nutcracker: nutcrackerProgram === null ? null : versionOf(nutcrackerProgram, "--version"),
  };
}

/** The first thing that looks like a version in what the program prints; nutcracker prints it to stderr. */
function versionOf(program: string, option: string): string | null {
  try {
    const output = execFileSync("sh", ["-c", 'exec "$0" "$1" 2>&1', program, option], { encoding: "utf8" });
    return /\d+\.\d+(\.\d+)?/.exec(output)?.[0] ?? null;
  } catch {
    return null;
  }
}
