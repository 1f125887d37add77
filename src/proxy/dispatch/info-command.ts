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
  const textOf = (texts: readonly string[], groups: number, counts: ClientCounts): string => {
    const own = shoal ? shoalSection(plane, groups, texts.length) : "";
    const { paused_clients: paused, ...clients } = counts;
    // The servers know who waits in a blocking command, the proxy who waits for a pause to end.
    const merged = mergeInfoTexts(texts, { ...ownFields(plane), ...clients }).replace(
      /^(blocked_clients:)(\d+)/m,
      (_field, name: string, count: string) => name + (Number(count) + paused),
    );
    return verbatim(protocol, own === "" ? merged : merged === "" ? own : `${merged}\r\n${own}`);
  };
  const others = plane.peers.any ? plane.peers.ask({ kind: "client-counts" }) : null;
  const gather = new Gather(plane, session, command, ({ parts }) => {
    const texts = parts.filter((part) => part.error === null).map((part) => valueOf(part) as string);
    if (texts.length === 0) return gather.errorText(false);
    if (others === null) return textOf(texts, parts.length, clientCounts(plane));
    void others.then((answers) =>
      gather.finishWith(textOf(texts, parts.length, withOthers(clientCounts(plane), answers))),
    );
    return null;
  });
  askInWords(gather, session.lane.groups, [infoRequest(wanted)]);
  return true;
}

/** The servers' sections; asked for ours only, they are asked for one that they don't have. */
function infoRequest(wanted: readonly string[]): string {
  const words = ["INFO", ...wanted].map((word) => bulk(word));
  return `*${words.length}\r\n${words.join("")}`;
}

/** By INFO's names; `paused_clients` is a part of its blocked_clients. */
export type ClientCounts = Readonly<Record<string, number>>;

/** What the clients of this worker add to INFO, which speaks of the whole proxy. */
export function clientCounts(plane: DataPlane): ClientCounts {
  const { config, clients, counters, tracking, pause } = plane;
  return {
    connected_clients: clients.count,
    maxclients: config.clients_max,
    total_connections_received: counters.connections,
    tracking_clients: tracking.count,
    tracking_total_prefixes: tracking.prefixCount,
    rejected_connections: counters.rejectedConnections,
    paused_clients: pause.heldCount,
  };
}

/** With what the other workers have answered. */
function withOthers(own: ClientCounts, answers: readonly unknown[]): ClientCounts {
  const all = [own, ...(answers as readonly ClientCounts[])];
  const sum = (name: string): number => all.reduce((total, counts) => total + (counts[name] ?? 0), 0);
  return Object.fromEntries(Object.keys(own).map((name) => [name, sum(name)]));
}

/** What the proxy puts in place of the servers' values. */
function ownFields(plane: DataPlane): Record<string, string | number> {
  const { identity, config, env } = plane;
  return {
    redis_mode: "standalone",
    process_id: identity.pid,
    tcp_port: Number(/\d*$/.exec(config.listen)?.[0]),
    uptime_in_seconds: plane.tick,
    uptime_in_days: Math.floor(plane.tick / 86_400),
    server_time_usec: Math.round(env.clock.wallMs() * 1000),
    executable: "shoal",
    config_file: "",
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
    ["shoal_held_clients", plane.holding.clients],
    ["shoal_requests_held", counters.requestsHeld],
    ["shoal_holds_refused", counters.holdsRefused],
    ["shoal_reads_sent_again", counters.readsSentAgain],
    ["shoal_ack_waits", counters.ackWaits],
    ["shoal_unconfirmed_writes", counters.unconfirmedWrites],
    ["shoal_replica_reads", counters.replicaReads],
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
