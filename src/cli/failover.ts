/** `shoal failover GROUP`: a replica takes over, as planned or because the primary is dead. */
import { hostname } from "node:os";
import { failover } from "../contract/failover-client.ts";
import type { FailoverAnswer } from "../contract/failover-routes.ts";
import { type CommandRow, CONTROL_OPTION, DIR_OPTION } from "./command.ts";
import { formatBytes } from "./print-table.ts";
import { controllerTarget } from "./target.ts";

export const failoverCommand: CommandRow = {
  name: "failover",
  argument: "<group>",
  summary: "Have a replica of a group take over",
  examples: [
    ["shoal failover g1", "as planned: requests wait for a moment, nothing is lost"],
    ["shoal failover g1 --to 127.0.0.1:16402", "this replica, and no other"],
    ["shoal failover g1 --force", "the primary is dead, and safe mode or a quorum keeps it so"],
  ],
  options: [
    DIR_OPTION,
    CONTROL_OPTION,
    {
      flags: "--to <address>",
      type: "text",
      doc: "the replica that shall take over",
      shownDefault: "the best one",
    },
    {
      flags: "--force",
      type: "flag",
      doc: "replace a primary that does not answer without asking anybody; what the replica lacks is lost",
    },
  ],
  async run(world, options, [group]) {
    const to = typeof options.to === "string" ? options.to : undefined;
    const target = await controllerTarget(world, options);
    const by = `${world.variables["USER"] ?? "somebody"}@${hostname()}`.slice(0, 128);
    const answer = await failover(world.http, target, group, { to, force: options.force === true, by });
    world.print(options.json ? JSON.stringify(answer, null, 2) : describe(answer));
    return 0;
  },
};

function describe({ group, kind, from, to, durationMs, heldMs, lostBytesMax }: FailoverAnswer): string {
  if (from === to) return `${group}: ${from} stays the primary`;
  const held = heldMs === null ? "" : `, requests waited ${Math.round(heldMs)} ms`;
  const loss =
    lostBytesMax === null ? "how much is lost is not known" : `at most ${formatBytes(lostBytesMax)} are lost`;
  const outcome = kind === "switchover" || lostBytesMax === 0 ? "nothing is lost" : loss;
  return `${group}: ${kind} from ${from} to ${to} in ${durationMs} ms${held}; ${outcome}`;
}
