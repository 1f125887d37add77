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
import type {
  Connection,
  ConnectionHandler,
  Listener,
  ListenOptions,
  Net,
  TlsClientOptions,
} from "../../env/net.ts";
import { createTlsServer, TlsConnector } from "../tls/tls-sockets.ts";
import { PortableConnection } from "./portable-connection.ts";

export class PortableNet implements Net {
  readonly blocks: BlockPool;
  readonly work = { begun: 0, ended: 0, parts: 0 };
  readonly timers: Timers;
  /** Connections there are. */
  open = 0;
  /** Something has arrived, or is about to be sent, since it was last set to false. */
  active = false;
  readonly #connector: TlsConnector | null;
  #dirty: PortableConnection[] = [];
  #turnEnd: (() => void)[] = [];
  #scheduled = false;

  /**
   * `serverTls`: how to connect by TLS, when outgoing connections do. `blocks`: those of the transport
   * beside which it works; blocks change hands between connections, so that there can be one kind only.
   * @throws ShoalError CONFIG for TLS files that are of no use
   */
  constructor(timers: Timers, serverTls: TlsClientOptions | null = null, blocks?: BlockPool) {
    this.timers = timers;
    this.blocks = blocks ?? new BlockPool(allocateBlock);
    this.#connector = serverTls === null ? null : new TlsConnector(serverTls);
  }

  listen(options: ListenOptions, accept: (connection: Connection) => ConnectionHandler): Listener {
    const { host, port, backlog, tls } = options;
    const onSocket = (socket: Socket): void => {
      const remote = `${socket.remoteAddress ?? "?"}:${socket.remotePort ?? 0}`;
      const connection = new PortableConnection(this, socket, remote, PLACEHOLDER, true);
      connection.handler = accept(connection);
      connection.register();
    };
    // Half-open connections are allowed: a client that has sent its last request still gets the replies.
    const server =
      tls === undefined
        ? createServer({ noDelay: true, keepAlive: true, allowHalfOpen: true }, onSocket)
        : createTlsServer(tls, onSocket);
    server.on("error", (error) => {
      throw new ShoalError("ADDRESS_IN_USE", `Cannot listen on ${host}:${port}: ${error.message}`);
    });
    // exclusive: false and reusePort let several workers listen on one port, as the epoll transport does.
    server.listen({ host, port, backlog, reusePort: true } as Parameters<typeof server.listen>[0]);
    return { address: `${host}:${port}`, close: () => void server.close() };
  }

  connect(host: string, port: number, handler: ConnectionHandler): Connection {
    if (this.#connector !== null) return this.#connectTls(this.#connector, host, port, handler);
    const socket = new Socket({ allowHalfOpen: false });
    socket.setNoDelay(true);
    socket.setKeepAlive(true);
    const connection = new PortableConnection(this, socket, `${host}:${port}`, handler, false);
    connection.register();
    socket.connect({ host, port });
    return connection;
  }

  #connectTls(connector: TlsConnector, host: string, port: number, handler: ConnectionHandler): Connection {
    const socket = connector.connect(host, port);
    socket.setNoDelay(true);
    socket.setKeepAlive(true);
    const connection = new PortableConnection(this, socket, `${host}:${port}`, handler, false);
    connection.register("secureConnect");
    return connection;
  }

  /** Ends the turn now instead of when the runtime's loop comes round. */
  endTurn(): void {
    if (this.#scheduled) this.#endTurn();
  }

  atTurnEnd(run: () => void): void {
    this.#turnEnd.push(run);
    this.#wake();
  }

  schedule(connection: PortableConnection): void {
    this.active = true;
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
