/**
 * MONITOR: what all groups' primaries execute, as one stream to each client that asked for it.
 *
 *   g1 ─▶ feed ─┐
 *   g2 ─▶ feed ─┼─▶ every monitoring session of this worker
 *   g3 ─▶ feed ─┘
 *
 * There is a feed for each group's primary while somebody monitors, however many do.
 * The lines are the servers': the time, the database and the address are those that the server sees, the
 * address being the proxy's. What the proxy answers itself no server executes, and is not shown. A client
 * that reads too slowly is closed at `client_output_bytes_max`, as for any other output.
 *
 * A feed is a connection of its own kind and not an Upstream, because what comes over it answers no request.
 */
import { type Bytes, readLatin1 } from "../../base/bytes.ts";
import { FLAG_READONLY } from "../../commands/command.ts";
import type { Timer } from "../../env/env.ts";
import type { Connection, ConnectionHandler } from "../../env/net.ts";
import { errorReply, OK } from "../../resp/reply-writer.ts";
import { parseAddress } from "../../topology/cluster-map.ts";
import type { DataPlane } from "../data-plane.ts";
import type { Request } from "../request.ts";
import type { Session } from "../downstream/session.ts";
import { requestOf } from "./ask-groups.ts";
import { type Call, fail } from "./call.ts";
import { mayWrite } from "./pause.ts";

/** Pause before a lost server is tried again. */
const RETRY_MS = 1000;
/** A longer line is no line of MONITOR: the connection is given up. Redis repeats arguments whole. */
const LINE_BYTES_MAX = 64 << 20;

type FeedState = "connecting" | "streaming" | "waiting" | "closed";

class Feed implements ConnectionHandler {
  readonly address: string;
  state: FeedState = "connecting";
  lastError = "";
  readonly #plane: DataPlane;
  readonly #onLine: (line: string) => void;
  readonly #onSettled: () => void;
  #connection: Connection | null = null;
  #timer: Timer | null = null;
  /** Replies to the handshake and to MONITOR that are still to come. */
  #repliesLeft = 0;
  /** The line that has begun, in the pieces in which it came. */
  #pieces: string[] = [];
  #pieceBytes = 0;

  constructor(plane: DataPlane, address: string, onLine: (line: string) => void, onSettled: () => void) {
    this.#plane = plane;
    this.address = address;
    this.#onLine = onLine;
    this.#onSettled = onSettled;
    this.#connect();
  }

  close(): void {
    this.state = "closed";
    this.#timer?.cancel();
    this.#connection?.close();
    this.#connection = null;
  }

  onOpen(): void {}

  onData(bytes: Bytes, start: number, end: number): void {
    let from = start;
    for (let at = bytes.indexOf(10, from); at >= 0 && at < end; at = bytes.indexOf(10, from)) {
      const line = this.#pieces.join("") + readLatin1(bytes, from, at + 1);
      this.#pieces = [];
      this.#pieceBytes = 0;
      this.#take(line);
      if (this.state === "closed" || this.state === "waiting") return;
      from = at + 1;
    }
    if (from === end) return;
    this.#pieces.push(readLatin1(bytes, from, end));
    this.#pieceBytes += end - from;
    if (this.#pieceBytes > LINE_BYTES_MAX) this.#lost("a line without an end");
  }

  onEnd(): void {
    this.#lost("the server closed the connection");
  }

  onDrain(): void {}

  onClose(reason: string): void {
    this.#lost(reason);
  }

  #connect(): void {
    this.state = "connecting";
    const { host, port } = parseAddress(this.address);
    const { server_username: user, server_password: password } = this.#plane.config;
    this.#connection = this.#plane.env.net.connect(host, port, this);
    const { output } = this.#connection;
    this.#repliesLeft = password === "" ? 1 : 2;
    if (password !== "") {
      output.appendLatin1(requestOf("AUTH", ...(user === "" ? [password] : [user, password])));
    }
    output.appendLatin1(requestOf("MONITOR"));
    this.#connection.flushSoon();
    const { server_connect_timeout_ms } = this.#plane.config;
    this.#timer = this.#plane.env.timers.after(server_connect_timeout_ms, () => {
      if (this.state === "connecting") this.#lost(`no answer within ${server_connect_timeout_ms} ms`);
    });
  }

  #take(line: string): void {
    if (line.startsWith("-")) this.#lost(line.slice(1).trim());
    else if (this.#repliesLeft === 0) this.#onLine(line);
    else if (--this.#repliesLeft === 0) {
      this.#timer?.cancel();
      this.state = "streaming";
      this.#onSettled();
    }
  }

  #lost(reason: string): void {
    if (this.state === "closed" || this.state === "waiting") return;
    this.lastError = reason;
    this.state = "waiting";
    this.#connection?.close();
    this.#connection = null;
    this.#pieces = [];
    this.#pieceBytes = 0;
    this.#plane.env.log.warn("monitoring of a server interrupted", { server: this.address, reason });
    this.#timer?.cancel();
    this.#timer = this.#plane.env.timers.after(RETRY_MS, () => this.#connect());
    this.#onSettled();
  }
}

export class Monitors {
  readonly #plane: DataPlane;
  readonly #sessions = new Set<Session>();
  readonly #feeds = new Map<string, Feed>();
  /** Sessions whose +OK waits until every server has begun. */
  #starting: { readonly session: Session; readonly place: Request }[] = [];

  constructor(plane: DataPlane) {
    this.#plane = plane;
  }

  /** Shows everything to `session` from its +OK on; that comes when the servers have begun. */
  add(session: Session): void {
    session.setMonitoring(true);
    this.#starting.push({ session, place: session.reserve() });
    this.mapChanged();
    this.#settle();
  }

  /** RESET, or the end of the session. */
  remove(session: Session): void {
    session.setMonitoring(false);
    this.#sessions.delete(session);
    this.#starting = this.#starting.filter((each) => each.session !== session || !session.closed);
    this.#closeUnused();
  }

  /** There are other servers: one feed for each group's primary, none for others. */
  mapChanged(): void {
    if (this.#unused) return;
    const wanted = new Set(this.#plane.slots.map?.groups.map((group) => group.primary));
    for (const [address, feed] of this.#feeds) {
      if (wanted.has(address)) continue;
      feed.close();
      this.#feeds.delete(address);
    }
    for (const address of wanted) {
      if (this.#feeds.has(address)) continue;
      this.#feeds.set(address, new Feed(this.#plane, address, this.#show, () => this.#settle()));
    }
  }

  closeAll(): void {
    for (const feed of this.#feeds.values()) feed.close();
    this.#feeds.clear();
  }

  get #unused(): boolean {
    return this.#sessions.size === 0 && this.#starting.length === 0;
  }

  #closeUnused(): void {
    if (this.#unused) this.closeAll();
  }

  readonly #show = (line: string): void => {
    for (const session of this.#sessions) session.answer(line);
  };

  /** Answers those that wait for the beginning, when each server has begun or can't be reached. */
  #settle(): void {
    const feeds = [...this.#feeds.values()];
    if (this.#starting.length === 0 || feeds.some((feed) => feed.state === "connecting")) return;
    const failed = feeds.every((feed) => feed.state !== "streaming");
    const starting = this.#starting;
    this.#starting = [];
    for (const { session, place } of starting) {
      if (failed) {
        session.setMonitoring(false);
        session.complete(place, errorReply(`ERR Cannot monitor: ${feeds[0]?.lastError ?? "no server"}`));
      } else {
        session.complete(place, OK);
        if (session.monitoring && !session.closed) this.#sessions.add(session);
      }
    }
    this.#closeUnused();
  }
}

/** Whether a client that monitors may not send this: a server takes it for a replica. */
export function refusedToMonitors(plane: DataPlane, call: Call): boolean {
  return (call.command.flags & FLAG_READONLY) !== 0 || mayWrite(plane, call);
}

/** MONITOR */
export function monitor(plane: DataPlane, call: Call): boolean {
  const { session } = call;
  if (session.capture !== null) return fail(session, "ERR MONITOR isn't allowed for DENY BLOCKING client");
  // At a server a second MONITOR gets no answer; an answer that is never given would hold up all that follow.
  if (session.monitoring) return true;
  plane.monitors.add(session);
  return true;
}
