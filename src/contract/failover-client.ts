/** Typed calls of the routes in failover-routes.ts. */
import { ShoalError } from "../base/shoal-error.ts";
import type { HttpClient } from "../env/http.ts";
import { type ControllerTarget, callJson, openStream } from "./client.ts";
import {
  type EventLine,
  type EventList,
  FAILOVER_ROUTES,
  type FailoverAnswer,
  type FailoverBody,
  type SightsBody,
  eventSchema,
} from "./failover-routes.ts";
import { LineSplitter } from "./map-stream.ts";

/** A switch waits for servers several times. */
const FAILOVER_TIMEOUT_MS = 30_000;

/** @throws ShoalError CONFLICT when no replica may take over, and the usual ones */
export function failover(
  http: HttpClient,
  target: ControllerTarget,
  group: string,
  body: FailoverBody,
): Promise<FailoverAnswer> {
  const patient = { timeoutMs: FAILOVER_TIMEOUT_MS, ...target };
  const options = { parameters: { id: group }, body };
  return callJson(http, patient, FAILOVER_ROUTES.failover, FAILOVER_ROUTES.failover.answer, options);
}

export function fetchEvents(http: HttpClient, target: ControllerTarget, since = 0): Promise<EventList> {
  return callJson(http, target, FAILOVER_ROUTES.events, FAILOVER_ROUTES.events.answer, {
    query: `since=${since}`,
  });
}

/**
 * Calls `onEvent` for each event until `signal` ends it, or the controller does; `onAlive` for whatever
 * comes, which is something every second.
 */
export async function followEvents(
  http: HttpClient,
  target: ControllerTarget,
  since: number,
  signal: AbortSignal,
  onEvent: (event: EventLine) => void,
  onAlive: () => void = () => {},
): Promise<void> {
  const options = { query: `since=${since}`, signal, stream: true };
  const body = await openStream(http, target, FAILOVER_ROUTES.eventStream, options);
  const splitter = new LineSplitter((line) => onEvent(parseEvent(line)));
  const reader = body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    onAlive();
    splitter.push(value);
  }
}

export async function sendSights(
  http: HttpClient,
  target: ControllerTarget,
  controllerId: string,
  body: SightsBody,
): Promise<void> {
  const route = FAILOVER_ROUTES.controllerSights;
  await callJson(http, target, route, route.answer, { parameters: { id: controllerId }, body });
}

function parseEvent(line: string): EventLine {
  try {
    return eventSchema.parse(JSON.parse(line));
  } catch (error) {
    throw new ShoalError("PROTOCOL", `Cannot read an event: ${line.slice(0, 60)}`, error);
  }
}
