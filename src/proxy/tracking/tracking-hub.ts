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
 * everything. While a sink is away nothing that is there to be watched is: each read from its server is told
 * at once (`announce`), and the other servers' keys stay as they are, however often a try fails.
 */
import { bulk } from "../../resp/reply-writer.ts";
import type { DataPlane } from "../data-plane.ts";
import type { ReplyOwner } from "../request.ts";
import type { Lane } from "../slots/lane.ts";
import type { Upstream } from "../upstream/upstream.ts";
import { NoLoopLinks } from "./no-loop-links.ts";
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
  readonly #links: NoLoopLinks;
  #waiting: (() => void)[] = [];
  #keysMax = TRACKED_KEYS_MAX;

  constructor(plane: DataPlane) {
    this.#plane = plane;
    this.#links = new NoLoopLinks(plane, {
      onInvalidate: (keys, lane) => this.#tell(keys, lane, (each) => isOf(each, lane)),
      barrier: (address, run) => {
        const sink = this.#sinks.get(sinkKey(address, true));
        if (sink === undefined) run();
        else sink.barrier(run);
      },
      onSettled: () => this.#lookAgain(),
    });
  }

  /**
   * Takes a session in. `done` is called when each server's sink is there. One that is down is not waited
   * for: until it is back, what is read from its server is invalidated at once.
   */
  add(tracking: SessionTracking, done: () => void): void {
    this.#sessions.add(tracking);
    this.#makeNeeded(tracking);
    if (this.#settled(tracking)) {
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
      if (this.#settled(tracking)) end();
      else this.#waiting.push(look);
    };
    this.#waiting.push(look);
  }

  remove(tracking: SessionTracking): void {
    if (!this.#sessions.delete(tracking)) return;
    for (const key of tracking.keys) this.#forget(key, tracking);
    this.#keepUsedLinks();
    if (this.#sessions.size > 0) return;
    for (const sink of this.#sinks.values()) sink.close();
    this.#sinks.clear();
  }

  /** Sessions that track. */
  get count(): number {
    return this.#sessions.size;
  }

  /** Prefixes that BCAST sessions have asked for. */
  get prefixCount(): number {
    return new Set([...this.#sessions].flatMap(({ mode }) => (mode.broadcast ? mode.prefixes : []))).size;
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
    if (this.#byKey.size > this.#keysMax) this.#makeRoom();
  }

  /** How many keys are remembered from now on, at most; 0: as many as ever (tracking-table-max-keys). */
  limitKeys(count: number): void {
    this.#keysMax = count > 0 ? Math.min(count, TRACKED_KEYS_MAX) : TRACKED_KEYS_MAX;
    this.#makeRoom();
  }

  unnote(key: string, tracking: SessionTracking): void {
    tracking.keys.delete(key);
    this.#forget(key, tracking);
  }

  /**
   * The next request over `upstream` is a read that its client may keep: tells the server so, right before
   * it. With BCAST the server tells all changes anyway.
   */
  announce(upstream: Upstream, { mode, lane }: SessionTracking): void {
    const { address } = upstream.target;
    const ownSink = mode.lane === "noloop";
    const sink = ownSink
      ? this.#links.sink(lane, address)
      : this.#sinks.get(sinkKey(address, mode.broadcast));
    if (sink === undefined || sink.clientId === "") {
      // Nobody will tell what changes: what is read now must not be kept.
      this.#plane.env.net.atTurnEnd(() => this.invalidateAll());
      return;
    }
    if (mode.broadcast) return;
    const { clientId } = sink;
    if (upstream.trackedBy !== clientId) {
      if (upstream.trackedBy !== "") this.#say(upstream, clientId, "CLIENT", "TRACKING", "OFF");
      // Connections of a session's own are lent to others next, whose writes must be told.
      const noLoop = ownSink && lane.groups.includes(upstream) ? ["NOLOOP"] : [];
      this.#say(upstream, clientId, "CLIENT", "TRACKING", "ON", "REDIRECT", clientId, "OPTIN", ...noLoop);
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

  /**
   * A session has come from one lane to another: sees to what tells it of others' writes only. What the old
   * lane's links were about to say it still hears; what it has read over the old lane nobody vouches for.
   */
  laneChanged(tracking: SessionTracking, before: Lane): void {
    this.#links.use(tracking.lane);
    if (!tracking.mode.broadcast) {
      if (tracking.keys.size > 0) this.#forgetAllOf(tracking);
      return;
    }
    tracking.leaving.add(before);
    this.#links.barrier(before, () => {
      tracking.leaving.delete(before);
      this.#keepUsedLinks();
    });
  }

  /** Before a request over a lane of its own. */
  renew(upstream: Upstream): void {
    this.#links.renew(upstream);
  }

  /** Whether other sessions are on the lane of a NOLOOP session. */
  sharesLane(writer: SessionTracking): boolean {
    for (const each of this.#sessions) if (each !== writer && isOf(each, writer.lane)) return true;
    return false;
  }

  /** `writer` has changed `keys`: tells the others of its lane. */
  tellLane(writer: SessionTracking, keys: readonly string[] | null): void {
    this.#tell(keys, writer.lane, (each) => each !== writer && isOf(each, writer.lane));
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
    this.#keepUsedLinks();
    for (const tracking of this.#sessions) this.#makeNeeded(tracking);
    this.invalidateAll();
    // Those that wait for a server which is no longer in the map wait no more.
    this.#lookAgain();
  }

  #keepUsedLinks(): void {
    const lanes = [...this.#sessions].flatMap(({ lane, leaving }) => [lane, ...leaving]);
    this.#links.keep(new Set(lanes));
  }

  #makeNeeded({ mode, lane }: SessionTracking): void {
    if (mode.lane !== "noloop") this.#makeSinks(mode.broadcast);
    if (mode.lane !== "shared") this.#links.use(lane);
  }

  #makeSinks(broadcast: boolean): void {
    for (const upstream of this.#plane.slots.lane(0, 3).groups) {
      const key = sinkKey(upstream.target.address, broadcast);
      if (this.#sinks.has(key)) continue;
      const sink = new TrackingSink(this.#plane, upstream.target, broadcast, {
        onReady: (late) => {
          // What was read while it was away, nobody has watched.
          if (broadcast) this.#tellBroadcast(null, () => true);
          else if (late) this.#tellReaders(null, ({ mode }) => mode.lane === "shared");
          this.#lookAgain();
        },
        onInvalidate: (keys) => {
          if (broadcast) this.#tellBroadcast(keys, (each) => this.#heeds(each, upstream));
          else this.#tellReaders(keys, ({ mode }) => mode.lane === "shared");
        },
        onLost: () => {
          this.invalidateAll();
          this.#lookAgain();
        },
        onFailed: () => {
          // What a BCAST client keeps may have been read over other connections, unknown to `announce`.
          if (broadcast) this.#tellBroadcast(null, () => true);
          this.#lookAgain();
        },
      });
      this.#sinks.set(key, sink);
    }
  }

  /** Whether each server's sink is there, or known not to be. */
  #settled({ mode, lane }: SessionTracking): boolean {
    if (mode.lane !== "shared" && !this.#links.settled(lane)) return false;
    if (mode.lane === "noloop") return true;
    return this.#plane.slots.lane(0, 3).groups.every(({ target }) => {
      const sink = this.#sinks.get(sinkKey(target.address, mode.broadcast));
      return sink !== undefined && (sink.clientId !== "" || sink.down);
    });
  }

  #lookAgain(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const look of waiting) look();
  }

  /** Whether a session is told what the BCAST sink of a server says, and not by a link of its own. */
  #heeds({ mode, lane }: SessionTracking, { target }: Upstream): boolean {
    return mode.lane === "shared" || !this.#links.stands(lane, target.address);
  }

  #tell(keys: readonly string[] | null, lane: Lane, concerns: Concerns): void {
    if (lane.kind === "noloop") this.#tellReaders(keys, concerns);
    else this.#tellBroadcast(keys, concerns);
  }

  #tellBroadcast(keys: readonly string[] | null, concerns: Concerns): void {
    for (const tracking of this.#sessions)
      if (tracking.mode.broadcast && tracking.started && concerns(tracking)) tracking.broadcast(keys);
  }

  #tellReaders(keys: readonly string[] | null, concerns: Concerns): void {
    if (keys !== null) {
      for (const key of keys) this.#invalidate(key, concerns);
      return;
    }
    for (const tracking of this.#sessions) {
      if (!tracking.mode.broadcast && concerns(tracking)) this.#forgetAllOf(tracking);
    }
  }

  #makeRoom(): void {
    const { size } = this.#byKey;
    const surplus = [...take(this.#byKey.keys(), size - this.#keysMax)];
    for (const key of surplus) this.#invalidate(key, () => true);
  }

  #forgetAllOf(tracking: SessionTracking): void {
    for (const key of tracking.keys) this.#forget(key, tracking);
    tracking.keys.clear();
    tracking.invalidate(null);
  }

  #invalidate(key: string, concerns: Concerns): void {
    const sessions = this.#byKey.get(key);
    if (sessions === undefined) return;
    for (const tracking of sessions) {
      if (!concerns(tracking)) continue;
      sessions.delete(tracking);
      tracking.keys.delete(key);
      tracking.invalidate([key]);
    }
    if (sessions.size === 0) this.#byKey.delete(key);
  }

  #forget(key: string, tracking: SessionTracking): void {
    const sessions = this.#byKey.get(key);
    if (sessions?.delete(tracking) === true && sessions.size === 0) this.#byKey.delete(key);
  }
}

function* take<T>(values: Iterable<T>, count: number): Generator<T> {
  let left = count;
  for (const value of values) {
    if (left-- <= 0) return;
    yield value;
  }
}

/** Whether a session is one of those that are told. */
type Concerns = (tracking: SessionTracking) => boolean;

function isOf({ mode, lane, leaving }: SessionTracking, of: Lane): boolean {
  return mode.lane !== "shared" && (lane === of || leaving.has(of));
}

function sinkKey(address: string, broadcast: boolean): string {
  return broadcast ? `${address} broadcast` : address;
}
