/** One session's tracking: what it asked for, and the way its invalidations take. */
import * as c from "../../commands/command.ts";
import { array, bulk, integer } from "../../resp/reply-writer.ts";
import type { DataPlane } from "../data-plane.ts";
import { argument, type Call } from "../dispatch/call.ts";
import type { KeyPositions } from "../../commands/key-positions.ts";
import type { Session } from "../downstream/session.ts";
import type { Lane, LaneKind } from "../slots/lane.ts";
import type { Upstream } from "../upstream/upstream.ts";

/** The channel on which RESP2 clients listen for invalidations that are redirected to them. */
export const INVALIDATE_CHANNEL = "__redis__:invalidate";

/** What CLIENT TRACKING ON was given. */
export class TrackingMode {
  readonly broadcast: boolean;
  readonly optIn: boolean;
  readonly optOut: boolean;
  readonly noLoop: boolean;
  /** Id of the session that gets the invalidations; 0: the tracking session itself. */
  readonly redirect: number;
  readonly prefixes: readonly string[];

  constructor(words: ReadonlySet<string>, redirect: number, prefixes: readonly string[]) {
    this.broadcast = words.has("bcast");
    this.optIn = words.has("optin");
    this.optOut = words.has("optout");
    this.noLoop = words.has("noloop");
    this.redirect = redirect;
    this.prefixes = prefixes;
  }

  /** With NOLOOP its requests need connections by which servers tell its writes from others'. */
  get lane(): LaneKind {
    if (!this.noLoop) return "shared";
    return this.broadcast ? "noloop-broadcast" : "noloop";
  }
}

/** One key that a queued command reads, or writes as a NOLOOP session. */
interface QueuedKey {
  readonly key: string;
  readonly reads: boolean;
}

/**
 * "Forget everything" that comes again within this time, to a client that has read nothing since, is not
 * said again: each server, and each connection to it, reports a FLUSHALL or a lost connection for itself.
 */
const REPEATED_MS_MAX = 100;

export class SessionTracking {
  readonly mode: TrackingMode;
  /** Keys that it has read and is still to be told about. */
  readonly keys = new Set<string>();
  /** CLIENT CACHING's word for the next command; null when there is none. */
  caching: "yes" | "no" | null = null;
  /** The session that it redirects to was gone when it was to be told something. */
  brokenRedirect = false;
  /** CLIENT TRACKING ON is answered: from here on nothing may be missed. */
  started = false;
  /** Lanes that the session has left while they still had something to say. */
  readonly leaving = new Set<Lane>();
  readonly #plane: DataPlane;
  readonly #session: Session;
  /** The call that is being routed is a read that the client may keep. */
  #reading = false;
  /**
   * What the commands between MULTI and EXEC touch: they read when EXEC runs them, not when they are queued.
   */
  #queued: QueuedKey[] = [];
  /** What the call writes that the other sessions of its lane are to be told, and the ways it takes. */
  #written: string[] = [];
  #ways: Upstream[] = [];
  #wroteUnknown = false;
  #readSinceReset = false;
  /** "Forget everything" will be said again. */
  #again = false;
  #resetMs = Number.NEGATIVE_INFINITY;

  constructor(plane: DataPlane, session: Session, mode: TrackingMode) {
    this.#plane = plane;
    this.#session = session;
    this.mode = mode;
  }

  /**
   * Before a call with keys is sent: remembers what it reads, in the table before it can be changed at the
   * server.
   */
  note(call: Call, found: KeyPositions): void {
    const { mode } = this;
    const reads = (call.command.flags & c.FLAG_READONLY) !== 0 || call.command.group === "scripting";
    const kept = reads && this.#chosen;
    if (!kept && !(mode.noLoop && !reads)) return;
    const queued = this.#session.transaction !== null;
    this.#reading = kept && !queued;
    // Which keys a script writes nobody knows. (With BCAST a server takes scripts for others.)
    if (mode.lane === "noloop" && reads && (call.command.flags & c.FLAG_READONLY) === 0)
      this.#wroteUnknown = true;
    for (let i = 0; i < found.count; i++) {
      const touched: QueuedKey = { key: argument(call, found.at[i]), reads: kept };
      if (queued) this.#queued.push(touched);
      else this.#noteKey(touched);
    }
  }

  /** Redis's letters in CLIENT LIST. */
  get letters(): string {
    return `t${this.brokenRedirect ? "R" : ""}${this.mode.broadcast ? "B" : ""}`;
  }

  /** Whether what is read now may be kept by the client. */
  get #chosen(): boolean {
    return this.mode.optIn ? this.caching === "yes" : this.caching !== "no";
  }

  #noteKey({ key, reads }: QueuedKey): void {
    const { tracking } = this.#plane;
    // Its own write: a server forgets that this client had read the key, and tells it nothing.
    if (!reads) {
      this.#written.push(key);
      tracking.unnote(key, this);
    } else {
      this.#readSinceReset = true;
      if (!this.mode.broadcast) tracking.note(key, this);
    }
  }

  /** Right before the call's bytes go to `upstream`. */
  announce(upstream: Upstream): void {
    if (this.mode.noLoop) this.#goes(upstream);
    if (this.#reading) this.#plane.tracking.announce(upstream, this);
  }

  /** Right before a transaction goes to `upstream`: one word for all that it reads. */
  announceTransaction(upstream: Upstream): void {
    const queued = this.#queued;
    this.#queued = [];
    if (this.mode.noLoop) this.#goes(upstream);
    for (const touched of queued) this.#noteKey(touched);
    if (queued.some(({ reads }) => reads)) this.#plane.tracking.announce(upstream, this);
  }

  /** After a command: CLIENT CACHING was about one command, or one transaction. */
  commandDone(name: string): void {
    this.#reading = false;
    if (this.#session.transaction !== null) return;
    this.#queued.length = 0;
    if (this.mode.noLoop) this.#tellLane();
    if (!name.startsWith("client|")) this.caching = null;
  }

  #goes(upstream: Upstream): void {
    if (!this.#session.lane.groups.includes(upstream)) return;
    this.#plane.tracking.renew(upstream);
    this.#ways.push(upstream);
  }

  /**
   * The lane's other sessions hear of its writes from here: to their server all of the lane is one client.
   */
  #tellLane(): void {
    const ways = this.#ways;
    const keys = this.#wroteUnknown ? null : this.#written;
    this.#ways = [];
    this.#written = [];
    this.#wroteUnknown = false;
    if (ways.length === 0 || keys?.length === 0 || !this.#plane.tracking.sharesLane(this)) return;
    let left = ways.length;
    // Not before it has run everywhere: a read in between would bring the old value back.
    const ended = (): void => {
      if (--left === 0) this.#plane.tracking.tellLane(this, keys);
    };
    for (const upstream of ways) {
      if (upstream.prepare()) upstream.afterPending(ended);
      else ended();
    }
  }

  get lane(): Lane {
    return this.#session.lane;
  }

  /** SELECT, HELLO: the session uses another lane than `before`. */
  laneChanged(before: Lane): void {
    if (this.mode.noLoop && this.started) this.#plane.tracking.laneChanged(this, before);
  }

  /** Tells a BCAST client what of `keys` it has asked for; null: anything may have changed. */
  broadcast(keys: readonly string[] | null): void {
    if (keys === null) {
      this.invalidate(null);
      return;
    }
    // A message for each prefix, as a server sends them.
    for (const prefix of this.mode.prefixes) {
      const wanted = keys.filter((key) => key.startsWith(prefix));
      if (wanted.length > 0) this.invalidate(wanted);
    }
  }

  /** Tells the client that `keys` have changed; null: anything may have. */
  invalidate(keys: readonly string[] | null): void {
    if (keys === null) {
      if (this.#isRepeated()) return;
      if (this.#session.inFlight > 0) this.#sayAgain();
    }
    this.#say(keys);
  }

  #say(keys: readonly string[] | null): void {
    const { redirect } = this.mode;
    if (redirect === 0) {
      if (this.#session.lane.protocol === 3) pushInvalidation(this.#session, keys);
      return;
    }
    const target = this.#plane.clients.get(redirect);
    if (target !== undefined) pushInvalidation(target, keys);
    else if (this.#plane.peers.any) this.#askPeers(keys);
    else this.#targetGone();
  }

  /**
   * Once more, when the client has surely taken the replies that it is owed now: node-redis 6 forgets what it
   * keeps, and then keeps what a reply in the same segment before it has brought. (The table stays.)
   */
  #sayAgain(): void {
    if (this.#again) return;
    this.#again = true;
    this.#plane.env.timers.after(REPEATED_MS_MAX, () => {
      this.#again = false;
      if (this.#session.tracking === this && !this.#session.closed) this.#say(null);
    });
  }

  #isRepeated(): boolean {
    // What a broadcast client keeps may have been read over another connection.
    if (this.mode.broadcast) return false;
    const nowMs = this.#plane.env.clock.nowMs();
    if (!this.#readSinceReset && nowMs - this.#resetMs < REPEATED_MS_MAX) return true;
    this.#readSinceReset = false;
    this.#resetMs = nowMs;
    return false;
  }

  #askPeers(keys: readonly string[] | null): void {
    void this.#plane.peers.ask({ kind: "invalidate", id: this.mode.redirect, keys }).then((answers) => {
      if (!answers.some((each) => each === 1)) this.#targetGone();
    });
  }

  /** The words of a server that finds the target of a redirection gone (tracking.c, sendTrackingMessage). */
  #targetGone(): void {
    this.brokenRedirect = true;
    if (this.#session.lane.protocol !== 3) return;
    this.#session.push(`>2\r\n${bulk("tracking-redir-broken")}${integer(this.mode.redirect)}`);
  }
}

/**
 * Hands an invalidation to a session, in its protocol, behind the replies that it is owed; nothing when
 * `keys` is empty.
 */
export function pushInvalidation(session: Session, keys: readonly string[] | null): void {
  if (keys?.length === 0) return;
  // All that a session is owed that waits at a server is that wait's end, which may be long in coming.
  const now = session.blocked !== null;
  if (session.lane.protocol === 3) {
    const list = keys === null ? "_\r\n" : array(keys.map(bulk));
    session.push(`>2\r\n${bulk("invalidate")}${list}`, now);
  } else if (session.listens) {
    const list = keys === null ? "*-1\r\n" : array(keys.map(bulk));
    session.push(`*3\r\n${bulk("message")}${bulk(INVALIDATE_CHANNEL)}${list}`, now);
  }
}
