/** Answers the routes of contract/failover-routes.ts. */
import { ShoalError } from "../../base/shoal-error.ts";
import type { FAILOVER_ROUTES, FailoverBody, SightsBody } from "../../contract/failover-routes.ts";
import { eventLines } from "../failover/event-streams.ts";
import type { ApiHandler, ApiRequest } from "./api.ts";
import { jsonResponse } from "./api.ts";
import type { ApiParts } from "./handlers.ts";

export function failoverHandlers(
  parts: ApiParts,
): Readonly<Record<keyof typeof FAILOVER_ROUTES, ApiHandler>> {
  const { failover, observers, streams } = parts.failover;
  return {
    failover: async ({ parameters, body }) =>
      jsonResponse(await failover.switchGroup(parameters["id"], body as FailoverBody)),
    events: (request) => {
      const events = eventLines(parts.events.since(sinceOf(request)));
      return jsonResponse({ controller: parts.id, events });
    },
    eventStream: (request) => {
      const headers = { "content-type": "application/x-ndjson", "cache-control": "no-store" };
      return new Response(streams.open(sinceOf(request)), { headers });
    },
    controllerSights: ({ parameters, body }) => {
      if (!parts.state.leading) {
        throw new ShoalError(
          "NOT_LEADER",
          `Cannot take what ${parameters["id"]} sees: this controller follows`,
        );
      }
      observers.accept(parameters["id"], body as SightsBody);
      return jsonResponse({});
    },
  };
}

/** @throws ShoalError INVALID_ARGUMENT */
function sinceOf(request: ApiRequest): number {
  const text = request.query("since") ?? "0";
  if (/^\d{1,16}$/.test(text)) return Number(text);
  throw new ShoalError(
    "INVALID_ARGUMENT",
    `Cannot show events since ${JSON.stringify(text)}: want an event's id`,
  );
}
