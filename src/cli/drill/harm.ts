/**
 * Does the harm, and undoes it. What was killed is started again by those whose business it is: proxies and
 * controllers by the supervisor of `shoal up`, a server by `shoal up` when it is called again. What was only
 * stopped (SIGSTOP, dropped packets) goes on at the end of the drill in any case, also after Ctrl-C.
 *
 * A signal is sent only to the very process of the run record: pid and start time must fit.
 */
import { execFile } from "node:child_process";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { promisify } from "node:util";
import { ShoalError, errorTextOf } from "../../base/shoal-error.ts";
import { parseAddress } from "../../topology/cluster-map.ts";
import type { World } from "../command.ts";
import { HintedError } from "../hinted-error.ts";
import type { Victim } from "./victim.ts";

const run = promisify(execFile);

export interface Harm {
  /** What was done, one sentence. */
  readonly done: string;
  /** What happens next, or how to undo it. */
  readonly after: string;
  undo(): Promise<void>;
}

const NFT_TABLE = "shoal_drill";

/** @throws ShoalError CONFLICT when the process is gone, UNSUPPORTED where packets cannot be dropped */
export async function doHarm(world: World, victim: Victim): Promise<Harm> {
  const { drill, what, part } = victim;
  if (drill === "cut-off") return cutOff(victim);
  if (drill === "freeze-primary") {
    signal(world, victim, "SIGSTOP");
    const undo = async (): Promise<void> => void world.machine.signalProcess(part.process, "SIGCONT");
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

/** Drops what comes to the server's port and what it sends: connections stay open, and nothing arrives. */
async function cutOff({ what, part }: Victim): Promise<Harm> {
  const port = String(parseAddress(part.address).port);
  const [program, add, remove] = (await firewall(port)) ?? [];
  if (program === undefined || add === undefined || remove === undefined) {
    throw new HintedError(
      "UNSUPPORTED",
      `Cannot cut off ${what}: neither nft nor iptables is there, or we may not use it`,
      "Install nftables and run the drill as root; freeze-primary looks much the same to everybody else.",
    );
  }
  const undo = async (): Promise<void> => {
    for (const words of remove) await run(program, words).catch(() => {});
  };
  try {
    for (const words of add) await run(program, words);
  } catch (error) {
    await undo();
    throw new ShoalError(
      "UNSUPPORTED",
      `Cannot cut off ${what} with ${program}: ${errorTextOf(error)}`,
      error,
    );
  }
  return { done: `${what} is cut off (${program})`, after: "its packets pass again", undo };
}

/** Program, commands that drop the port's packets, commands that take that back; null when there is none. */
async function firewall(port: string): Promise<[string, string[][], string[][]] | null> {
  const works = (program: string, words: string[]): Promise<boolean> => {
    return run(program, words).then(
      () => true,
      () => false,
    );
  };
  if (await works("nft", ["list", "tables"])) {
    const chain = (hook: string, field: string): string[][] => [
      ["add", "chain", "inet", NFT_TABLE, hook, `{ type filter hook ${hook} priority 0 ; }`],
      ["add", "rule", "inet", NFT_TABLE, hook, "tcp", field, port, "drop"],
    ];
    const add = [
      ["add", "table", "inet", NFT_TABLE],
      ...chain("input", "dport"),
      ...chain("output", "sport"),
    ];
    return ["nft", add, [["delete", "table", "inet", NFT_TABLE]]];
  }
  if (!(await works("iptables", ["-S"]))) return null;
  const rule = (flag: string): string[][] => [
    [flag, "INPUT", "-p", "tcp", "--dport", port, "-j", "DROP"],
    [flag, "OUTPUT", "-p", "tcp", "--sport", port, "-j", "DROP"],
  ];
  return ["iptables", rule("-I"), rule("-D")];
}
