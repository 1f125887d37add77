/** `shoal status`: the whole cluster at a glance. */
import { fetchStatus } from "../contract/client.ts";
import { fetchMoves } from "../contract/move-client.ts";
import type { ClusterStatus } from "../contract/schemas.ts";
import { type CommandRow, CONTROL_OPTION, DIR_OPTION } from "./command.ts";
import { formatBytes, formatTable } from "./print-table.ts";
import { controllerTarget } from "./target.ts";
import { formatMoves } from "./topology/moves.ts";

export const statusCommand: CommandRow = {
  name: "status",
  argument: "",
  summary: "Show the cluster: controllers, proxies, groups, slots",
  examples: [
    ["shoal status", "the cluster of ./data"],
    ["shoal status --control http://10.0.0.5:18080 --json", "another one, for scripts"],
  ],
  options: [DIR_OPTION, CONTROL_OPTION],
  async run(world, options) {
    const target = await controllerTarget(world, options);
    const status = await fetchStatus(world.http, target);
    if (options.json) {
      world.print(JSON.stringify(status, null, 2));
      return 0;
    }
    // An older controller, or one that does not lead, may have nothing to say about them.
    const moves = await fetchMoves(world.http, target).catch(() => null);
    const moving = moves !== null && moves.moves.length > 0;
    world.print(moving ? `${formatStatus(status)}\n\n${formatMoves(moves)}` : formatStatus(status));
    return 0;
  },
};

export function formatStatus(status: ClusterStatus): string {
  const { map, slots } = status;
  const mapText = `map version ${map.version}, term ${map.term}`;
  const head = `cluster ${status.cluster}   ${mapText}   ${slots.count} slots`;
  const parts = [head, controllersTable(status), proxiesTable(status), groupsTable(status)];
  if (status.problems.length > 0) parts.push(["PROBLEMS", ...status.problems].join("\n"));
  return parts.join("\n\n");
}

function controllersTable(status: ClusterStatus): string {
  const rows = status.controllers.map((one) => {
    return [one.id, one.addr, String(one.pid), one.leader ? "leads" : "follows"];
  });
  return formatTable([["CONTROLLER", "ADDRESS", "PID", "ROLE"], ...rows]);
}

function proxiesTable(status: ClusterStatus): string {
  const rows = status.proxies.map((one) => {
    const workers = one.workers.map((worker) => worker.pid).join(" ");
    const map = one.map === null ? "-" : String(one.map.version);
    return [one.id, one.addr, String(one.pid), one.state, map, workers === "" ? "-" : workers];
  });
  return formatTable([["PROXY", "ADDRESS", "PID", "STATE", "MAP", "WORKER PIDS"], ...rows]);
}

/**
 * A line per server: the primary's with the group's state and slots, each replica's with its own state and
 * lag.
 */
function groupsTable(status: ClusterStatus): string {
  const rows: string[][] = [];
  for (const group of status.groups) {
    const { primary } = group;
    rows.push([
      group.id,
      "primary",
      primary.addr,
      pidText(primary.pid),
      stateText(group),
      "-",
      slotsOf(status, group.id),
    ]);
    for (const replica of group.replicas) {
      const lag = replica.lagBytes === null ? "-" : formatBytes(replica.lagBytes);
      rows.push(["", "replica", replica.addr, pidText(replica.pid), replica.state, lag]);
    }
  }
  return formatTable([["GROUP", "ROLE", "ADDRESS", "PID", "STATE", "LAG", "SLOTS"], ...rows]);
}

/** "ok", and what is not to be seen in the other columns. */
function stateText({ state, protected: safe, switching, replicas }: ClusterStatus["groups"][number]): string {
  if (switching !== undefined) return `${state}, ${switching}`;
  return safe === false && replicas.length > 0 && state !== "down" ? `${state}, unprotected` : state;
}

/** "0-340 512-600→g2": where slots are leaving, the arrow says where to. */
function slotsOf(status: ClusterStatus, group: string): string {
  const ranges = status.slots.ranges.filter((range) => range.group === group);
  const texts = ranges.map((range) => {
    const slots = range.from === range.to ? String(range.from) : `${range.from}-${range.to}`;
    return range.move === undefined ? slots : `${slots}→${range.move.to}`;
  });
  return texts.length === 0 ? "none" : texts.join(" ");
}

function pidText(pid: number | null): string {
  return pid === null ? "-" : String(pid);
}
