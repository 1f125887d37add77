/**
 * Sockets as the data path sees them: bytes come in through one call, wait in an output queue, and leave
 * once per loop turn.
 *
 *   onData(bytes, start, end) ─▶ handler ─▶ connection.output.append(…) ─▶ connection.flushSoon()
 *                                                                            └─ one send when the turn ends
 *
 * Two transports implement this (platform/epoll, platform/portable); all proxy tests run on both.
 */
import type { BlockPool } from "../base/block-pool.ts";
import type { Bytes } from "../base/bytes.ts";
import type { OutputQueue } from "../base/output-queue.ts";

/**
 * Bytes that a handler may write right before `start` of what `onData` hands it: the place for the rest of
 * last time.
 */
export const HEADROOM_BYTES = 16 << 10;

/**
 * Bytes after `end` that may be read (contents undefined): lets a scanner check its bounds once per element.
 */
export const SLACK_BYTES = 64;

export interface ConnectionHandler {
  /** An outgoing connection is there. */
  onOpen(): void;
  /** `bytes[start, end)` has arrived. Valid during the call only. `start >= HEADROOM_BYTES`. */
  onData(bytes: Bytes, start: number, end: number): void;
  /** The other side will send no more; what we send still reaches it. */
  onEnd(): void;
  /** After `callOnDrain`: all that waited has been sent. */
  onDrain(): void;
  /** The connection is gone, for `reason`. Last call. Not made for a connection that our side closed. */
  onClose(reason: string): void;
}

export interface Connection {
  /** Append here, then `flushSoon()`. */
  readonly output: OutputQueue;
  readonly remoteAddress: string;
  readonly localAddress: string;
  handler: ConnectionHandler;
  /** Sends what waits, when the present loop turn ends. */
  flushSoon(): void;
  /** Asks for one `onDrain`, when nothing waits any more. */
  callOnDrain(): void;
  /** Stops, or takes up again, the calls to `onData`. */
  setReading(reading: boolean): void;
  /** Closes at once; what waits is dropped. No handler call follows. */
  close(): void;
  /** Closes when what waits has been sent, but after `lingerMs` at the latest. No handler call follows. */
  closeAfterFlush(lingerMs: number): void;
}

export interface Listener {
  readonly address: string;
  close(): void;
}

/** PEM files by path; "" where there is none. */
export interface TlsFiles {
  /** Who may have signed the other side's certificate; "" for those that the machine trusts. */
  readonly caFile: string;
  readonly certFile: string;
  readonly keyFile: string;
}

export interface TlsServerOptions extends TlsFiles {
  /** Whether clients show a certificate: never, if they have one (it must be good then), always. */
  readonly clients: "no" | "optional" | "required";
  /** A handshake has failed, for `reason`. */
  readonly onRefused: (reason: string) => void;
}

export interface TlsClientOptions extends TlsFiles {
  /**
   * What of the server's certificate is checked: "ca" who has signed it, "name" also that it is for the host
   * which was connected to, "none" nothing at all.
   */
  readonly verify: "ca" | "name" | "none";
}

export interface ListenOptions {
  readonly host: string;
  readonly port: number;
  /** Clients come by TLS. */
  readonly tls?: TlsServerOptions;
  /** Connections that the kernel may queue. */
  readonly backlog: number;
}

/**
 * How much those who use the transport have to do, counted by them: a transport may choose by it when to
 * look for more.
 */
export interface Work {
  /** Requests that have been taken, and parts of requests. Only grows. */
  begun: number;
  /** Those of them that are answered. Only grows. */
  ended: number;
  /** Those under way that are parts, or no client's: the rest are requests that clients wait for. */
  parts: number;
}

export interface Net {
  readonly blocks: BlockPool;
  readonly work: Work;
  /**
   * Listens with SO_REUSEPORT, so that several workers share the port. `accept` gives each connection its
   * handler.
   * @throws ShoalError ADDRESS_IN_USE; CONFIG for TLS files that are of no use
   */
  listen(options: ListenOptions, accept: (connection: Connection) => ConnectionHandler): Listener;
  /** Starts connecting; `handler.onOpen` or `handler.onClose` tells how it went. */
  connect(host: string, port: number, handler: ConnectionHandler): Connection;
  /** Calls `run` once, when the present loop turn ends, before the sends. */
  atTurnEnd(run: () => void): void;
}
