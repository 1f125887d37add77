/** `shoal events`: what happened, oldest first. */
import { ShoalError, errorCodeOf } from "../base/shoal-error.ts";
import { type ControllerTarget, fetchStatus } from "../contract/client.ts";
import { fetchEvents, followEvents } from "../contract/failover-client.ts";
import type { EventLine } from "../contract/failover-routes.ts";
import { type CommandRow, CONTROL_OPTION, DIR_OPTION, type World } from "./command.ts";
import { controllerTarget } from "./target.ts";

/** Pause before the stream of a controller that has gone is opened again. */
const RETRY_MS = 500;

/** A stream says something every second; a controller that is silent for longer has gone, or is frozen. */
const SILENT_MS = 4000;

/** For a controller that is asked who leads. */
const ASK_MS = 3000;

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

/**
 * Until Ctrl-C: of the controller that leads, because it is the one that acts. When it goes away, or another
 * one leads, that one is followed: this is mostly looked at while things fail.
 */
async function follow(
  world: World,
  target: ControllerTarget,
  since: number,
  print: (event: EventLine) => void,
): Promise<void> {
  const abort = new AbortController();
  const signal = world.machine.onStopSignal(() => abort.abort());
  const known = new Set([target.url]);
  let last = since;
  let reached = false;
  let avoided: string | null = null;
  while (!abort.signal.aborted) {
    const url: string = (await leaderOf(world, target, known, avoided)) ?? target.url;
    let heard = false;
    const failure = await followOnce(world, { ...target, url }, last, abort.signal, (event) => {
      heard = reached = true;
      last = Math.max(last, event.id);
      print(event);
    });
    if (abort.signal.aborted) break;
    // An address that was never right will not become so; of several controllers one may be hidden from us.
    const hopeless = failure instanceof ShoalError && errorCodeOf(failure) !== "TIMEOUT";
    if (!reached && hopeless && known.size === 1) throw failure;
    avoided = heard ? null : url;
    world.printError(`${url} does not answer, or leads no more; looking for the controller that leads`);
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
  signal.off();
}

/**
 * Asks those that are known, and learns of others; who answers itself, when nobody leads. Null: none
 * answers.
 */
async function leaderOf(
  world: World,
  target: ControllerTarget,
  known: Set<string>,
  avoided: string | null,
): Promise<string | null> {
  for (const url of known) {
    const status = await fetchStatus(world.http, { ...target, url, timeoutMs: ASK_MS }).catch(() => null);
    if (status === null) continue;
    for (const { addr } of status.controllers) known.add(`http://${addr}`);
    const leader = status.controllers.find((controller) => controller.leader);
    const leads = leader === undefined ? url : `http://${leader.addr}`;
    return leads === avoided ? url : leads;
  }
  return null;
}

/** Why it ended; null when the controller ended it in order, or said that it leads no more. */
async function followOnce(
  world: World,
  target: ControllerTarget,
  since: number,
  signal: AbortSignal,
  onEvent: (event: EventLine) => void,
): Promise<unknown> {
  const over = new AbortController();
  const end = (): void => over.abort();
  signal.addEventListener("abort", end);
  let alive = setTimeout(end, SILENT_MS);
  const onAlive = (): void => {
    clearTimeout(alive);
    alive = setTimeout(end, SILENT_MS);
  };
  try {
    const take = (event: EventLine): void => {
      onEvent(event);
      if (event.kind === "leader-lost") end();
    };
    await followEvents(world.http, target, since, over.signal, take, onAlive);
    return null;
  } catch (error) {
    return over.signal.aborted ? null : error;
  } finally {
    clearTimeout(alive);
    signal.removeEventListener("abort", end);
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
