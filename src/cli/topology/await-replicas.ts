/** Waits until replicas that were added follow their primary, and shows how the copy gets on. */
import { ShoalError } from "../../base/shoal-error.ts";
import type { ControllerTarget } from "../../contract/client.ts";
import { fetchServers } from "../../contract/group-client.ts";
import type { ServerList } from "../../contract/group-schemas.ts";
import type { OptionValues, World } from "../command.ts";
import { HintedError } from "../hinted-error.ts";
import { Progress } from "../progress.ts";
import { pause } from "../up/poll.ts";

const POLL_PERIOD_MS = 250;

/** Bound for the time in which nothing is copied. A copy that goes on may take as long as it needs. */
const STILL_MS_MAX = 60_000;

type ServerRow = ServerList["servers"][number];

/** @throws ShoalError CONFLICT when the controller will not wire one, TIMEOUT */
export async function awaitReplicas(
  world: World,
  target: ControllerTarget,
  options: OptionValues,
  addrs: readonly string[],
): Promise<void> {
  if (addrs.length === 0) return;
  const progress = new Progress(world, addrs.length === 1 ? `copying to ${addrs[0]}` : "copying", options);
  let movedMs = progress.elapsedMs;
  let readBytes = -1;
  try {
    for (;;) {
      const list = await fetchServers(world.http, target);
      const rows = list.servers.filter((server) => addrs.includes(server.addr));
      const waiting = rows.filter((server) => server.state !== "online");
      // One that is not in the list yet is as good as waiting: the answer may come from a controller that
      // lags.
      if (rows.length === addrs.length && waiting.length === 0) return;
      refuseProblem(list, addrs);
      const step = stepOf(list, rows);
      if (step.done !== readBytes) movedMs = progress.elapsedMs;
      readBytes = step.done;
      progress.update({ ...step, detail: waiting.map((row) => `${row.addr} ${row.state}`).join(", ") });
      if (progress.elapsedMs - movedMs > STILL_MS_MAX) throw stillness(waiting);
      await pause(POLL_PERIOD_MS);
    }
  } finally {
    progress.end();
  }
}

/** While its server only starts up there is nothing to count yet. */
function stepOf(
  list: ServerList,
  rows: readonly ServerRow[],
): { done: number; total: number | null; unit: "bytes" } {
  let done = 0;
  let total = 0;
  for (const row of rows) {
    const primary = list.servers.find((one) => one.group === row.group && one.role === "primary");
    // Sent without a file in between, the length is not known: what the keys need in memory is near it.
    const expected = row.sync?.totalBytes ?? primary?.memoryBytes ?? 0;
    done += row.state === "online" ? expected : Math.min(row.sync?.readBytes ?? 0, expected);
    total += expected;
  }
  return { done, total: total > 0 ? total : null, unit: "bytes" };
}

/** What the controller will not do by itself won't come about by waiting. */
function refuseProblem(list: ServerList, addrs: readonly string[]): void {
  const problem = list.problems.find(({ addr }) => addrs.includes(addr));
  if (problem === undefined) return;
  throw new HintedError(
    "CONFLICT",
    `Cannot wait for ${problem.addr}: ${problem.message}`,
    `\`shoal server remove ${problem.addr}\` takes it out again.`,
  );
}

/** A server that is up, and yet no copy begins: a firewall, a wrong password, a full disk. */
function stillness(waiting: readonly ServerRow[]): ShoalError {
  const states = waiting.map((row) => `${row.addr} is ${row.state}`).join(", ");
  const seconds = STILL_MS_MAX / 1000;
  return new HintedError(
    "TIMEOUT",
    `Cannot wait any longer: nothing was copied for ${seconds} s, ${states}`,
    "The servers' logs say why; the controller goes on trying, `shoal server list` shows it.",
  );
}
