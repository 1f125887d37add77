/**
 * Connections that one session has for itself for a while: for requests that must not stand between those of
 * others.
 *
 *   take(like) ─▶ an idle one to the same server, database and protocol, or a new one
 *   give ─▶ kept for the next, up to a bound; discard ─▶ closed
 */
import type { DataPlane } from "../data-plane.ts";
import type { UpstreamTarget } from "./handshake.ts";
import type { Upstream } from "./upstream.ts";

/** Private connections that one worker has open at a time. */
const PRIVATE_CONNECTIONS_MAX = 10_000;
/** Idle ones that are kept per server, database and protocol. */
const IDLE_KEPT_MAX = 4;

export class PrivatePool {
  /** The error when `take` gives nothing although the server is there. */
  static readonly FULL = "ERR Too many connections of their own are in use; try again later";
  readonly #plane: DataPlane;
  readonly #idle = new Map<string, Upstream[]>();
  readonly #used = new Set<Upstream>();
  /** What to call when a connection in use comes back. */
  readonly #awaited = new Map<Upstream, (() => void)[]>();

  constructor(plane: DataPlane) {
    this.#plane = plane;
  }

  /**
   * A connection of one's own to where `shared` leads; null when that server is down or the bound is
   * reached.
   */
  take(shared: Upstream): Upstream | null {
    // A server that is busy with a script can be spoken to all the same, but takes no SELECT.
    const there = shared.prepare() || (shared.busy && shared.target.database === 0);
    return there ? this.open(shared.target) : null;
  }

  /** As `take`, without asking whether the server is there; null when the bound is reached. */
  open(target: UpstreamTarget): Upstream | null {
    if (this.full) return null;
    const idle = this.#idle.get(keyOf(target));
    let upstream = idle?.pop();
    while (upstream !== undefined && !(upstream.state === "ready" && this.#plane.acks.fits(upstream))) {
      upstream.close();
      upstream = idle?.pop();
    }
    upstream ??= this.#plane.acks.makeUpstream(target, false);
    if (!upstream.prepare()) return null;
    this.#used.add(upstream);
    return upstream;
  }

  /** Whether the bound is reached. */
  get full(): boolean {
    return this.#used.size >= PRIVATE_CONNECTIONS_MAX;
  }

  /**
   * Calls `run` once for each request that is under way to where `shared` leads, when it has ended; how many
   * there are comes back. Connections on which a server waits on a client's behalf don't count.
   */
  afterUse(shared: Upstream, run: () => void): number {
    let count = 0;
    const key = keyOf(shared.target);
    for (const upstream of this.#used) {
      if (upstream.pending === 0 || upstream.patient || keyOf(upstream.target) !== key) continue;
      const runs = this.#awaited.get(upstream) ?? [];
      this.#awaited.set(upstream, runs);
      runs.push(run);
      count++;
    }
    return count;
  }

  /** What was under way over `upstream` has ended, but it stays with its session: it watches keys. */
  answered(upstream: Upstream): void {
    const runs = this.#awaited.get(upstream);
    if (runs === undefined) return;
    this.#awaited.delete(upstream);
    for (const run of runs) run();
  }

  #returned(upstream: Upstream): void {
    this.#used.delete(upstream);
    this.answered(upstream);
  }

  give(upstream: Upstream): void {
    this.#returned(upstream);
    const key = keyOf(upstream.target);
    const idle = this.#idle.get(key) ?? [];
    this.#idle.set(key, idle);
    // One that could not be named at its server could not be called back from a blocking command.
    const kept = upstream.state === "ready" && upstream.clientId !== "" && idle.length < IDLE_KEPT_MAX;
    if (kept) idle.push(upstream);
    else upstream.close();
  }

  /** `why`: the error for what is owed, when more is known than that the connection was closed. */
  discard(upstream: Upstream, why = ""): void {
    this.#returned(upstream);
    upstream.close(why);
  }

  /** Closes the connections in use to a server that is given up; what they owe fails. */
  abandon(address: string): void {
    for (const upstream of this.#used) if (upstream.target.address === address) upstream.close();
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

function keyOf(target: UpstreamTarget): string {
  const { address, database, protocol } = target;
  return `${address}/${database}/${protocol}`;
}
