/** One handler per route of the contract. */
import { ShoalError } from "../../base/shoal-error.ts";
import { decodeBase64Url, percentDecodeBytes, rawQueryParameter } from "../../contract/key-encoding.ts";
import { openApiDocument } from "../../contract/openapi.ts";
import type { RouteName } from "../../contract/routes.ts";
import type { ClusterStatus, Health, ProxyReport, ReportAnswer, SlotAnswer } from "../../contract/schemas.ts";
import { slotOf } from "../../routing/slot-of.ts";
import type { ClusterMap } from "../../topology/cluster-map.ts";
import type { ClusterState } from "../cluster-state.ts";
import type { MapHub } from "../map-hub.ts";
import type { Mover } from "../moves/mover.ts";
import type { ProxyRegistry } from "../proxy-registry.ts";
import type { EventLog } from "../events.ts";
import type { FailoverParts } from "../failover/failover-parts.ts";
import type { TopologyParts } from "../topology/topology-parts.ts";
import type { Checker } from "../check/checker.ts";
import { type ApiHandler, jsonResponse } from "./api.ts";
import { checkHandlers } from "./check-handlers.ts";
import { failoverHandlers } from "./failover-handlers.ts";
import { groupHandlers } from "./group-handlers.ts";
import { moveHandlers } from "./move-handlers.ts";

/** What the handlers need of the controller. */
export interface ApiParts {
  readonly version: string;
  readonly id: string;
  readonly pid: number;
  readonly proxyLeaseMs: number;
  readonly state: ClusterState;
  readonly hub: MapHub;
  readonly mover: Mover;
  readonly proxies: ProxyRegistry;
  readonly checker: Checker;
  readonly topology: TopologyParts;
  readonly failover: FailoverParts;
  readonly events: EventLog;
  /** Where Sentinel clients are answered; null: nowhere. */
  readonly sentinel: string | null;
  /** @throws ShoalError NOT_FOUND while there is no cluster */
  status(): Promise<ClusterStatus>;
  metrics(): Promise<string>;
}

/** Each row of the contract has its handler; the type makes sure that none is missing. */
export function createHandlers(parts: ApiParts): Readonly<Record<RouteName, ApiHandler>> {
  return {
    ...groupHandlers(parts),
    ...moveHandlers(parts),
    ...failoverHandlers(parts),
    ...checkHandlers(parts),
    status: async () => jsonResponse(await parts.status()),
    map: () => jsonResponse(mapOf(parts.state)),
    mapStream: (request) => {
      const stream = parts.hub.open(request.query("proxy"));
      return new Response(stream, {
        headers: { "content-type": "application/x-ndjson", "cache-control": "no-store" },
      });
    },
    proxyReport: (request) => takeReport(parts, request.parameters["id"], request.body as ProxyReport),
    slot: (request) => jsonResponse(findSlot(mapOf(parts.state), keyOf(request.raw.url))),
    health: () => {
      const health = healthOf(parts);
      return jsonResponse(health, health.status === "ok" ? 200 : 503);
    },
    openApi: () => jsonResponse(openApiDocument(parts.version)),
    metrics: async () =>
      new Response(await parts.metrics(), { headers: { "content-type": "text/plain; version=0.0.4" } }),
  };
}

/** @throws ShoalError NOT_FOUND */
export function mapOf(state: ClusterState): ClusterMap {
  if (state.map === null) throw new ShoalError("NOT_FOUND", "Cannot show the map: there is no cluster yet");
  return state.map;
}

/** Only the leader keeps the leases, so that two controllers never disagree about who is alive. */
function takeReport(parts: ApiParts, id: string, report: ProxyReport): Response {
  const { leader, leading } = parts.state;
  if (!leading || leader === null) {
    const who = leader === null ? "nobody leads now" : `${leader.id} at ${leader.addr} leads`;
    throw new ShoalError("NOT_LEADER", `Cannot take the report of proxy ${id}: ${who}`);
  }
  const { version, term } = mapOf(parts.state);
  parts.proxies.accept(id, report);
  const answer: ReportAnswer = {
    term: leader.term,
    leader: leader.id,
    leaseMs: parts.proxyLeaseMs,
    map: { version, term },
  };
  return jsonResponse(answer);
}

/** The key's bytes, read from the raw URL: see contract/key-encoding.ts. */
function keyOf(url: string): Uint8Array {
  const key = rawQueryParameter(url, "key");
  if (key !== null) return percentDecodeBytes(key);
  const key64 = rawQueryParameter(url, "key64");
  if (key64 !== null) return decodeBase64Url(key64);
  throw new ShoalError("INVALID_ARGUMENT", "Cannot tell the slot: want ?key=… or ?key64=…");
}

/** The same function that the proxies route by. */
function findSlot(map: ClusterMap, key: Uint8Array): SlotAnswer {
  const slot = slotOf(key, 0, key.length, map.slots - 1);
  // Both are there in a valid map, and no other is ever in force.
  const range = map.ranges.find(({ from, to }) => from <= slot && slot <= to) as ClusterMap["ranges"][number];
  const group = map.groups.find(({ id }) => id === range.group) as ClusterMap["groups"][number];
  return { slot, group: group.id, primary: group.primary, move: range.move };
}

/** A follower is as healthy as a leader; both need to know who leads, and a cluster to serve. */
function healthOf(parts: ApiParts): Health {
  const { leader, leading, map } = parts.state;
  return {
    status: leader === null || map === null ? "starting" : "ok",
    id: parts.id,
    pid: parts.pid,
    leader: leading,
    term: leader?.term ?? 0,
    ...(parts.sentinel === null ? {} : { sentinel: parts.sentinel }),
  };
}
