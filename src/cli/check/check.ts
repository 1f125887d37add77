/**
 * `shoal check`: whether every slot, key, replica and map is where it should be. The leading controller does
 * the looking; this waits for it and prints. Exit status 0 when nothing was found, 1 when something was.
 */
import { ShoalError } from "../../base/shoal-error.ts";
import { fetchCheck, startCheck } from "../../contract/check-client.ts";
import type { CheckStatus } from "../../contract/check-routes.ts";
import { type CommandRow, CONTROL_OPTION, DIR_OPTION } from "../command.ts";
import { formatTable } from "../print-table.ts";
import { Progress } from "../progress.ts";
import { controllerTarget } from "../target.ts";
import { pause } from "../up/poll.ts";

/** Something is not as it should be. */
const EXIT_STATUS_FOUND = 1;
const POLL_MS = 200;
/** Keys that are printed one by one; JSON has more. */
const KEYS_SHOWN = 20;

export const checkCommand: CommandRow = {
  name: "check",
  argument: "",
  summary: "Look whether every slot, key, replica and map is where it should be",
  examples: [
    ["shoal check", "scans every primary; status 0 when all is well, 1 when something was found"],
    ["shoal check --fix", "brings keys home that lie elsewhere and only there"],
  ],
  options: [
    { flags: "--fix", type: "flag", doc: "move keys home that are alone; never overwrites anything" },
    DIR_OPTION,
    CONTROL_OPTION,
  ],
  async run(world, options) {
    const target = await controllerTarget(world, options);
    const progress = new Progress(world, "checking", options);
    let status = await startCheck(world.http, target, options.fix === true);
    try {
      while (status.state === "running") {
        const { keysScanned: done, keysTotal, phase } = status;
        progress.update({ done, total: Math.max(keysTotal, done), unit: "keys", detail: phase });
        await pause(POLL_MS);
        status = await fetchCheck(world.http, target, status.id);
      }
    } finally {
      progress.end();
    }
    if (status.state === "failed") {
      throw new ShoalError(
        "CONFLICT",
        `Cannot finish check ${status.id}: ${status.error ?? "it was stopped"}`,
      );
    }
    world.print(options.json ? JSON.stringify(status, null, 2) : formatCheck(status));
    return status.clean ? 0 : EXIT_STATUS_FOUND;
  },
};

export function formatCheck(status: CheckStatus): string {
  const seconds = (status.elapsedMs / 1000).toFixed(1);
  const keys = status.keysScanned.toLocaleString("en");
  const scanned = `${keys} keys of ${status.servers} primaries in ${seconds} s`;
  const parts = [`${status.clean ? "All is well" : "Something is not as it should be"}: ${scanned}.`];
  if (status.moved > 0) parts.push(`${status.moved.toLocaleString("en")} keys were brought home.`);
  if (status.problems.length > 0) {
    parts.push(formatTable([["WHAT", "FOUND"], ...status.problems.map(({ kind, text }) => [kind, text])]));
  }
  const left = status.keys.filter((key) => key.state !== "moved").slice(0, KEYS_SHOWN);
  if (left.length > 0) {
    const rows = left.map(({ shown, db, slot, server, home, state }) => {
      return [shown, String(db), String(slot), server, home, state];
    });
    parts.push(formatTable([["KEY", "DB", "SLOT", "IS AT", "HOME", "STATE"], ...rows]));
    if (!status.fix && left.some((key) => key.state === "alone")) {
      parts.push("`shoal check --fix` brings home what is alone.");
    }
  }
  return parts.join("\n\n");
}
