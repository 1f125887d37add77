/**
 * Requests that wait instead of failing, while their group has no server that takes them.
 *
 *   request ─▶ its upstream is not open ─▶ enter ─┬─ true: the session is held, its input stays where it is
 *                                                 └─ false: let it go on, to an answer or to a refusal
 *   the server answers, the map names another one ─▶ all who wait for the group look again
 *   `hold_timeout_ms` since the group was lost    ─▶ they look again and are refused; so is who comes later
 *
 * A group is lost once for all: replies are ordered per client, so with a time per request one dead group
 * would stop a client that mixes groups again and again. Held are whole sessions and not copies of requests:
 * the order stays. The socket is read on for a while, to see the client's end: who has given up must not have
 * a write done seconds later.
 *
 * What had been sent already is not held but failed, or, if it only reads, sent again (retries.ts).
 *
 * Invariants: nothing that is held has been sent anywhere; a session stands in one room at most, because it
 * takes no request while it does. Rejected: queueing in the upstream until it is back. The map may name
 * another server meanwhile, or another group for some of the slots, and the queue would have to be taken
 * apart.
 */
import type { ClusterMap } from "../../topology/cluster-map.ts";
import type { DataPlane } from "../data-plane.ts";
import type { Session } from "../downstream/session.ts";
import type { Upstream } from "../upstream/upstream.ts";
import { HoldRoom } from "./hold-room.ts";
import { Retries } from "./retries.ts";

/** Sessions that one worker holds at a time; one more is refused as if the time were over. */
export const HELD_SESSIONS_MAX = 10_000;
/**
 * Bytes that those sessions have sent and that wait; counted at each look, so it can be more for that long.
 */
export const HELD_BYTES_MAX = 256 << 20;

/** Bytes of one of them that are taken in; then its socket is not read. */
const HELD_READ_BYTES_MAX = 1 << 20;

export class Holding {
  /** Reads that were under way when their connection broke. */
  readonly retries: Retries;
  readonly #plane: DataPlane;
  readonly #rooms = new Map<string, HoldRoom>();
  #timeoutMs: number;
  /** Bytes that waited at the last look. */
  #bytes = 0;

  constructor(plane: DataPlane) {
    this.#plane = plane;
    this.#timeoutMs = plane.config.hold_timeout_ms;
    this.retries = new Retries(plane);
  }

  /** Clients that wait: those that are held, and those that are not, with a read that waits. */
  get clients(): number {
    return this.count + this.retries.clientsNotHeld;
  }

  /** For how long requests of a group that is lost wait, in ms. */
  get timeoutMs(): number {
    return this.#timeoutMs;
  }

  /** Sessions that are held now. */
  get count(): number {
    let count = 0;
    for (const room of this.#rooms.values()) count += room.size;
    return count;
  }

  /** A map is in force: everybody looks again; a group with another server is given its time anew. */
  applyMap(map: ClusterMap): void {
    const option = map.options["hold_timeout_ms"];
    this.#timeoutMs = typeof option === "number" ? option : this.#plane.config.hold_timeout_ms;
    for (const { id, primary, held = false } of map.groups) {
      const room = this.#rooms.get(id);
      if (room !== undefined && room.serves(primary, held)) room.found();
    }
    this.#plane.slots.forEachUpstream((upstream) => {
      const { group } = upstream.target;
      upstream.heldByMap = map.groups.some(({ id, held }) => id === group && held === true);
    });
    this.retries.applyMap(map);
    this.#releaseAll();
  }

  /**
   * Whether the session waits for `upstream`; then the request is not to be taken, and is looked at again
   * later.
   */
  enter(session: Session, upstream: Upstream): boolean {
    if (!this.mayWait(upstream)) return false;
    if (this.#bytes > HELD_BYTES_MAX || this.count >= HELD_SESSIONS_MAX) {
      this.#plane.counters.holdsRefused++;
      return false;
    }
    this.#plane.counters.requestsHeld++;
    this.#roomOf(upstream.target.group).add(session);
    return true;
  }

  /** Whether a request for `upstream` would have to wait, and may. */
  mayWait(upstream: Upstream): boolean {
    upstream.prepare();
    const { open, heldByMap } = upstream;
    if ((open && !heldByMap) || upstream.refuses || upstream.state === "closed") return false;
    // A first connection is as good as there: it is known in a moment, whatever the time for holding is.
    if (upstream.state === "connecting" && !heldByMap) return true;
    return this.#roomOf(upstream.target.group).holds(this.#plane.env.clock.nowMs(), this.#timeoutMs);
  }

  /** As `enter`, for a request that needs all of `upstreams`. */
  enterAny(session: Session, upstreams: readonly Upstream[]): boolean {
    return upstreams.some((upstream) => this.enter(session, upstream));
  }

  /** The connection to a server is lost, or did not come about. */
  lost(upstream: Upstream): void {
    const room = this.#roomOf(upstream.target.group);
    // Who waited for a first connection must be told when nothing is held longer than that.
    if (!room.holds(this.#plane.env.clock.nowMs(), this.#timeoutMs)) room.release();
    this.#plane.sights.look();
  }

  /** A server hangs: its other connections hang too, and need not find out one by one. */
  hung(upstream: Upstream, reason: string): void {
    const { address } = upstream.target;
    this.#plane.slots.forEachUpstream((each) => {
      if (each !== upstream && each.target.address === address) each.doubt(reason);
    });
  }

  /** A server answers. */
  back(upstream: Upstream): void {
    const room = this.#rooms.get(upstream.target.group);
    room?.found();
    this.retries.sendReady();
    room?.release();
    this.#plane.sights.look();
  }

  /** Ends what has lasted long enough; to be called again and again. */
  check(): void {
    this.retries.check();
    if (this.#rooms.size === 0) return;
    const nowMs = this.#plane.env.clock.nowMs();
    // When much waits already, nobody's bytes are added to it.
    const readBytesMax = this.#bytes > HELD_BYTES_MAX / 2 ? 0 : HELD_READ_BYTES_MAX;
    let bytes = 0;
    for (const room of this.#rooms.values()) {
      bytes += room.inputBytes(readBytesMax);
      if (room.size > 0 && room.expired(nowMs, this.#timeoutMs)) room.release();
    }
    this.#bytes = bytes;
  }

  #releaseAll(): void {
    for (const room of this.#rooms.values()) room.release();
  }

  #roomOf(group: string): HoldRoom {
    let room = this.#rooms.get(group);
    if (room === undefined) {
      const known = this.#plane.slots.map?.groups.find((each) => each.id === group);
      room = new HoldRoom(known?.primary ?? "", known?.held ?? false);
      this.#rooms.set(group, room);
    }
    return room;
  }
}
