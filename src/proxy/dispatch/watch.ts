/**
 * The keys that a session watches, and the connection on which it does.
 *
 *   WATCH k ─▶ a connection of the session's own, to the server of k's slot ─▶ … ─▶ MULTI … EXEC over the
 *   same connection
 *
 * EXEC answers nil when a watched key has changed: the server knows. When the connection is lost, or the
 * slot has been served elsewhere in between, nobody knows; then EXEC answers nil too, which tells the client
 * to start over.
 *
 * The session may change its database or its protocol between WATCH and EXEC. Other requests then take
 * another lane; here the connection itself follows, because what is watched can't be carried to another one.
 */
import { bulk, type Protocol } from "../../resp/reply-writer.ts";
import type { DataPlane } from "../data-plane.ts";
import type { Session } from "../downstream/session.ts";
import type { ReplyOwner } from "../request.ts";
import type { Upstream } from "../upstream/upstream.ts";

/** For requests whose replies say nothing new. */
const NOBODY: ReplyOwner = { onReply: () => undefined, onFailure: () => undefined };

export class Watch {
  /** Of the first key. */
  readonly slot: number;
  readonly upstream: Upstream;
  /** Of all keys: with one group they may be several, and a second group may come. */
  readonly #slots = new Set<number>();
  /** A watched slot has left the server, be it that it has come back since. */
  #left = false;
  readonly #plane: DataPlane;
  #database: number;
  #protocol: Protocol;
  /** The connection is on another database, or speaks another protocol, than those of its kind. */
  #strayed = false;

  constructor(plane: DataPlane, slot: number, upstream: Upstream) {
    this.#plane = plane;
    this.slot = slot;
    this.#slots.add(slot);
    this.upstream = upstream;
    this.#database = upstream.target.database;
    this.#protocol = upstream.target.protocol;
  }

  /** Whether what is watched can still be vouched for. */
  holds(session: Session): boolean {
    this.mapChanged(session);
    return !this.lost;
  }

  /** The connection is gone, or what it watches is elsewhere, and with it the knowledge of changes. */
  get lost(): boolean {
    return this.#left || this.upstream.state === "closed";
  }

  /** Keys of `slot` are watched as well. */
  add(slot: number): void {
    this.#slots.add(slot);
  }

  /** A map has come into force. */
  mapChanged(session: Session): void {
    const { homes } = session.lane;
    const { address } = this.upstream.target;
    for (const slot of this.#slots) this.#left ||= homes[slot].target.address !== address;
  }

  /**
   * Brings the connection to the session's database and protocol. To be called before it is used; not when
   * it is lost.
   */
  follow(session: Session): void {
    const { database, protocol } = session.lane;
    if (protocol !== this.#protocol) this.#say("HELLO", String(protocol));
    if (database !== this.#database) this.#say("SELECT", String(database));
    this.#protocol = protocol;
    this.#database = database;
  }

  /** Gives the connection back, watching nothing. */
  end(): void {
    if (!this.lost && !this.#strayed) this.#say("UNWATCH");
    this.release();
  }

  /** Gives the connection back when it owes nothing; EXEC has ended the watching. */
  release(): void {
    const { privates } = this.#plane;
    if (this.lost) privates.discard(this.upstream);
    else if (this.#strayed) this.upstream.whenIdle(() => privates.discard(this.upstream));
    else this.upstream.whenIdle(() => privates.give(this.upstream));
  }

  #say(...words: readonly string[]): void {
    this.#strayed ||= words.length > 1;
    this.upstream.begin(NOBODY, 0);
    this.upstream.output.appendLatin1(`*${words.length}\r\n${words.map(bulk).join("")}`);
    this.upstream.flushSoon();
  }
}
