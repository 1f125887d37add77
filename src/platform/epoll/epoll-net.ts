/**
 * The event loop of a worker on Linux.
 *
 *   run ─▶ step ─▶ turn ─▶ epoll_wait ─▶ onEvent of each descriptor ─▶ handlers append to output queues
 *            ▲        └──▶ turn-end calls ─▶ one send per dirty connection ─▶ close what was closed
 *            └─ setImmediate, after BURST_MS: so that the runtime's own timers and pipes get their turn
 *
 * Between two turns there may be a pause, in which events gather, and before it sleeps the loop may look for
 * a while: pacer.ts says when.
 *
 * TLS connections are the portable transport's, on the runtime's loop, in the same process (`#portable`).
 *
 * While nothing happens, epoll_wait itself sleeps for at most IDLE_WAIT_MS; a timer of the runtime is late
 * by no more. Rejected: the runtime's own sockets (a callback, a view object and a write call per read;
 * measured at twice the cost), and epoll in a thread of its own (every request would cross threads).
 */
import { ptr, type Pointer } from "bun:ffi";
import { lookup } from "node:dns";
import { type Block, BlockPool } from "../../base/block-pool.ts";
import type { Bytes } from "../../base/bytes.ts";
import type { Clock, Timers } from "../../env/env.ts";
import {
  type Connection,
  type ConnectionHandler,
  HEADROOM_BYTES,
  type Listener,
  type ListenOptions,
  type Net,
  SLACK_BYTES,
  type TlsClientOptions,
} from "../../env/net.ts";
import { PortableNet } from "../portable/portable-net.ts";
import { EpollConnection, RECEIVE_BYTES } from "./epoll-connection.ts";
import { EpollListener } from "./epoll-listener.ts";
import {
  AF_INET6,
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  EPOLL_CTL_MOD,
  EPOLLIN,
  IPPROTO_TCP,
  libc,
  RLIMIT_NOFILE,
  SO_KEEPALIVE,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOL_SOCKET,
  TCP_NODELAY,
} from "./libc.ts";
import { Pacer } from "./pacer.ts";
import { decodeSocketAddress, encodeSocketAddress } from "./socket-address.ts";

/** Events taken in one turn. */
const EVENTS_MAX = 1024;
/** How long turns follow each other before the runtime gets its turn. */
const BURST_MS = 10;
/** How long epoll_wait sleeps when nothing happens: the most by which a timer can be late. */
const IDLE_WAIT_MS = 10;
/** The same while there are TLS connections, which the runtime's loop serves. */
const SHARED_WAIT_MS = 1;
/** How long after the last bytes of one of them epoll_wait does not sleep. */
const SHARED_SPIN_MS = 0.2;
/** struct epoll_event in 32-bit words: packed on x86-64 only. */
const EVENT_WORDS = process.arch === "x64" ? 3 : 4;
const EVENT_FD_WORD = process.arch === "x64" ? 1 : 2;

const enable = new Int32Array([1]);

interface Watched {
  fd: number;
  onEvent(flags: number): void;
}

export class EpollNet implements Net {
  readonly blocks = new BlockPool(allocateBlock);
  readonly work = { begun: 0, ended: 0, parts: 0 };
  readonly timers: Timers;
  /** Connections with something to send. */
  readonly dirty: EpollConnection[] = [];
  readonly receiveBytes: Bytes;
  /** Where a receive goes: behind the headroom. */
  readonly receivePointer: Pointer;
  readonly #clock: Clock;
  readonly #epollFd: number;
  readonly #pacer: Pacer;
  readonly #watched: (Watched | null)[] = [];
  readonly #closed: number[] = [];
  readonly #events = new Int32Array(EVENTS_MAX * EVENT_WORDS);
  readonly #eventsPointer = ptr(this.#events);
  readonly #change = new Int32Array(EVENT_WORDS);
  readonly #changePointer = ptr(this.#change);
  #again: EpollConnection[] = [];
  #turnEnd: (() => void)[] = [];
  #running = false;
  readonly #byTls: boolean;
  /** What carries TLS connections; null while none has been asked for. */
  #portable: PortableNet | null = null;
  /** When one of them last had something. */
  #activeMs = 0;

  /**
   * `serverTls`: outgoing connections go by TLS. `busyPollUs`: see Pacer.
   * @throws ShoalError CONFIG for TLS files that are of no use
   */
  constructor(clock: Clock, timers: Timers, serverTls: TlsClientOptions | null, busyPollUs: number) {
    this.#clock = clock;
    this.timers = timers;
    this.#byTls = serverTls !== null;
    if (serverTls !== null) this.#portable = new PortableNet(timers, serverTls, this.blocks);
    const receive = allocateBlock(HEADROOM_BYTES + RECEIVE_BYTES + SLACK_BYTES);
    this.receiveBytes = receive.bytes;
    this.receivePointer = (receive.address + HEADROOM_BYTES) as Pointer;
    this.#epollFd = libc.epoll_create1(SOCK_CLOEXEC);
    this.#pacer = new Pacer(this.work, busyPollUs);
    raiseDescriptorLimit();
  }

  /** Starts the loop; it runs until `stop`. */
  run(): void {
    this.#running = true;
    setImmediate(this.#step);
  }

  stop(): void {
    this.#running = false;
  }

  readonly #look = (): number => this.#wait(0);

  readonly #step = (): void => {
    const start = this.#clock.nowMs();
    if (this.#portable !== null && this.#portable.open > 0) this.#sharedTurn(this.#portable, start);
    else this.#burst(start);
    if (this.#running) setImmediate(this.#step);
  };

  #burst(startMs: number): void {
    let ms = 0;
    while (this.#running && ms < BURST_MS) {
      this.#pacer.beforeTurn();
      this.#turn(IDLE_WAIT_MS);
      ms = this.#clock.nowMs() - startMs;
    }
    this.#pacer.afterBurst(ms);
  }

  /**
   * One turn while TLS connections live on the runtime's loop: it must come round soon, or they would wait
   * for our sleep. Right after they had something we don't sleep at all; the answer of a server is followed
   * by the next request soon.
   */
  #sharedTurn(portable: PortableNet, nowMs: number): void {
    if (portable.active) this.#activeMs = nowMs;
    portable.active = false;
    this.#turn(nowMs - this.#activeMs < SHARED_SPIN_MS ? 0 : SHARED_WAIT_MS);
    portable.endTurn();
  }

  #turn(idleWaitMs: number): void {
    const busy = this.dirty.length > 0 || this.#turnEnd.length > 0 || this.#again.length > 0;
    let count = !busy && this.#pacer.polling ? this.#pacer.poll(this.#look, this.#clock) : 0;
    if (count === 0) count = this.#wait(busy ? 0 : idleWaitMs);
    if (this.#again.length > 0) this.#readRest();
    const events = this.#events;
    for (let i = 0; i < count; i++) {
      const watched = this.#watched[events[i * EVENT_WORDS + EVENT_FD_WORD]];
      if (watched != null) watched.onEvent(events[i * EVENT_WORDS]);
    }
    if (this.#turnEnd.length > 0) this.#runTurnEnd();
    const dirty = this.dirty;
    for (let i = 0; i < dirty.length; i++) {
      const connection = dirty[i];
      connection.dirty = false;
      connection.flush();
    }
    dirty.length = 0;
    if (this.#closed.length > 0) this.#closeDescriptors();
  }

  #wait(ms: number): number {
    return libc.epoll_wait(this.#epollFd, this.#eventsPointer, EVENTS_MAX, ms);
  }

  /** A connection that may have more to read than one receive has taken: again in the next turn. */
  readAgain(connection: EpollConnection): void {
    this.#again.push(connection);
  }

  #readRest(): void {
    const connections = this.#again;
    this.#again = [];
    for (const connection of connections) connection.readRest();
  }

  #runTurnEnd(): void {
    const calls = this.#turnEnd;
    this.#turnEnd = [];
    for (const call of calls) call();
  }

  #closeDescriptors(): void {
    for (const fd of this.#closed) libc.close(fd);
    this.#closed.length = 0;
  }

  atTurnEnd(run: () => void): void {
    this.#turnEnd.push(run);
  }

  listen(options: ListenOptions, accept: (connection: Connection) => ConnectionHandler): Listener {
    if (options.tls !== undefined) {
      this.#portable ??= new PortableNet(this.timers, null, this.blocks);
      return this.#portable.listen(options, accept);
    }
    const listener = new EpollListener(this, options, (fd, remoteAddress, localAddress) => {
      setSocketOptions(fd);
      const connection = new EpollConnection(this, fd, remoteAddress, PLACEHOLDER, true);
      connection.localAddress = localAddress;
      connection.handler = accept(connection);
      connection.register();
    });
    this.add(listener, EPOLLIN);
    return listener;
  }

  connect(host: string, port: number, handler: ConnectionHandler): Connection {
    if (this.#byTls && this.#portable !== null) return this.#portable.connect(host, port, handler);
    const address = encodeSocketAddress(host, port);
    const family = address !== null && address[0] === AF_INET6 ? AF_INET6 : 2;
    const fd = libc.socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const connection = new EpollConnection(this, fd, `${host}:${port}`, handler, false);
    // Like a server that can't be reached: whoever connects is in the middle of something, and others go on.
    if (fd < 0) {
      connection.failSoon("no file descriptor left");
      return connection;
    }
    setSocketOptions(fd);
    if (address === null) this.#connectByName(connection, host, port);
    else this.#startConnecting(connection, address);
    return connection;
  }

  #startConnecting(connection: EpollConnection, address: Uint8Array): void {
    libc.connect(connection.fd, ptr(address), address.length);
    connection.register();
  }

  /** A name is resolved by the runtime; the descriptor (IPv4) waits meanwhile. */
  #connectByName(connection: EpollConnection, host: string, port: number): void {
    lookup(host, { family: 4 }, (error, resolved) => {
      const address = error ? null : encodeSocketAddress(resolved, port);
      if (address !== null) {
        this.#startConnecting(connection, address);
        return;
      }
      connection.close();
      connection.handler.onClose(`cannot resolve ${host}`);
    });
  }

  add(watched: Watched, interest: number): void {
    this.#watched[watched.fd] = watched;
    this.#control(EPOLL_CTL_ADD, watched.fd, interest);
  }

  modify(watched: Watched, interest: number): void {
    this.#control(EPOLL_CTL_MOD, watched.fd, interest);
  }

  /** Forgets a descriptor at once and closes it when the turn ends. */
  remove(watched: Watched): void {
    this.#watched[watched.fd] = null;
    this.#control(EPOLL_CTL_DEL, watched.fd, 0);
    if (this.#closed.push(watched.fd) === 1) this.atTurnEnd(nothing);
  }

  localAddressOf(fd: number): string {
    const bytes = new Uint8Array(28);
    libc.getsockname(fd, ptr(bytes), ptr(new Uint32Array([bytes.length])));
    return decodeSocketAddress(bytes);
  }

  #control(operation: number, fd: number, interest: number): void {
    this.#change[0] = interest;
    this.#change[EVENT_FD_WORD] = fd;
    libc.epoll_ctl(this.#epollFd, operation, fd, this.#changePointer);
  }
}

function nothing(): void {}

function allocateBlock(size: number): Block {
  const bytes = Buffer.from(new ArrayBuffer(size));
  return { bytes, address: ptr(bytes) };
}

function setSocketOptions(fd: number): void {
  libc.setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, ptr(enable), 4);
  libc.setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, ptr(enable), 4);
}

/** As many descriptors as the hard limit allows: ten thousand clients are more than the usual soft limit. */
function raiseDescriptorLimit(): void {
  const limit = new BigUint64Array(2);
  if (libc.getrlimit(RLIMIT_NOFILE, ptr(limit)) !== 0) return;
  limit[0] = limit[1];
  libc.setrlimit(RLIMIT_NOFILE, ptr(limit));
}

/** Between the making of a connection and its handler's. */
const PLACEHOLDER: ConnectionHandler = {
  onOpen: nothing,
  onData: nothing,
  onEnd: nothing,
  onDrain: nothing,
  onClose: nothing,
};
