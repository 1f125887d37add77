/**
 * Who must be told when a key changes: the tracking table of a worker.
 *
 *   tracking session reads k ─▶ table: k → sessions      shared connection: CLIENT CACHING YES, then the read
 *                                                          │ (it tracks with REDIRECT to the worker's sink)
 *   server: k has changed ─▶ sink ─▶ table ─▶ each session, behind the replies that it is owed
 *
 * Why behind: reply and invalidation come over different connections. The invalidation of a key can be here
 * before the older value that a read in flight brings; handed on at once, the client would drop nothing and
 * then keep that value for ever.
 *
 * An invalidation too many is harmless, one too few is a stale read. So whenever something could have been
 * missed (a sink or a tracking connection is lost, the map changes) every tracking session is told to forget
 * everything.
 */
import { bulk } from "../../resp/reply-writer.ts";
import type { DataPlane } from "../data-plane.ts";
import type { ReplyOwner } from "../request.ts";
import type { Upstream } from "../upstream/upstream.ts";
import type { SessionTracking } from "./session-tracking.ts";
import { TrackingSink } from "./tracking-sink.ts";

const ERROR = 45;
/** Keys in the table; above, the oldest are invalidated to make room, as a server does. */
const TRACKED_KEYS_MAX = 1_000_000;
/** How long CLIENT TRACKING ON waits for a server that neither takes nor refuses the sink. */
const SINK_TIMEOUT_MS = 3000;

export class TrackingHub {
  readonly #plane: DataPlane;
  readonly #sessions = new Set<SessionTracking>();
  readonly #byKey = new Map<string, Set<SessionTracking>>();
  /** By server address, and apart for broadcast. */
  readonly #sinks = new Map<string, TrackingSink>();
  #waiting: (() => void)[] = [];

  constructor(plane: DataPlane) {
    this.#plane = plane;
  }

  /**
   * Takes a session in. `done` is called when each server's sink is there. One that is down is not waited
   * for: until it is back, what is read from its server is invalidated at once.
   */
  add(tracking: SessionTracking, done: () => void): void {
    this.#sessions.add(tracking);
    this.#makeSinks(tracking.mode.broadcast);
    if (this.#settled(tracking.mode.broadcast)) {
      done();
      return;
    }
    let pending = true;
    const end = (): void => {
      pending = false;
      timer.cancel();
      done();
    };
    const timer = this.#plane.env.timers.after(SINK_TIMEOUT_MS, end);
    const look = (): void => {
      if (!pending) return;
      if (this.#settled(tracking.mode.broadcast)) end();
      else this.#waiting.push(look);
    };
    this.#waiting.push(look);
  }

  remove(tracking: SessionTracking): void {
    if (!this.#sessions.delete(tracking)) return;
    for (const key of tracking.keys) this.#forget(key, tracking);
    if (this.#sessions.size > 0) return;
    for (const sink of this.#sinks.values()) sink.close();
    this.#sinks.clear();
  }

  /** `tracking` has read `key` and is to be told when it changes. */
  note(key: string, tracking: SessionTracking): void {
    let sessions = this.#byKey.get(key);
    if (sessions === undefined) {
      sessions = new Set();
      this.#byKey.set(key, sessions);
    }
    sessions.add(tracking);
    tracking.keys.add(key);
    if (this.#byKey.size > TRACKED_KEYS_MAX) this.#invalidate(this.#byKey.keys().next().value as string);
  }

  unnote(key: string, tracking: SessionTracking): void {
    tracking.keys.delete(key);
    this.#forget(key, tracking);
  }

  /**
   * The next request over `upstream` is a read that its client may keep: tells the server so, right before
   * it. With
   * `broadcast` the server tells all changes anyway.
   */
  announce(upstream: Upstream, broadcast: boolean): void {
    const sink = this.#sinks.get(sinkKey(upstream.target.address, broadcast));
    if (sink === undefined || sink.clientId === "") {
      // Nobody will tell what changes: what is read now must not be kept.
      this.#plane.env.net.atTurnEnd(() => this.invalidateAll());
      return;
    }
    if (broadcast) return;
    const { clientId } = sink;
    if (upstream.trackedBy !== clientId) {
      if (upstream.trackedBy !== "") this.#say(upstream, clientId, "CLIENT", "TRACKING", "OFF");
      this.#say(upstream, clientId, "CLIENT", "TRACKING", "ON", "REDIRECT", clientId, "OPTIN");
      upstream.trackedBy = clientId;
    }
    this.#say(upstream, clientId, "CLIENT", "CACHING", "YES");
  }

  #say(upstream: Upstream, clientId: string, ...words: readonly string[]): void {
    const onReply: ReplyOwner["onReply"] = (_request, bytes, start) => {
      if (bytes[start] !== ERROR) return;
      // The read behind it is not tracked; its reply is still to come, and this stands behind it.
      if (upstream.trackedBy === clientId) upstream.trackedBy = "";
      this.invalidateAll();
    };
    upstream.begin({ onReply, onFailure: () => undefined }, 0);
    upstream.output.appendLatin1(`*${words.length}\r\n${words.map(bulk).join("")}`);
  }

  /** Everything may have changed. */
  invalidateAll(): void {
    this.#byKey.clear();
    for (const tracking of this.#sessions) {
      tracking.keys.clear();
      tracking.invalidate(null);
    }
  }

  /** Servers, or what they serve, have changed. */
  mapChanged(): void {
    if (this.#sessions.size === 0) return;
    const addresses = new Set(this.#plane.slots.map?.groups.map((group) => group.primary));
    for (const [key, sink] of this.#sinks) {
      if (addresses.has(sink.target.address)) continue;
      sink.close();
      this.#sinks.delete(key);
    }
    const modes = new Set([...this.#sessions].map((tracking) => tracking.mode.broadcast));
    for (const broadcast of modes) this.#makeSinks(broadcast);
    this.invalidateAll();
    // Those that wait for a server which is no longer in the map wait no more.
    this.#lookAgain();
  }

  #makeSinks(broadcast: boolean): void {
    for (const upstream of this.#plane.slots.lane(0, 3).groups) {
      const key = sinkKey(upstream.target.address, broadcast);
      if (this.#sinks.has(key)) continue;
      const sink = new TrackingSink(this.#plane, upstream.target, broadcast, {
        onReady: (again) => {
          // What was read while it was away, nobody has watched.
          if (again) this.invalidateAll();
          this.#lookAgain();
        },
        onInvalidate: (keys) => this.#invalidated(keys, broadcast),
        onLost: () => {
          this.invalidateAll();
          this.#lookAgain();
        },
      });
      this.#sinks.set(key, sink);
    }
  }

  /** Whether each server's sink is there, or known not to be. */
  #settled(broadcast: boolean): boolean {
    return this.#plane.slots.lane(0, 3).groups.every(({ target }) => {
      const sink = this.#sinks.get(sinkKey(target.address, broadcast));
      return sink !== undefined && (sink.clientId !== "" || sink.down);
    });
  }

  #lookAgain(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const look of waiting) look();
  }

  #invalidated(keys: readonly string[] | null, broadcast: boolean): void {
    if (keys === null) {
      this.invalidateAll();
      return;
    }
    if (!broadcast) {
      for (const key of keys) this.#invalidate(key);
      return;
    }
    for (const tracking of this.#sessions) {
      if (!tracking.mode.broadcast) continue;
      // A message for each prefix, as a server sends them.
      for (const prefix of tracking.mode.prefixes) {
        const wanted = keys.filter((key) => key.startsWith(prefix));
        if (wanted.length > 0) tracking.invalidate(wanted);
      }
    }
  }

  #invalidate(key: string): void {
    const sessions = this.#byKey.get(key);
    if (sessions === undefined) return;
    this.#byKey.delete(key);
    for (const tracking of sessions) {
      tracking.keys.delete(key);
      tracking.invalidate([key]);
    }
  }

  #forget(key: string, tracking: SessionTracking): void {
    const sessions = this.#byKey.get(key);
    if (sessions?.delete(tracking) === true && sessions.size === 0) this.#byKey.delete(key);
  }
}

function sinkKey(address: string, broadcast: boolean): string {
  return broadcast ? `${address} broadcast` : address;
}
