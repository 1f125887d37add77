/**
 * One line of CLIENT LIST and CLIENT INFO: the fields of Redis 7.0 in its order; what the proxy has no such
 * thing for is 0.
 */
import type { DataPlane } from "../data-plane.ts";
import type { Session } from "../downstream/session.ts";
import { CHANNEL, PATTERN, SHARD } from "../pubsub/topic-kind.ts";

/**
 * Redis's letters: a monitor, a listener, in MULTI, blocked, one that tracks, not to be evicted; "N" for
 * none of it.
 */
function flagsOf(session: Session): string {
  const { monitoring, listens, info } = session;
  const tracking = session.tracking?.letters ?? "";
  const states = `${session.transaction === null ? "" : "x"}${session.blocked === null ? "" : "b"}`;
  return `${monitoring ? "O" : ""}${listens ? "P" : ""}${states}${tracking}${info.noEvict ? "e" : ""}` || "N";
}

/**
 * `requestBytes`: the length of the request that the session is in, which a server counts as unread input.
 */
export function clientLine(plane: DataPlane, session: Session, requestBytes = 0): string {
  const { info, connection, lane } = session;
  const input = session.inputBytes + requestBytes;
  const output = connection.output.length;
  const fields: readonly (readonly [string, string | number])[] = [
    ["id", session.id],
    ["addr", connection.remoteAddress],
    ["laddr", connection.localAddress],
    ["fd", 0],
    ["name", info.name],
    ["age", plane.tick - info.connectedTick],
    ["idle", plane.tick - info.lastTick],
    ["flags", flagsOf(session)],
    ["db", lane.database],
    ["sub", session.subscriber?.topics[CHANNEL].size ?? 0],
    ["psub", session.subscriber?.topics[PATTERN].size ?? 0],
    ["ssub", session.subscriber?.topics[SHARD].size ?? 0],
    ["multi", session.transaction?.count ?? -1],
    ["qbuf", input],
    ["qbuf-free", 0],
    ["argv-mem", 0],
    ["multi-mem", 0],
    ["rbs", 0],
    ["rbp", 0],
    ["obl", output],
    ["oll", 0],
    ["omem", output],
    ["tot-mem", input + output],
    ["events", "r"],
    ["cmd", info.lastCommand?.name ?? "NULL"],
    ["user", info.user],
    ["redir", session.tracking?.mode.redirect ?? -1],
    ["resp", lane.protocol],
    ["lib-name", info.libraryName],
    ["lib-ver", info.libraryVersion],
  ];
  return fields.map(([key, value]) => `${key}=${value}`).join(" ");
}
