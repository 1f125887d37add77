/**
 * struct sockaddr_in and sockaddr_in6, to and from "host:port". Numeric addresses only; names are resolved
 * before.
 */
import { isIPv4, isIPv6 } from "node:net";
import { AF_INET, AF_INET6 } from "./libc.ts";

/** The bytes of a sockaddr for a numeric address; null when `host` is a name. */
export function encodeSocketAddress(host: string, port: number): Uint8Array | null {
  if (isIPv4(host)) {
    const bytes = new Uint8Array(16);
    bytes[0] = AF_INET;
    bytes[2] = port >> 8;
    bytes[3] = port & 255;
    bytes.set(host.split(".").map(Number), 4);
    return bytes;
  }
  if (!isIPv6(host)) return null;
  const bytes = new Uint8Array(28);
  bytes[0] = AF_INET6;
  bytes[2] = port >> 8;
  bytes[3] = port & 255;
  const groups = expandIPv6(host);
  for (let i = 0; i < 8; i++) {
    bytes[8 + i * 2] = groups[i] >> 8;
    bytes[9 + i * 2] = groups[i] & 255;
  }
  return bytes;
}

/**
 * The eight 16-bit groups; the URL parser normalises `::` and embedded IPv4 for us except for filling the
 * gap.
 */
function expandIPv6(host: string): number[] {
  const text = new URL(`http://[${host.split("%")[0]}]/`).hostname.slice(1, -1);
  const [head, tail] = text.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const gap = tail === undefined ? 0 : 8 - left.length - right.length;
  return [...left, ...Array<string>(gap).fill("0"), ...right].map((group) => Number.parseInt(group, 16));
}

/** "host:port" of a sockaddr that the kernel filled in. */
export function decodeSocketAddress(bytes: Uint8Array): string {
  const port = (bytes[2] << 8) | bytes[3];
  if (bytes[0] === AF_INET) return `${bytes.subarray(4, 8).join(".")}:${port}`;
  if (bytes[0] !== AF_INET6) return "?:0";
  const groups: string[] = [];
  for (let i = 8; i < 24; i += 2) groups.push(((bytes[i] << 8) | bytes[i + 1]).toString(16));
  return `${new URL(`http://[${groups.join(":")}]/`).hostname}:${port}`;
}
