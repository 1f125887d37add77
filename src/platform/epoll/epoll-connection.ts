/**
 * One TCP connection over epoll.
 *
 *   connecting ──EPOLLOUT, SO_ERROR 0──▶ open ──recv 0──▶ ended (still sends) ──▶ closed
 *        └───────── error ─────────────────┴── error, close(), flushed after closeAfterFlush ─▶ closed
 *
 * Edge-triggered: the kernel tells of a change once, and does not look at each socket again in the next turn
 * to see whether it is still readable. So a receive that may not have emptied the socket (a full buffer, or
 * the other side's end behind the data) is done again in the next turn, by `net.readAgain`.
 *
 * Invariants: the descriptor is closed at the end of the turn only, so that an event of the same batch can't
 * reach another connection which got its number; EPOLLOUT is asked for only while a full socket holds bytes
 * back.
 */
import { ptr } from "bun:ffi";
import { OutputQueue } from "../../base/output-queue.ts";
import type { Connection, ConnectionHandler } from "../../env/net.ts";
import { HEADROOM_BYTES } from "../../env/net.ts";
import type { EpollNet } from "./epoll-net.ts";
import {
  EPOLLERR,
  EPOLLET,
  EPOLLHUP,
  EPOLLIN,
  EPOLLOUT,
  EPOLLRDHUP,
  ERRNO_TEXT,
  libc,
  MSG_NOSIGNAL,
  pointer,
  SO_ERROR,
  SOL_SOCKET,
} from "./libc.ts";

/** What is received in one call, at the most. */
export const RECEIVE_BYTES = 128 << 10;

const optionValue = new Int32Array(1);
const optionLength = new Uint32Array([4]);

/** What a failed receive means when the socket does not say. */
const RESET = "connection reset by peer";

export class EpollConnection implements Connection {
  readonly output: OutputQueue;
  readonly remoteAddress: string;
  localAddress = "";
  handler: ConnectionHandler;
  /** Negative: there was none left. */
  readonly fd: number;
  dirty = false;
  #net: EpollNet;
  #state: "connecting" | "open" | "ended" | "closed";
  #interest = 0;
  #reading = true;
  #closing = false;
  #drainWanted = false;

  constructor(net: EpollNet, fd: number, remoteAddress: string, handler: ConnectionHandler, open: boolean) {
    this.#net = net;
    this.fd = fd;
    this.remoteAddress = remoteAddress;
    this.handler = handler;
    this.output = new OutputQueue(net.blocks, open ? 4 << 10 : 64 << 10);
    this.#state = open ? "open" : "connecting";
  }

  /**
   * Registers with epoll. Apart from the constructor, because an accepted connection gets its handler in
   * between.
   */
  register(): void {
    this.#interest = EPOLLET | EPOLLRDHUP | (this.#state === "connecting" ? EPOLLOUT : EPOLLIN);
    this.#net.add(this, this.#interest);
  }

  /** Without a descriptor: fails when its owner has it, as one does that is refused. */
  failSoon(reason: string): void {
    this.#net.timers.after(0, () => this.#fail(reason));
  }

  flushSoon(): void {
    if (this.dirty) return;
    this.dirty = true;
    this.#net.dirty.push(this);
  }

  /** Sends what waits. Called by the loop when the turn ends. */
  flush(): void {
    const output = this.output;
    if (this.#state === "closed" || this.#state === "connecting") return;
    while (output.length > 0) {
      const start = output.headStart;
      const size = output.headEnd - start;
      const sent = libc.send(this.fd, pointer(output.headBlock.address + start), size, MSG_NOSIGNAL);
      if (sent > 0) output.sent(sent);
      if (sent < size) {
        this.#want(this.#interest | EPOLLOUT);
        return;
      }
    }
    if (this.#closing) this.close();
    else if (this.#drainWanted) this.#drained();
  }

  callOnDrain(): void {
    this.#drainWanted = true;
    this.flushSoon();
  }

  setReading(reading: boolean): void {
    this.#reading = reading;
    if (this.#state !== "open") return;
    this.#want(reading ? this.#interest | EPOLLIN : this.#interest & ~EPOLLIN);
  }

  close(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.output.clear();
    if (this.fd >= 0) this.#net.remove(this);
  }

  closeAfterFlush(lingerMs: number): void {
    if (this.#state === "closed") return;
    if (this.output.length === 0 || this.#state === "connecting") {
      this.close();
      return;
    }
    this.#closing = true;
    this.setReading(false);
    this.flushSoon();
    this.#net.timers.after(lingerMs, () => this.close());
  }

  /** What epoll says of this descriptor. */
  onEvent(flags: number): void {
    if (this.#state === "connecting") {
      this.#finishConnecting();
      return;
    }
    if ((flags & EPOLLOUT) !== 0) this.#onWritable();
    if ((flags & EPOLLIN) !== 0 && this.#interest & EPOLLIN) this.#onReadable(flags);
    else if ((flags & (EPOLLERR | EPOLLHUP)) !== 0) this.#fail(this.#socketError());
  }

  #onReadable(flags: number): void {
    const net = this.#net;
    const received = libc.recv(this.fd, net.receivePointer, RECEIVE_BYTES, 0);
    if (received > 0) {
      if (received === RECEIVE_BYTES || (flags & EPOLLRDHUP) !== 0) net.readAgain(this);
      this.handler.onData(net.receiveBytes, HEADROOM_BYTES, HEADROOM_BYTES + received);
    } else if (received === 0) {
      this.#state = "ended";
      this.#want(this.#interest & ~EPOLLIN);
      this.handler.onEnd();
    } else if ((flags & (EPOLLERR | EPOLLHUP)) !== 0) {
      // The receive has taken the error with it, so the socket may have none left to tell.
      this.#fail(this.#socketError() || RESET);
    }
  }

  /** The receive that `net.readAgain` was asked for. */
  readRest(): void {
    if (this.#state === "open" && this.#interest & EPOLLIN) this.#onReadable(EPOLLRDHUP);
  }

  #onWritable(): void {
    this.#want(this.#interest & ~EPOLLOUT);
    this.flush();
  }

  #drained(): void {
    this.#drainWanted = false;
    this.handler.onDrain();
  }

  #finishConnecting(): void {
    const error = this.#socketError();
    if (error !== "") {
      this.#fail(error);
      return;
    }
    this.#state = "open";
    this.localAddress = this.#net.localAddressOf(this.fd);
    this.#want(EPOLLET | EPOLLRDHUP | (this.#reading ? EPOLLIN : 0));
    this.handler.onOpen();
    this.flushSoon();
  }

  /** SO_ERROR as words; "" when there is none. */
  #socketError(): string {
    optionValue[0] = 0;
    libc.getsockopt(this.fd, SOL_SOCKET, SO_ERROR, ptr(optionValue), ptr(optionLength));
    const code = optionValue[0];
    return code === 0 ? "" : (ERRNO_TEXT[code] ?? `errno ${code}`);
  }

  #fail(reason: string): void {
    if (this.#state === "closed") return;
    this.close();
    if (!this.#closing) this.handler.onClose(reason === "" ? "connection closed by the other side" : reason);
  }

  #want(interest: number): void {
    if (this.#state === "closed" || interest === this.#interest) return;
    this.#interest = interest;
    this.#net.modify(this, interest);
  }
}
