/**
 * Does the harm, and undoes it. What was killed is started again by those whose business it is: proxies and
 * controllers by the supervisor of `shoal up`, a server by `shoal up` when it is called again. What was only
 * stopped (SIGSTOP, dropped packets) goes on at the end of the drill in any case, also when the drill is
 * killed (`guard.ts`).
 *
 * A signal is sent only to the very process of the run record: pid and start time must fit.
 */
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { ShoalError } from "../../base/shoal-error.ts";
import type { World } from "../command.ts";
import { cutOff } from "./cut-off.ts";
import { guarded } from "./guard.ts";
import type { Victim } from "./victim.ts";

export interface Harm {
  /** What was done, one sentence. */
  readonly done: string;
  /** What happens next, or how to undo it. */
  readonly after: string;
  undo(): Promise<void>;
}

/** @throws ShoalError CONFLICT when the process is gone, UNSUPPORTED where packets cannot be dropped */
export async function doHarm(world: World, victim: Victim): Promise<Harm> {
  const { drill, what, part } = victim;
  if (drill === "cut-off") {
    const { program, undo } = await cutOff(what, part.address);
    return { done: `${what} is cut off (${program})`, after: "its packets pass again", undo };
  }
  if (drill === "freeze-primary") {
    // The guard first: between the two nothing could be left frozen.
    const { undo } = await guarded([], [`kill -CONT ${part.process.pid}`]);
    try {
      signal(world, victim, "SIGSTOP");
    } catch (error) {
      await undo();
      throw error;
    }
    return { done: `${what} is frozen (SIGSTOP)`, after: "it was woken up again (SIGCONT)", undo };
  }
  // A worker lives by its master: killed alone, the master would be replaced and the worker drain in peace.
  if (drill === "kill-proxy") for (const pid of childrenOf(part.process.pid)) killChild(pid);
  signal(world, victim, "SIGKILL");
  const after =
    drill === "kill-primary"
      ? "`shoal up` does not start a server again by itself: `shoal down`, then `shoal up`, starts it"
      : "the supervisor of `shoal up` has started it again";
  return { done: `${what} was killed (SIGKILL, pid ${part.process.pid})`, after, undo: async () => {} };
}

function signal(world: World, { what, part }: Victim, name: "SIGKILL" | "SIGSTOP"): void {
  if (world.machine.signalProcess(part.process, name)) return;
  throw new ShoalError(
    "CONFLICT",
    `Cannot send ${name} to ${what}: process ${part.process.pid} is not running`,
  );
}

/** Where there is no /proc, the workers notice that their master is gone and end. */
function childrenOf(pid: number): number[] {
  if (!existsSync(`/proc/${pid}/task`)) return [];
  const threads = readdirSync(`/proc/${pid}/task`);
  const lists = threads.map((thread) => readFileSync(`/proc/${pid}/task/${thread}/children`, "utf8"));
  return lists.join(" ").split(" ").filter(Boolean).map(Number);
}

function killChild(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // Ended by itself in this very moment.
  }
}
