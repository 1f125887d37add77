/**
 * The HTTP API, version 1, as a table: the controller serves it, the clients call it, the description is
 * printed from it. Paths under /api/v1 keep their meaning; what breaks a client goes under /api/v2.
 */
import {
  clusterMapSchema,
  healthSchema,
  mapStreamLineSchema,
  proxyReportSchema,
  reportAnswerSchema,
  slotAnswerSchema,
  statusSchema,
} from "./schemas.ts";
import { CHECK_ROUTES } from "./check-routes.ts";
import { FAILOVER_ROUTES } from "./failover-routes.ts";
import { GROUP_ROUTES } from "./group-routes.ts";
import { MOVE_ROUTES } from "./move-routes.ts";
import { READ, type Route } from "./route.ts";

export type { Route } from "./route.ts";

/** Headers on every answer, so that a client always knows whom it talked to and under which term. */
export const ANSWER_HEADERS = {
  controller: "shoal-controller",
  leader: "shoal-leader",
  term: "shoal-term",
} as const;

export const ROUTES = {
  ...GROUP_ROUTES,
  ...MOVE_ROUTES,
  ...FAILOVER_ROUTES,
  ...CHECK_ROUTES,
  status: {
    ...READ,
    path: "/api/v1/status",
    summary: "The cluster as it is now: controllers, proxies, groups, slots",
    answer: statusSchema,
  },
  map: { ...READ, path: "/api/v1/map", summary: "The map in force", answer: clusterMapSchema },
  mapStream: {
    ...READ,
    path: "/api/v1/map/stream",
    summary: "The map at once and after every change, and a heartbeat each second, one JSON text per line",
    query: { proxy: "the id of the proxy that listens" },
    answerType: "application/x-ndjson",
    answer: mapStreamLineSchema,
  },
  proxyReport: {
    ...READ,
    method: "POST",
    path: "/api/v1/proxies/:id/report",
    summary: "A proxy's heartbeat: renews its lease and acknowledges a map",
    body: proxyReportSchema,
    answer: reportAnswerSchema,
  },
  slot: {
    ...READ,
    path: "/api/v1/slot",
    summary: "Slot and group of a key",
    query: {
      key: "the key, its bytes percent-encoded (a plus sign is a plus sign)",
      key64: "or the key's bytes in base64url",
    },
    answer: slotAnswerSchema,
  },
  health: {
    ...READ,
    path: "/healthz",
    summary: "200 when this controller serves, 503 while it starts",
    needsToken: false,
    answer: healthSchema,
  },
  openApi: {
    ...READ,
    path: "/openapi.json",
    summary: "This description",
    needsToken: false,
    answer: null,
  },
  metrics: {
    ...READ,
    path: "/metrics",
    summary: "Metrics in Prometheus's text format",
    answerType: "text/plain",
    answer: null,
  },
} as const satisfies Record<string, Route>;

export type RouteName = keyof typeof ROUTES;

/** Fills in path parameters. `routePath("/a/:id/b", { id: "x y" })` is "/a/x%20y/b". */
export function routePath(path: string, parameters: Readonly<Record<string, string>>): string {
  return path.replace(/:([a-z]+)/gi, (_, name: string) => encodeURIComponent(parameters[name]));
}
