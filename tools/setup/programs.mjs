// The programs outside npm that Shoal, its tests and its benchmark use: one table.

import { readFileSync } from "node:fs";
import { onPath } from "./machine.mjs";

/**
 * - kind: who needs it: `server` everybody, `test` the tests with real clients, `bench` the comparison
 * - commands: any of these on the PATH will do; none means that only the Debian package tells
 * - packages: Debian packages, the first that can be installed is taken
 * - services: what their packaging enables and starts unasked
 */
const PROGRAMS = [
  {
    name: "redis-server",
    kind: "server",
    commands: ["redis-server", "valkey-server"],
    packages: ["redis-server", "valkey-server"],
    services: ["redis-server.service", "valkey-server.service"],
  },
  { name: "redis-cli", kind: "test", commands: ["redis-cli"], packages: ["redis-tools"], services: [] },
  { name: "redis-py", kind: "test", commands: [], packages: ["python3-redis"], services: [] },
  { name: "ruby", kind: "test", commands: ["ruby"], packages: ["ruby"], services: [] },
  { name: "redis-rb", kind: "test", commands: [], packages: ["ruby-redis"], services: [] },
  { name: "sidekiq", kind: "test", commands: [], packages: ["ruby-sidekiq"], services: [] },
  { name: "redis-namespace", kind: "test", commands: [], packages: ["ruby-redis-namespace"], services: [] },
  { name: "python-rq", kind: "test", commands: [], packages: ["python3-rq"], services: [] },
  { name: "celery", kind: "test", commands: [], packages: ["python3-celery"], services: [] },
  { name: "php", kind: "test", commands: ["php"], packages: ["php-cli"], services: [] },
  { name: "phpredis", kind: "test", commands: [], packages: ["php-redis"], services: [] },
  { name: "ss", kind: "test", commands: ["ss"], packages: ["iproute2"], services: [] },
  { name: "ip", kind: "test", commands: ["ip"], packages: ["iproute2"], services: [] },
  { name: "nft", kind: "test", commands: ["nft"], packages: ["nftables"], services: ["nftables.service"] },
  {
    name: "redis-benchmark",
    kind: "bench",
    commands: ["redis-benchmark"],
    packages: ["redis-tools"],
    services: [],
  },
  {
    name: "nutcracker",
    kind: "bench",
    commands: ["nutcracker"],
    packages: ["nutcracker"],
    services: ["nutcracker.service"],
  },
];

/** The programs of these kinds that are not on the machine. */
export function missingPrograms(kinds) {
  return PROGRAMS.filter((program) => kinds.includes(program.kind) && !isInstalled(program));
}

/** The Debian packages to name for these programs, each once. */
export function packagesFor(programs) {
  return [...new Set(programs.map((program) => program.packages[0]))];
}

function isInstalled(program) {
  if (program.commands.length > 0) return program.commands.some(onPath);
  return program.packages.some(isDebianPackageInstalled);
}

let dpkgStatus;

function isDebianPackageInstalled(name) {
  dpkgStatus ??= readDpkgStatus();
  return dpkgStatus.includes(`\nPackage: ${name}\nStatus: install ok installed\n`);
}

/** Forgets what is installed, because something was just installed. */
export function forgetInstalled() {
  dpkgStatus = undefined;
}

// Reading dpkg's own file takes milliseconds; asking dpkg-query for each package would be felt at every
// start.
function readDpkgStatus() {
  try {
    return `\n${readFileSync("/var/lib/dpkg/status", "latin1")}`;
  } catch {
    return "";
  }
}
