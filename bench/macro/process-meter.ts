/** What the kernel says a process has used. Linux only. */
import { readdirSync, readFileSync } from "node:fs";

/** Length of a tick in /proc/PID/stat: USER_HZ, 100 on every architecture that Linux has kept. */
const TICK_NS = 10_000_000;

/** CPU time of a process at one moment. */
export interface CpuReading {
  /** User and system time of all threads that ever were, in ticks. */
  readonly ticks: number;
  /** By thread that lives: nanoseconds on a CPU. Empty where the kernel does not count them. */
  readonly threadNs: ReadonlyMap<string, number>;
}

export function readCpu(pid: number): CpuReading {
  // The name in parentheses may hold anything, so fields are counted from behind it.
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const ticks = Number(fields[11]) + Number(fields[12]);
  const threadNs = new Map<string, number>();
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const ns = readThreadNs(pid, thread);
    if (ns !== null) threadNs.set(thread, ns);
  }
  return { ticks, threadNs };
}

/**
 * CPU time between two readings in nanoseconds: exact when every thread of the first is still there, else to
 * a tick or two, because what a thread used that has ended is known in ticks only.
 */
export function cpuNsBetween(before: CpuReading, after: CpuReading): number {
  const lost = [...before.threadNs.keys()].some((thread) => !after.threadNs.has(thread));
  if (lost || before.threadNs.size === 0) return (after.ticks - before.ticks) * TICK_NS;
  let sum = 0;
  for (const [thread, ns] of after.threadNs) sum += ns - (before.threadNs.get(thread) ?? 0);
  return sum;
}

/** Resident memory in bytes. */
export function readRssBytes(pid: number): number {
  const match = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  if (match === null) throw new Error(`Cannot read the memory of process ${pid}: it has ended`);
  return Number(match[1]) * 1024;
}

/** The first field: time spent on the CPU. Null for a thread that has just ended, or a kernel without it. */
function readThreadNs(pid: number, thread: string): number | null {
  try {
    const ns = Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]);
    return Number.isFinite(ns) ? ns : null;
  } catch {
    return null;
  }
}
