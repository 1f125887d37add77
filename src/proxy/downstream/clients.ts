/**
 * The clients of a worker: accepting, counting, finding, closing.
 *
 * Ids grow by one with each connection; with several workers the worker's number stands in the low digits,
 * so that an id names one client of the whole proxy.
 */
import type { Connection, ConnectionHandler, Listener } from "../../env/net.ts";
import { errorReply } from "../../resp/reply-writer.ts";
import { parseAddress } from "../../topology/cluster-map.ts";
import type { DataPlane } from "../data-plane.ts";
import { clientTlsOf } from "../tls-config.ts";
import { Session } from "./session.ts";

/** Connections that the kernel may queue for a worker. */
const BACKLOG = 4096;
/** How long a refused client may take to read why. */
const REFUSED_LINGER_MS = 1000;

export class Clients {
  readonly #plane: DataPlane;
  readonly #sessions = new Map<number, Session>();
  readonly #idStep: number;
  #nextId: number;
  readonly #listeners: Listener[] = [];
  #onEmpty: (() => void) | null = null;

  constructor(plane: DataPlane) {
    this.#plane = plane;
    this.#idStep = plane.config.workers;
    this.#nextId = plane.config.workers === 1 ? 1 : plane.config.workers + plane.identity.worker;
  }

  get count(): number {
    return this.#sessions.size;
  }

  /** Listens on each address of the configuration; the first one comes back. */
  listen(): string {
    const { config, env } = this.#plane;
    const admit = (connection: Connection): ConnectionHandler => this.#admit(connection);
    if (config.listen !== "") {
      this.#listeners.push(env.net.listen({ ...parseAddress(config.listen), backlog: BACKLOG }, admit));
    }
    if (config.tls_listen !== "") {
      const tls = clientTlsOf(config, (reason) => this.#refusedByTls(reason));
      this.#listeners.push(
        env.net.listen({ ...parseAddress(config.tls_listen), backlog: BACKLOG, tls }, admit),
      );
    }
    return this.#listeners[0].address;
  }

  accept(connection: Connection): Session {
    const id = this.#nextId;
    this.#nextId += this.#idStep;
    const session = new Session(this.#plane, id, connection);
    this.#sessions.set(id, session);
    this.#plane.counters.connections++;
    return session;
  }

  get(id: number): Session | undefined {
    return this.#sessions.get(id);
  }

  all(): IterableIterator<Session> {
    return this.#sessions.values();
  }

  closed(session: Session, reason: string): void {
    this.#sessions.delete(session.id);
    this.#plane.env.log.debug("client closed", {
      id: session.id,
      address: session.connection.remoteAddress,
      reason,
    });
    if (this.#sessions.size === 0) this.#onEmpty?.();
  }

  closeAll(reason: string): void {
    for (const session of this.#sessions.values()) session.abort(reason);
  }

  /** No new clients; those that are here get the replies they are owed, then they are closed. */
  drain(onEmpty: () => void): void {
    this.#onEmpty = onEmpty;
    for (const listener of this.#listeners) listener.close();
    for (const session of this.#sessions.values()) {
      // A wait at a server would outlast the drain.
      session.blocked?.unblock(false, () => undefined);
      session.closeWhenAnswered();
    }
    if (this.#sessions.size === 0) onEmpty();
  }

  /** Closes clients that have sent nothing for too long. */
  closeIdle(): void {
    const boundS = this.#plane.config.client_idle_timeout_s;
    if (boundS === 0) return;
    for (const session of this.#sessions.values()) {
      if (session.inFlight === 0 && !session.listens && this.#plane.tick - session.info.lastTick > boundS)
        session.abort("idle for too long");
    }
  }

  #refusedByTls(reason: string): void {
    this.#plane.counters.tlsFailures++;
    this.#plane.env.log.debug("TLS handshake failed", { reason });
  }

  #admit(connection: Connection): ConnectionHandler {
    if (this.#sessions.size < this.#plane.config.clients_max) return this.accept(connection);
    this.#plane.counters.rejectedConnections++;
    connection.output.appendLatin1(errorReply("ERR max number of clients reached"));
    connection.closeAfterFlush(REFUSED_LINGER_MS);
    return connection.handler;
  }
}
