/**
 * INFO: one server's worth of information about the whole cluster.
 *
 *   every group ─▶ its own INFO ─▶ section by section, field by field ─▶ one text, in the servers' order
 *
 * What the proxy knows better (process, clients, port) replaces the servers' fields; numbers that add up are
 * added; the rest is the first group's. A section of its own, "# Shoal", says what is behind it.
 */
import { bulk, verbatim } from "../../resp/reply-writer.ts";
import type { DataPlane } from "../data-plane.ts";
import type { Call } from "./call.ts";
import { argument } from "./call.ts";
import { askInWords, Gather } from "./gather.ts";
import { mergeInfoTexts } from "./info-merge.ts";
import { valueOf } from "./merges.ts";

/** Sections that the servers are not asked for. */
const SHOAL_SECTION = "shoal";

export function info(plane: DataPlane, call: Call): boolean {
  const { session, command, request } = call;
  const wanted = Array.from({ length: request.argc - 1 }, (_, i) => argument(call, i + 1).toLowerCase());
  const shoal =
    wanted.length === 0 ||
    wanted.some((word) => ["all", "everything", "default", SHOAL_SECTION].includes(word));
  const { protocol } = session.lane;
  const gather = new Gather(plane, session, command, ({ parts }) => {
    const texts = parts.filter((part) => part.error === null).map((part) => valueOf(part) as string);
    if (texts.length === 0) return gather.errorText(false);
    const own = shoal ? shoalSection(plane, parts.length, texts.length) : "";
    // The servers know who waits in a blocking command, the proxy who waits for a pause to end.
    const merged = mergeInfoTexts(texts, ownFields(plane)).replace(
      /^(blocked_clients:)(\d+)/m,
      (_field, name: string, count: string) => name + (Number(count) + plane.pause.heldCount),
    );
    return verbatim(protocol, own === "" ? merged : merged === "" ? own : `${merged}\r\n${own}`);
  });
  askInWords(gather, session.lane.groups, [infoRequest(wanted)]);
  return true;
}

/** The servers' sections; asked for ours only, they are asked for one that they don't have. */
function infoRequest(wanted: readonly string[]): string {
  const words = ["INFO", ...wanted].map((word) => bulk(word));
  return `*${words.length}\r\n${words.join("")}`;
}

/** What the proxy puts in place of the servers' values. */
function ownFields(plane: DataPlane): Record<string, string | number> {
  const { identity, config, env, clients, counters } = plane;
  return {
    redis_mode: "standalone",
    process_id: identity.pid,
    tcp_port: Number(/\d*$/.exec(config.listen)?.[0]),
    uptime_in_seconds: plane.tick,
    uptime_in_days: Math.floor(plane.tick / 86_400),
    server_time_usec: Math.round(env.clock.wallMs() * 1000),
    executable: "shoal",
    config_file: "",
    connected_clients: clients.count,
    maxclients: config.clients_max,
    total_connections_received: counters.connections,
    rejected_connections: counters.rejectedConnections,
    role: "master",
    cluster_enabled: 0,
  };
}

function shoalSection(plane: DataPlane, groups: number, answering: number): string {
  const { map } = plane.slots;
  const { counters, identity, config } = plane;
  const lines: readonly (readonly [string, string | number])[] = [
    ["shoal_version", identity.version],
    ["shoal_proxy", config.id],
    ["shoal_worker", identity.worker],
    ["shoal_cluster", map?.cluster ?? ""],
    ["shoal_map_version", map?.version ?? 0],
    ["shoal_map_term", map?.term ?? 0],
    ["shoal_slots", map?.slots ?? 0],
    ["shoal_groups", groups],
    ["shoal_groups_answering", answering],
    ["shoal_requests", plane.calls.reduce((sum, count) => sum + count, 0)],
    ["shoal_requests_failed", counters.failedRequests],
    ["shoal_requests_split", counters.splitRequests],
    ["shoal_cross_slot_errors", counters.crossSlotErrors],
    ["shoal_protocol_errors", counters.protocolErrors],
    ["shoal_server_timeouts", counters.serverTimeouts],
    ["shoal_clients_over_output_limit", counters.clientsOverOutput],
  ];
  return `# Shoal\r\n${lines.map(([key, value]) => `${key}:${value}\r\n`).join("")}`;
}

/**
 * Asks the servers for their version once: HELLO and INFO must name one that clients know. Until then it is
 * the reference's.
 */
export function learnServerVersion(plane: DataPlane, learned: (version: string) => void): void {
  const upstream = plane.slots.lane(0, 2).groups.find((each) => each.prepare());
  if (upstream === undefined) return;
  upstream.begin(
    {
      onReply: (_request, bytes, start, end) => {
        const text = String.fromCharCode(...bytes.subarray(start, Math.min(end, start + 4096)));
        const version = /(?:valkey|redis)_version:([\d.]+)/.exec(text)?.[1];
        if (version !== undefined) learned(version);
      },
      onFailure: () => undefined,
    },
    0,
  );
  upstream.output.appendLatin1("*2\r\n$4\r\nINFO\r\n$6\r\nserver\r\n");
  upstream.flushSoon();
}
