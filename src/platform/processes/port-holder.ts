/**
 * Which process listens on a TCP port, for messages: `Cannot listen on 127.0.0.1:19000: redis-server (pid
 * 71) has it`.
 */
import { readFileSync, readdirSync, readlinkSync } from "node:fs";
import { describeProcess } from "./process-identity.ts";

/** State of a listening socket in /proc/net/tcp. */
const LISTENING = "0A";

/**
 * "redis-server *:6379 (pid 71)", or null where it can't be found (other systems, other users' processes).
 */
export function portHolder(port: number): string | null {
  const sockets = listeningSockets(port);
  if (sockets.size === 0) return null;
  const pid = ownerOf(sockets);
  return pid === null ? null : `${describeProcess(pid)} (pid ${pid})`.trim();
}

/** Inode numbers of the sockets that listen on the port, as the links in /proc/PID/fd spell them. */
function listeningSockets(port: number): Set<string> {
  const wanted = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const sockets = new Set<string>();
  for (const table of ["/proc/net/tcp", "/proc/net/tcp6"]) {
    for (const line of readLines(table)) {
      const fields = line.trim().split(/\s+/);
      if (fields[3] === LISTENING && fields[1].endsWith(wanted)) sockets.add(`socket:[${fields[9]}]`);
    }
  }
  return sockets;
}

function ownerOf(sockets: ReadonlySet<string>): number | null {
  for (const name of readNames("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const folder = `/proc/${name}/fd`;
    for (const descriptor of readNames(folder)) {
      if (sockets.has(readLink(`${folder}/${descriptor}`))) return Number(name);
    }
  }
  return null;
}

// Processes come and go while this reads, and other users' can't be looked into: what can't be read is not
// there.

function readLines(path: string): string[] {
  try {
    return readFileSync(path, "utf8").split("\n").slice(1);
  } catch {
    return [];
  }
}

function readNames(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function readLink(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}
