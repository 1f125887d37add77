/**
 * One TCP connection over node:net.
 *
 * What waits in the output queue is copied into one buffer per write, because the runtime keeps a buffer
 * until it is sent while the queue's blocks go back to the pool. While the socket is full (`write` said
 * false) nothing more is written: the queue holds it, where the limits see it.
 */
import type { Socket } from "node:net";
import type { Bytes } from "../../base/bytes.ts";
import { OutputQueue } from "../../base/output-queue.ts";
import { type Connection, type ConnectionHandler, HEADROOM_BYTES, SLACK_BYTES } from "../../env/net.ts";
import type { PortableNet } from "./portable-net.ts";

/** Bytes handed on in one `onData`; the runtime's chunks are cut to this. */
export const RECEIVE_BYTES = 256 << 10;

/** The receive buffer of a process: every chunk is copied behind its headroom. */
export const receiveBytes: Bytes = Buffer.alloc(HEADROOM_BYTES + RECEIVE_BYTES + SLACK_BYTES);

export class PortableConnection implements Connection {
  readonly output: OutputQueue;
  handler: ConnectionHandler;
  dirty = false;
  readonly #net: PortableNet;
  readonly #socket: Socket;
  #open: boolean;
  #full = false;
  #closing = false;
  #drainWanted = false;
  #closed = false;
  #remoteAddress: string;

  constructor(
    net: PortableNet,
    socket: Socket,
    remoteAddress: string,
    handler: ConnectionHandler,
    open: boolean,
  ) {
    this.#net = net;
    this.#socket = socket;
    this.#remoteAddress = remoteAddress;
    this.#open = open;
    this.handler = handler;
    net.open++;
    this.output = new OutputQueue(net.blocks, open ? 4 << 10 : 64 << 10);
  }

  get remoteAddress(): string {
    return this.#remoteAddress;
  }

  get localAddress(): string {
    return `${this.#socket.localAddress ?? "?"}:${this.#socket.localPort ?? 0}`;
  }

  /**
   * Takes up the socket's events. Apart from the constructor, because an accepted connection gets its
   * handler in between.
   */
  register(openEvent = "connect"): void {
    const socket = this.#socket;
    socket.on(openEvent, () => this.#onConnect());
    socket.on("data", (chunk: Buffer) => this.#onChunk(chunk));
    socket.on("end", () => this.#closed || this.handler.onEnd());
    socket.on("drain", () => this.#onSocketDrain());
    socket.on("error", (error: NodeJS.ErrnoException) =>
      this.#fail(REASONS[error.code ?? ""] ?? error.message),
    );
    socket.on("close", () => this.#fail("connection closed by the other side"));
  }

  flushSoon(): void {
    if (this.dirty) return;
    this.dirty = true;
    this.#net.schedule(this);
  }

  flush(): void {
    if (this.#closed || !this.#open || this.#full) return;
    const output = this.output;
    while (output.length > 0 && !this.#full) {
      const size = output.headEnd - output.headStart;
      const copy = Buffer.allocUnsafe(size);
      output.headBlock.bytes.copy(copy, 0, output.headStart, output.headEnd);
      output.sent(size);
      this.#full = !this.#socket.write(copy);
    }
    if (output.length > 0 || this.#full) return;
    if (this.#closing) this.#socket.end();
    else if (this.#drainWanted) this.#drained();
  }

  callOnDrain(): void {
    this.#drainWanted = true;
    this.flushSoon();
  }

  #drained(): void {
    this.#drainWanted = false;
    this.handler.onDrain();
  }

  setReading(reading: boolean): void {
    if (this.#closed) return;
    if (reading) this.#socket.resume();
    else this.#socket.pause();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#net.open--;
    this.output.clear();
    this.#socket.destroy();
  }

  closeAfterFlush(lingerMs: number): void {
    if (this.#closed) return;
    this.#closing = true;
    this.#socket.pause();
    this.#net.timers.after(lingerMs, () => this.close());
    this.flushSoon();
  }

  #onConnect(): void {
    this.#open = true;
    this.handler.onOpen();
    this.flushSoon();
  }

  #onChunk(chunk: Buffer): void {
    this.#net.active = true;
    for (let at = 0; at < chunk.length && !this.#closed && !this.#closing; at += RECEIVE_BYTES) {
      const size = Math.min(RECEIVE_BYTES, chunk.length - at);
      chunk.copy(receiveBytes, HEADROOM_BYTES, at, at + size);
      this.handler.onData(receiveBytes, HEADROOM_BYTES, HEADROOM_BYTES + size);
    }
  }

  #onSocketDrain(): void {
    this.#full = false;
    this.flush();
  }

  #fail(reason: string): void {
    if (this.#closed) return;
    this.close();
    if (!this.#closing) this.handler.onClose(reason);
  }
}

/** The same words as the epoll transport's. */
const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused",
  ECONNRESET: "connection reset by peer",
  EPIPE: "broken pipe",
  ETIMEDOUT: "connection timed out",
  EHOSTUNREACH: "no route to host",
  ENETUNREACH: "network unreachable",
};
