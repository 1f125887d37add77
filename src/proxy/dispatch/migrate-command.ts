/**
 * MIGRATE of a client: sends keys away to a server outside of the cluster.
 *
 *   keys ─▶ one slot ─▶ target?
 *                         ├─ a server of this cluster ─▶ refused: nobody would look for the key there
 *                         ├─ this proxy ─▶ NOKEY when there is no such key, else IOERR (see below)
 *                         └─ any other ─▶ the key's group, as it is
 *
 * A server that is asked to migrate to itself waits for its own answer until the time is over, and says
 * IOERR. Through the proxy the same would happen, for all clients of the group; so the proxy says it at
 * once.
 */
import type { DataPlane } from "../data-plane.ts";
import { isLoopback } from "../proxy-config.ts";
import { simple } from "../../resp/reply-writer.ts";
import { requestOf } from "./ask-groups.ts";
import { argument, type Call, fail } from "./call.ts";
import { askInWords, Gather } from "./gather.ts";
import { foundKeys, locate, PROBLEM, SEVERAL } from "./locate.ts";
import { valueOf } from "./merges.ts";

/** MIGRATE host port key|"" database timeout … */
export function migrate(plane: DataPlane, call: Call): boolean {
  const { session } = call;
  // Inside EXEC's reply there is no place for an answer that comes later.
  if (session.capture !== null) return fail(session, "ERR Command not allowed inside a transaction");
  const place = locate(plane, call);
  if (place.slot === PROBLEM || place.slot === SEVERAL) return fail(session, place.error);
  // No key, or malformed: any server says what is wrong.
  if (place.slot < 0) return plane.dispatcher.sendTo(call, session.lane.groups[0]);
  const upstream = session.lane.homes[place.slot];
  const [host, port] = [argument(call, 1), argument(call, 2)];
  if (
    plane.slots.map?.groups.some((group) => [group.primary, ...group.replicas].includes(`${host}:${port}`))
  ) {
    const why = "it is a server of this cluster, and its keys are moved by the controller";
    return fail(session, `ERR Cannot migrate to ${host}:${port}: ${why}`);
  }
  if (!isSelf(plane, call, host, port)) return plane.dispatcher.sendTo(call, upstream);
  const keys = Array.from({ length: foundKeys.count }, (_, i) => argument(call, foundKeys.at[i]));
  const gather = new Gather(plane, session, call.command, ({ parts }) => {
    const error = gather.errorText(false);
    if (error !== null) return error;
    if (valueOf(parts[0]) === 0) return simple("NOKEY");
    return "-IOERR error or timeout reading to target instance\r\n";
  });
  askInWords(gather, [upstream], [requestOf("EXISTS", ...keys)]);
  return true;
}

/** Whether `host:port` is where clients reach this proxy, as far as the proxy can tell. */
function isSelf(plane: DataPlane, call: Call, host: string, port: string): boolean {
  const { listen } = plane.config;
  const colon = listen.lastIndexOf(":");
  if (port !== listen.slice(colon + 1)) return false;
  const { localAddress } = call.session.connection;
  return host === listen.slice(0, colon) || isLoopback(host) || localAddress === `${host}:${port}`;
}
