/**
 * Connections that one session has for itself for a while: for requests that must not stand between those of
 * others.
 *
 *   take(like) ─▶ an idle one to the same server, database and protocol, or a new one
 *   takeReady  ─▶ one on which the server has answered; until then the session is held
 *   give ─▶ kept for the next, up to a bound; discard ─▶ closed
 *
 * What a client asks goes over `takeReady`: a server that dies while it is connected to has not been sent
 * anything, so nobody need be told of it. Who asks looks again, and then waits for the group (holding/).
 */
import type { DataPlane } from "../data-plane.ts";
import { HOLD_WAIT } from "../downstream/reply-queue.ts";
import type { Session } from "../downstream/session.ts";
import type { UpstreamTarget } from "./handshake.ts";
import type { Upstream } from "./upstream.ts";

/** Private connections that one worker has open at a time. */
const PRIVATE_CONNECTIONS_MAX = 10_000;
/** Idle ones that are kept per server, database and protocol. */
const IDLE_KEPT_MAX = 4;
/**
 * Before a session looks again after a connection that did not come about, in ms; after the last one it gets
 * the error. A server that has died is known as lost by then, one that takes no more connections never is.
 */
const RETRY_PAUSES_MS = [5, 50, 250];

export class PrivatePool {
  /** The error when `take` gives nothing although the server is there. */
  static readonly FULL = "ERR Too many connections of their own are in use; try again later";
  readonly #plane: DataPlane;
  readonly #idle = new Map<string, Upstream[]>();
  readonly #used = new Set<Upstream>();
  /** What to call when a connection in use comes back. */
  readonly #awaited = new Map<Upstream, (() => void)[]>();
  /** What a session that is about to look again will find: a connection, or the error. */
  readonly #offered = new Map<Session, Upstream | string>();
  /** Connections in a row that did not come about. */
  readonly #failures = new WeakMap<Session, number>();

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

  /**
   * As `take`, for a request that may wait: a connection on which the server has answered, or the error.
   * Null: the session is held until then, and its request is to be looked at again.
   */
  takeReady(session: Session, shared: Upstream): Upstream | string | null {
    const offered = this.#offered.get(session);
    this.#offered.delete(session);
    if (typeof offered === "string") return offered;
    if (offered !== undefined) {
      if (this.#serves(offered, shared)) return offered;
      this.give(offered);
    }
    const upstream = this.take(shared);
    if (upstream === null) return this.full && shared.open ? PrivatePool.FULL : shared.refusal;
    if (upstream.state === "ready") return upstream;
    session.hold(HOLD_WAIT);
    upstream.whenIdle(() => this.#connected(session, upstream));
    return null;
  }

  #serves(upstream: Upstream, shared: Upstream): boolean {
    const { acks } = this.#plane;
    return (
      upstream.state === "ready" && acks.fits(upstream) && keyOf(upstream.target) === keyOf(shared.target)
    );
  }

  /** The handshake is answered, or the connection is gone. */
  #connected(session: Session, upstream: Upstream): void {
    if (upstream.state === "ready" && !session.closed) {
      this.#failures.delete(session);
      // Until its session has taken it, nothing is under way on it.
      this.answered(upstream);
      this.#offer(session, upstream);
      return;
    }
    const failures = this.#failures.get(session) ?? 0;
    const { refusal } = upstream;
    this.give(upstream);
    if (session.closed) return;
    if (failures === RETRY_PAUSES_MS.length) {
      this.#failures.delete(session);
      this.#offer(session, refusal);
      return;
    }
    this.#failures.set(session, failures + 1);
    this.#plane.env.timers.after(RETRY_PAUSES_MS[failures], () => this.#lookAgain(session));
  }

  #offer(session: Session, what: Upstream | string): void {
    this.#offered.set(session, what);
    this.#lookAgain(session);
    // The session looks when the turn ends. One that did not may not come back to it.
    this.#plane.env.net.atTurnEnd(() => {
      if (this.#offered.get(session) !== what) return;
      this.#offered.delete(session);
      if (typeof what !== "string") this.give(what);
    });
  }

  #lookAgain(session: Session): void {
    session.held = false;
    session.release(HOLD_WAIT);
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
