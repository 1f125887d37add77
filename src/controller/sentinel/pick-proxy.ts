/**
 * Which proxy a client is sent to. Pure.
 *
 *   serving proxies ──▶ on the client's own machine, if any ──▶ highest of hash(client's host, proxy's id)
 *
 * The same on every controller without a word between them, and the same each time: clients take another
 * answer for a failover and drop their connections. When a proxy goes, only its own clients are spread over
 * the others; when it comes back, only they return. Rejected: taking turns (each answer would be another
 * one), and the proxy with the fewest clients (controllers would differ, and answers would swing).
 */
import { parseAddress } from "../../topology/cluster-map.ts";

/** left: it has drained and gone. It is remembered, for when there is no other one. */
export type FleetProxyState = "serving" | "draining" | "lost" | "left";

export interface FleetProxy {
  readonly id: string;
  /** "host:port" where clients connect. */
  readonly addr: string;
  readonly state: FleetProxyState;
}

/** Null when there has never been one. `clientHost`: the address that the client comes from. */
export function pickProxy(proxies: readonly FleetProxy[], clientHost: string): FleetProxy | null {
  const serving = proxies.filter((proxy) => proxy.state === "serving");
  // Sentinel names the last master it knew, too, when none is left: a client tries again until one is back.
  const candidates = serving.length > 0 ? serving : proxies;
  const near = candidates.filter((proxy) => sameHost(parseAddress(proxy.addr).host, clientHost));
  let best: FleetProxy | null = null;
  let bestRank = -1;
  for (const proxy of near.length > 0 ? near : candidates) {
    const rank = rankOf(`${clientHost} ${proxy.id}`);
    if (rank > bestRank) [best, bestRank] = [proxy, rank];
  }
  return best;
}

function sameHost(a: string, b: string): boolean {
  return a === b || (isLoopback(a) && isLoopback(b));
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || host.startsWith("127.");
}

/** FNV-1a, then the finaliser of MurmurHash3: without it, ids that differ in one digit would rank alike. */
function rankOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
