/**
 * One line of CLIENT LIST and CLIENT INFO: the fields of Redis 7.0 in its order; what the proxy has no such
 * thing for is 0.
 */
import type { DataPlane } from "../data-plane.ts";
import type { Session } from "../downstream/session.ts";

export function clientLine(plane: DataPlane, session: Session): string {
  const { info, connection, lane } = session;
  const output = connection.output.length;
  const fields: readonly (readonly [string, string | number])[] = [
    ["id", session.id],
    ["addr", connection.remoteAddress],
    ["laddr", connection.localAddress],
    ["fd", 0],
    ["name", info.name],
    ["age", plane.tick - info.connectedTick],
    ["idle", plane.tick - info.lastTick],
    ["flags", info.noEvict ? "e" : "N"],
    ["db", lane.database],
    ["sub", 0],
    ["psub", 0],
    ["ssub", 0],
    ["multi", -1],
    ["qbuf", session.inputBytes],
    ["qbuf-free", 0],
    ["argv-mem", 0],
    ["multi-mem", 0],
    ["rbs", 0],
    ["rbp", 0],
    ["obl", output],
    ["oll", 0],
    ["omem", output],
    ["tot-mem", session.inputBytes + output],
    ["events", "r"],
    ["cmd", info.lastCommand?.name ?? "NULL"],
    ["user", info.user],
    ["redir", -1],
    ["resp", lane.protocol],
    ["lib-name", info.libraryName],
    ["lib-ver", info.libraryVersion],
  ];
  return fields.map(([key, value]) => `${key}=${value}`).join(" ");
}
