/** A listening socket. SO_REUSEPORT: each worker has its own, and the kernel deals the connections out. */
import { ptr } from "bun:ffi";
import { ShoalError } from "../../base/shoal-error.ts";
import type { Listener, ListenOptions } from "../../env/net.ts";
import type { EpollNet } from "./epoll-net.ts";
import {
  libc,
  SO_REUSEADDR,
  SO_REUSEPORT,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOL_SOCKET,
} from "./libc.ts";
import { decodeSocketAddress, encodeSocketAddress } from "./socket-address.ts";

/** Connections accepted in one turn: a storm of new ones must not starve those that are served. */
const ACCEPTS_PER_TURN_MAX = 128;
const ADDRESS_BYTES = 28;

export type OnAccept = (fd: number, remoteAddress: string, localAddress: string) => void;

export class EpollListener implements Listener {
  readonly address: string;
  readonly fd: number;
  readonly #net: EpollNet;
  readonly #onAccept: OnAccept;
  readonly #peer = new Uint8Array(ADDRESS_BYTES);
  readonly #peerLength = new Uint32Array(1);
  #open = true;

  /** @throws ShoalError ADDRESS_IN_USE, INVALID_ARGUMENT */
  constructor(net: EpollNet, options: ListenOptions, onAccept: OnAccept) {
    this.#net = net;
    this.#onAccept = onAccept;
    const { host, port } = options;
    const address = encodeSocketAddress(host === "localhost" ? "127.0.0.1" : host, port);
    if (address === null)
      throw new ShoalError("INVALID_ARGUMENT", `Cannot listen on ${host}:${port}: not a numeric address`);
    this.fd = libc.socket(address[0], SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const enable = new Int32Array([1]);
    libc.setsockopt(this.fd, SOL_SOCKET, SO_REUSEADDR, ptr(enable), 4);
    libc.setsockopt(this.fd, SOL_SOCKET, SO_REUSEPORT, ptr(enable), 4);
    const bound = libc.bind(this.fd, ptr(address), address.length) === 0;
    if (!bound || libc.listen(this.fd, options.backlog) !== 0) {
      libc.close(this.fd);
      throw new ShoalError(
        "ADDRESS_IN_USE",
        `Cannot listen on ${host}:${port}: the address is taken or not this machine's`,
      );
    }
    this.address = net.localAddressOf(this.fd);
  }

  onEvent(): void {
    for (let i = 0; i < ACCEPTS_PER_TURN_MAX && this.#open; i++) {
      this.#peerLength[0] = ADDRESS_BYTES;
      const fd = libc.accept4(this.fd, ptr(this.#peer), ptr(this.#peerLength), SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) return;
      this.#onAccept(fd, decodeSocketAddress(this.#peer), this.address);
    }
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#net.remove(this);
  }
}
