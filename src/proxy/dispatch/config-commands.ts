/**
 * CONFIG GET and SET through the proxy: about the servers, except for what is the proxy's own.
 *
 * GET asks one group. What a client would otherwise learn or take amiss (the servers' passwords, their port)
 * is replaced by the proxy's. SET goes to every group, but not for what would cut the servers off from the
 * proxies and the controller.
 */
import { bulk, errorReply, map } from "../../resp/reply-writer.ts";
import type { DataPlane } from "../data-plane.ts";
import { askEveryGroup } from "./ask-groups.ts";
import { argument, type Call, fail } from "./call.ts";
import { pairsOf } from "./fleet-values.ts";
import { Gather } from "./gather.ts";
import { mergeOf, valueOf } from "./merges.ts";

/** How clients, proxies and controller reach and trust the servers. */
const NOT_TO_BE_SET = new Set([
  "bind",
  "bind-source-addr",
  "masterauth",
  "masteruser",
  "port",
  "protected-mode",
  "requirepass",
  "tls-port",
]);

/** What is said in place of the servers' values. */
function ownValues(plane: DataPlane): Readonly<Record<string, string>> {
  const { listen, requirepass } = plane.config;
  return { port: listen.slice(listen.lastIndexOf(":") + 1), requirepass, masterauth: "", masteruser: "" };
}

/** CONFIG GET pattern …: the first group that is there. */
export function configGet(plane: DataPlane, call: Call): boolean {
  const { session, command, bytes, start, end } = call;
  const own = ownValues(plane);
  const gather = new Gather(plane, session, command, ({ parts }) => {
    if (parts[0].error !== null) return errorReply(parts[0].error);
    const pairs = pairsOf(valueOf(parts[0])).map(([name, value]) => {
      const shown = Object.hasOwn(own, name) ? own[name] : String(value);
      return [bulk(name), bulk(shown)] as const;
    });
    return map(session.lane.protocol, pairs);
  });
  const { groups } = session.lane;
  const upstream =
    groups.find((each) => each.state === "ready") ?? groups.find((each) => each.prepare()) ?? groups[0];
  if (gather.begin(upstream)) {
    upstream.output.append(bytes, start, end);
    upstream.flushSoon();
  }
  gather.seal();
  return true;
}

/** CONFIG SET name value …: every group, or none. */
export function configSet(plane: DataPlane, call: Call): boolean {
  const { session, command, request } = call;
  for (let i = 2; i < request.argc; i += 2) {
    const name = argument(call, i);
    if (!NOT_TO_BE_SET.has(name.toLowerCase())) continue;
    const why = "it belongs to each server's own configuration and to the proxy's";
    return fail(session, `ERR CONFIG SET failed (possibly related to argument '${name}') - ${why}`);
  }
  return askEveryGroup(plane, call, mergeOf(command));
}
