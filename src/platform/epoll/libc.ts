/**
 * The C library, as far as the transport needs it.
 *
 * One dlopen per process. Lengths go as i32 and addresses as `ptr` (plain numbers): measured, that is half
 * the cost of u64, which must look at each number. `errno` is not looked at: the runtime may make calls of
 * its own between ours. Return values, the epoll flags and SO_ERROR say everything that is needed.
 */
import { dlopen, type Pointer } from "bun:ffi";
import { existsSync } from "node:fs";

const SIGNATURES = {
  socket: { args: ["i32", "i32", "i32"], returns: "i32" },
  bind: { args: ["i32", "ptr", "u32"], returns: "i32" },
  listen: { args: ["i32", "i32"], returns: "i32" },
  accept4: { args: ["i32", "ptr", "ptr", "i32"], returns: "i32" },
  connect: { args: ["i32", "ptr", "u32"], returns: "i32" },
  setsockopt: { args: ["i32", "i32", "i32", "ptr", "u32"], returns: "i32" },
  getsockopt: { args: ["i32", "i32", "i32", "ptr", "ptr"], returns: "i32" },
  getsockname: { args: ["i32", "ptr", "ptr"], returns: "i32" },
  epoll_create1: { args: ["i32"], returns: "i32" },
  epoll_ctl: { args: ["i32", "i32", "i32", "ptr"], returns: "i32" },
  epoll_wait: { args: ["i32", "ptr", "i32", "i32"], returns: "i32" },
  recv: { args: ["i32", "ptr", "i32", "i32"], returns: "i32" },
  send: { args: ["i32", "ptr", "i32", "i32"], returns: "i32" },
  usleep: { args: ["u32"], returns: "i32" },
  prctl: { args: ["i32", "u32"], returns: "i32" },
  close: { args: ["i32"], returns: "i32" },
  getrlimit: { args: ["i32", "ptr"], returns: "i32" },
  setrlimit: { args: ["i32", "ptr"], returns: "i32" },
} as const;

/** glibc's and musl's names. */
const LIBRARY_NAMES = ["libc.so.6", "/lib/ld-musl-x86_64.so.1", "/lib/ld-musl-aarch64.so.1"];

function open() {
  const musl = LIBRARY_NAMES.slice(1).find((name) => existsSync(name));
  try {
    return dlopen(LIBRARY_NAMES[0], SIGNATURES).symbols;
  } catch (error) {
    if (musl === undefined) throw error;
    return dlopen(musl, SIGNATURES).symbols;
  }
}

export const libc = open();

/** An address inside a block: Bun's pointers are branded numbers, arithmetic takes the brand off. */
export function pointer(address: number): Pointer {
  return address as Pointer;
}

export const AF_INET = 2;
export const AF_INET6 = 10;
export const SOCK_STREAM = 1;
export const SOCK_NONBLOCK = 0o4000;
export const SOCK_CLOEXEC = 0o2000000;
export const SOL_SOCKET = 1;
export const SO_REUSEADDR = 2;
export const SO_ERROR = 4;
export const SO_KEEPALIVE = 9;
export const SO_REUSEPORT = 15;
export const IPPROTO_TCP = 6;
export const TCP_NODELAY = 1;
export const MSG_NOSIGNAL = 0x4000;
export const EPOLL_CTL_ADD = 1;
export const EPOLL_CTL_DEL = 2;
export const EPOLL_CTL_MOD = 3;
export const EPOLLIN = 0x1;
export const EPOLLOUT = 0x4;
export const EPOLLERR = 0x8;
export const EPOLLHUP = 0x10;
export const EPOLLRDHUP = 0x2000;
export const EPOLLET = -0x80000000;
export const RLIMIT_NOFILE = 7;
export const PR_SET_TIMERSLACK = 29;

/** The few errno values that SO_ERROR gives and people should read as words. */
export const ERRNO_TEXT: Readonly<Record<number, string>> = {
  32: "broken pipe",
  98: "address in use",
  101: "network unreachable",
  103: "connection aborted",
  104: "connection reset by peer",
  110: "connection timed out",
  111: "connection refused",
  112: "host is down",
  113: "no route to host",
};
