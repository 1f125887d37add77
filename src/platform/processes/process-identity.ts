/**
 * Which process a pid means. Pids are used again, so a pid alone is never a reason to send a signal: it
 * goes together with the moment at which its process started.
 */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";

/** A process, for ever. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Differs between two processes that had the same pid; opaque. */
  readonly startedAt: string;
}

/** The identity of the living process with this pid, or null when there is none (zombies count as none). */
export function identifyProcess(pid: number): ProcessIdentity | null {
  if (!Number.isInteger(pid) || pid < 1) return null;
  const startedAt = process.platform === "linux" ? startOnLinux(pid) : startElsewhere(pid);
  return startedAt === null ? null : { pid, startedAt };
}

/** Whether the very process that was identified still runs. */
export function isRunning(identity: ProcessIdentity): boolean {
  return identifyProcess(identity.pid)?.startedAt === identity.startedAt;
}

/**
 * Sends the signal if the very process still runs; whether it was sent comes back. SIGKILL goes to its
 * whole group: what it started has nobody left to stop it.
 */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (!isRunning(identity)) return false;
  try {
    if (signal === "SIGKILL") killGroup(identity.pid);
    process.kill(identity.pid, signal);
    return true;
  } catch {
    return false;
  }
}

/** Kills the processes of the group that the process leads; when it leads none, nobody. */
export function killGroup(leader: number): void {
  try {
    process.kill(-leader, "SIGKILL");
  } catch {
    // No such group.
  }
}

/**
 * What the process was started as, for messages: "redis-server 127.0.0.1:6379"; empty when it can't be
 * read.
 */
export function describeProcess(pid: number): string {
  try {
    const line = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim();
    return line.length > 80 ? `${line.slice(0, 77)}...` : line;
  } catch {
    return "";
  }
}

/**
 * Clock ticks from boot to the process's start (field 22 of stat), with the boot's id: ticks begin anew
 * with each boot.
 */
function startOnLinux(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name stands in brackets and may hold anything, so the fields are counted from the last bracket:
    // state is 3.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    if (fields[0] === "Z" || fields[0] === "X") return null;
    return `${bootId()}:${fields[19]}`;
  } catch {
    return null;
  }
}

let cachedBootId: string | null = null;

function bootId(): string {
  cachedBootId ??= readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  return cachedBootId;
}

function startElsewhere(pid: number): string | null {
  try {
    const line = execFileSync("ps", ["-o", "stat=,lstart=", "-p", String(pid)], { encoding: "utf8" }).trim();
    return line === "" || line.startsWith("Z") ? null : line.slice(line.indexOf(" ")).trim();
  } catch {
    return null;
  }
}
