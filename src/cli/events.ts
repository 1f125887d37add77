/** `shoal events`: what happened, oldest first. */
import { ShoalError, errorCodeOf } from "../base/shoal-error.ts";
import type { ControllerTarget } from "../contract/client.ts";
import { fetchEvents, followEvents } from "../contract/failover-client.ts";
import type { EventLine } from "../contract/failover-routes.ts";
import { type CommandRow, CONTROL_OPTION, DIR_OPTION, type World } from "./command.ts";
import { controllerTarget } from "./target.ts";

/** Pause before the stream of a controller that has gone is opened again. */
const RETRY_MS = 500;

/** Shown with --all only: the map changes with most of the others. */
const QUIET_KINDS: ReadonlySet<string> = new Set(["map-changed"]);

export const eventsCommand: CommandRow = {
  name: "events",
  argument: "",
  summary: "Show what happened: failovers, servers and proxies that came and went",
  examples: [
    ["shoal events", "what the controller remembers"],
    ["shoal events --follow", "and what happens from now on, until Ctrl-C"],
    ["shoal events --follow --json", "one JSON text per line"],
  ],
  options: [
    DIR_OPTION,
    CONTROL_OPTION,
    { flags: "--follow", type: "flag", doc: "go on with what happens from now on" },
    {
      flags: "--since <id>",
      type: "int",
      min: 0,
      max: Number.MAX_SAFE_INTEGER,
      doc: "only events after this one",
    },
    { flags: "--all", type: "flag", doc: "also each new version of the map" },
  ],
  async run(world, options) {
    const since = typeof options.since === "number" ? options.since : 0;
    const wanted = (event: EventLine): boolean => options.all === true || !QUIET_KINDS.has(event.kind);
    const target = await controllerTarget(world, options);
    if (options.follow === true) {
      const print = (event: EventLine): void => {
        if (wanted(event)) world.print(options.json ? JSON.stringify(event) : formatEvent(event));
      };
      await follow(world, target, since, print);
      return 0;
    }
    const { events } = await fetchEvents(world.http, target, since);
    const shown = events.filter(wanted);
    if (options.json) world.print(JSON.stringify(shown, null, 2));
    else world.print(shown.length === 0 ? "nothing has happened" : shown.map(formatEvent).join("\n"));
    return 0;
  },
};

/** Until Ctrl-C. A controller that goes away is waited for: this is mostly looked at while things fail. */
async function follow(
  world: World,
  target: ControllerTarget,
  since: number,
  print: (event: EventLine) => void,
): Promise<void> {
  const abort = new AbortController();
  const signal = world.machine.onStopSignal(() => abort.abort());
  let last = since;
  let reached = false;
  const onEvent = (event: EventLine): void => {
    reached = true;
    last = Math.max(last, event.id);
    print(event);
  };
  while (!abort.signal.aborted) {
    const failure = await followOnce(world, target, last, abort.signal, onEvent);
    if (abort.signal.aborted) break;
    // An address that was never right will not become so.
    if (!reached && failure instanceof ShoalError && errorCodeOf(failure) !== "TIMEOUT") throw failure;
    world.printError("the controller does not answer; waiting for it");
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
  signal.off();
}

/** Why it ended; null when the controller ended it in order. */
async function followOnce(
  world: World,
  target: ControllerTarget,
  since: number,
  signal: AbortSignal,
  onEvent: (event: EventLine) => void,
): Promise<unknown> {
  try {
    await followEvents(world.http, target, since, signal, onEvent);
    return null;
  } catch (error) {
    return error;
  }
}

/** "2026-03-01 10:00:00.123  failover-done  group=g1 from=… to=…". */
export function formatEvent({ atMs, kind, fields }: EventLine): string {
  const at = new Date(atMs).toISOString().replace("T", " ").replace("Z", "");
  const texts = Object.entries(fields).map(([name, value]) => {
    const text = String(value);
    return `${name}=${/[\s"]/.test(text) ? JSON.stringify(text) : text}`;
  });
  return `${at}  ${kind.padEnd(18)}  ${texts.join(" ")}`.trimEnd();
}
