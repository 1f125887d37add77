/**
 * The users that proxies are at the servers, and their fencing: `(topology, event) → change`, pure.
 *
 *   (none) ──login-made──▶ open ──login-fenced──▶ fenced ──login-renewed (new password)──▶ open
 *                                                   └──login-dropped──▶ (none)
 *
 * Each proxy has a user of its own at every server, so that one that has gone silent can be shut out of a
 * server without its help: what it still has in flight dies with its connections, and it can make no new
 * ones. Kept in the topology, because whoever leads next must know who could still write, and must not open
 * by accident what has been shut.
 *
 * Invariant: a fenced login is opened again only with another password, and the proxy uses that one only
 * once it serves by a map of at least `sinceVersion`; so whatever it believed when it was fenced is over.
 */
import type { ClusterTopology, TopologyChange } from "./cluster-topology.ts";

export interface ProxyLogin {
  /** The proxy's id. */
  readonly proxy: string;
  readonly password: string;
  /**
   * The version that made this password, and its name: the proxy must have that map, or a later one, in
   * force to use it.
   */
  readonly sinceVersion: number;
  /** Shut out of the servers, since this version; absent: it is not. */
  readonly fencedVersion?: number;
}

export type LoginEvent =
  | { readonly type: "login-made"; readonly proxy: string; readonly password: string }
  | { readonly type: "login-fenced"; readonly proxy: string }
  | { readonly type: "login-renewed"; readonly proxy: string; readonly password: string }
  | { readonly type: "login-dropped"; readonly proxy: string };

/** What every such user's name begins with; nobody else's should. */
export const PROXY_USER_PREFIX = "shoal-proxy-";

export function userOfProxy(proxy: string): string {
  return PROXY_USER_PREFIX + proxy;
}

export function loginOf(topology: ClusterTopology, proxy: string): ProxyLogin | undefined {
  return topology.logins?.find((login) => login.proxy === proxy);
}

/** Null when the event is none of these, or changes nothing. */
export function changeByLoginEvent(topology: ClusterTopology, event: LoginEvent): TopologyChange | null {
  const logins = topology.logins ?? [];
  const sinceVersion = topology.version + 1;
  const known = "proxy" in event ? loginOf(topology, event.proxy) : undefined;
  const replace = (login: ProxyLogin): TopologyChange => {
    return { logins: logins.map((candidate) => (candidate === known ? login : candidate)) };
  };
  switch (event.type) {
    case "login-made": {
      if (known !== undefined) return null;
      const { proxy, password } = event;
      return { logins: [...logins, { proxy, password, sinceVersion }] };
    }
    case "login-fenced":
      if (known === undefined || known.fencedVersion !== undefined) return null;
      return replace({ ...known, fencedVersion: sinceVersion });
    case "login-renewed":
      if (known?.fencedVersion === undefined) return null;
      return replace({ proxy: known.proxy, password: event.password, sinceVersion });
    case "login-dropped":
      // An open one may be in use: only what has been shut out may be forgotten.
      if (known?.fencedVersion === undefined) return null;
      return { logins: logins.filter((login) => login !== known) };
    default:
      return null;
  }
}
