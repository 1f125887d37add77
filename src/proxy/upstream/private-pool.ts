/**
 * Connections that one session has for itself for a while: for requests that must not stand between those of
 * others.
 *
 *   take(like) ─▶ an idle one to the same server, database and protocol, or a new one
 *   give ─▶ kept for the next, up to a bound; discard ─▶ closed
 */
import type { DataPlane } from "../data-plane.ts";
import { Upstream } from "./upstream.ts";

/** Private connections that one worker has open at a time. */
const PRIVATE_CONNECTIONS_MAX = 512;
/** Idle ones that are kept per server, database and protocol. */
const IDLE_KEPT_MAX = 4;

export class PrivatePool {
  readonly #plane: DataPlane;
  readonly #idle = new Map<string, Upstream[]>();
  readonly #used = new Set<Upstream>();

  constructor(plane: DataPlane) {
    this.#plane = plane;
  }

  /**
   * A connection of one's own to where `shared` leads; null when that server is down or the bound is
   * reached.
   */
  take(shared: Upstream): Upstream | null {
    if (!shared.prepare() || this.#used.size >= PRIVATE_CONNECTIONS_MAX) return null;
    const idle = this.#idle.get(keyOf(shared));
    let upstream = idle?.pop();
    while (upstream !== undefined && upstream.state !== "ready") {
      upstream.close();
      upstream = idle?.pop();
    }
    upstream ??= new Upstream(this.#plane, shared.target, false);
    if (!upstream.prepare()) return null;
    this.#used.add(upstream);
    return upstream;
  }

  give(upstream: Upstream): void {
    this.#used.delete(upstream);
    const key = keyOf(upstream);
    const idle = this.#idle.get(key) ?? [];
    this.#idle.set(key, idle);
    if (upstream.state === "ready" && idle.length < IDLE_KEPT_MAX) idle.push(upstream);
    else upstream.close();
  }

  discard(upstream: Upstream): void {
    this.#used.delete(upstream);
    upstream.close();
  }

  /** For the watch over hung servers. */
  forEach(visit: (upstream: Upstream) => void): void {
    for (const upstream of this.#used) visit(upstream);
  }

  closeAll(): void {
    for (const upstream of this.#used) upstream.close();
    for (const idle of this.#idle.values()) for (const upstream of idle) upstream.close();
    this.#idle.clear();
  }
}

function keyOf(upstream: Upstream): string {
  const { address, database, protocol } = upstream.target;
  return `${address}/${database}/${protocol}`;
}
