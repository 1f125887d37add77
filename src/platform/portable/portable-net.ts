/**
 * env.net over node:net: same behaviour as the epoll loop, driven by the runtime's own loop.
 *
 *   data event ─▶ onData ─▶ output queues ─▶ (setImmediate) ─▶ turn-end calls ─▶ one write per dirty
 *   connection
 */
import { createServer, Socket } from "node:net";
import { type Block, BlockPool } from "../../base/block-pool.ts";
import { ShoalError } from "../../base/shoal-error.ts";
import type { Timers } from "../../env/env.ts";
import type { Connection, ConnectionHandler, Listener, ListenOptions, Net } from "../../env/net.ts";
import { PortableConnection } from "./portable-connection.ts";

export class PortableNet implements Net {
  readonly blocks = new BlockPool(allocateBlock);
  readonly timers: Timers;
  #dirty: PortableConnection[] = [];
  #turnEnd: (() => void)[] = [];
  #scheduled = false;

  constructor(timers: Timers) {
    this.timers = timers;
  }

  listen(options: ListenOptions, accept: (connection: Connection) => ConnectionHandler): Listener {
    const { host, port, backlog } = options;
    // Half-open connections are allowed: a client that has sent its last request still gets the replies.
    const server = createServer({ noDelay: true, keepAlive: true, allowHalfOpen: true }, (socket) => {
      const remote = `${socket.remoteAddress ?? "?"}:${socket.remotePort ?? 0}`;
      const connection = new PortableConnection(this, socket, remote, PLACEHOLDER, true);
      connection.handler = accept(connection);
      connection.register();
    });
    server.on("error", (error) => {
      throw new ShoalError("ADDRESS_IN_USE", `Cannot listen on ${host}:${port}: ${error.message}`);
    });
    // exclusive: false and reusePort let several workers listen on one port, as the epoll transport does.
    server.listen({ host, port, backlog, reusePort: true } as Parameters<typeof server.listen>[0]);
    return { address: `${host}:${port}`, close: () => void server.close() };
  }

  connect(host: string, port: number, handler: ConnectionHandler): Connection {
    const socket = new Socket({ allowHalfOpen: false });
    socket.setNoDelay(true);
    socket.setKeepAlive(true);
    const connection = new PortableConnection(this, socket, `${host}:${port}`, handler, false);
    connection.register();
    socket.connect({ host, port });
    return connection;
  }

  atTurnEnd(run: () => void): void {
    this.#turnEnd.push(run);
    this.#wake();
  }

  schedule(connection: PortableConnection): void {
    this.#dirty.push(connection);
    this.#wake();
  }

  #wake(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#endTurn);
  }

  readonly #endTurn = (): void => {
    this.#scheduled = false;
    const calls = this.#turnEnd;
    this.#turnEnd = [];
    for (const call of calls) call();
    const dirty = this.#dirty;
    this.#dirty = [];
    for (const connection of dirty) {
      connection.dirty = false;
      connection.flush();
    }
  };
}

function allocateBlock(size: number): Block {
  return { bytes: Buffer.from(new ArrayBuffer(size)), address: 0 };
}

function nothing(): void {}

const PLACEHOLDER: ConnectionHandler = {
  onOpen: nothing,
  onData: nothing,
  onEnd: nothing,
  onDrain: nothing,
  onClose: nothing,
};
