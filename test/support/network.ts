/**
 * Machines that can be cut off from one another: each is a network namespace on one bridge. Linux and root.
 *
 *   host .254 ── bridge ─┬─ machine 1: .1
 *                        ├─ machine 2: .2
 *                        └─ machine 200: .200
 *
 * A way is cut by telling the sender a wrong hardware address, for ever: packets leave and reach nobody, so
 * connections hang, as they do when a cable is pulled. A blackhole route would let each new connection fail
 * at once, which is kinder than any real partition.
 */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";

/** Nobody's. */
const LOST_ADDRESS = "02:00:00:00:00:01";
const SUBNETS = 250;

let networks = 0;

/** Why nobody can make networks or drop packets here; null when one can. */
export function whyNoNetwork(): string | null {
  if (process.platform !== "linux") return "it needs Linux";
  if (process.getuid?.() !== 0) return "it needs root";
  return null;
}

export class Network {
  /** Of the host, which reaches every machine. */
  readonly hostAddress: string;
  readonly #subnet: string;
  /** Interfaces of the whole machine are named by it; the owner's pid is in it. */
  readonly #prefix = `sh${process.pid.toString(36)}x${networks++}`;
  readonly #machines = new Set<number>();

  /** @throws Error with the reason, when this machine cannot */
  constructor() {
    const reason = whyNoNetwork();
    if (reason !== null) throw new Error(`Cannot make a network: ${reason}`);
    sweep();
    this.#subnet = freeSubnet();
    this.hostAddress = `${this.#subnet}.254`;
    try {
      ip("link", "add", this.#bridge, "type", "bridge");
      ip("addr", "add", `${this.hostAddress}/24`, "dev", this.#bridge);
      ip("link", "set", this.#bridge, "up");
    } catch (error) {
      this.close();
      throw error;
    }
  }

  addressOf(machine: number): string {
    return `${this.#subnet}.${machine}`;
  }

  /** A machine from 1 to 250. */
  add(machine: number): void {
    const [name, inside] = [this.#nameOf(machine), `${this.#prefix}i${machine}`];
    const outside = `${this.#prefix}o${machine}`;
    ip("netns", "add", name);
    this.#machines.add(machine);
    ip("link", "add", outside, "type", "veth", "peer", "name", inside, "netns", name);
    ip("link", "set", outside, "master", this.#bridge, "up");
    ip("-n", name, "addr", "add", `${this.addressOf(machine)}/24`, "dev", inside);
    ip("-n", name, "link", "set", inside, "up");
    ip("-n", name, "link", "set", "lo", "up");
  }

  /** What stands before a command line that is to run on a machine; it keeps the pid. */
  inside(machine: number): string[] {
    return ["ip", "netns", "exec", this.#nameOf(machine)];
  }

  /** Drops what one machine sends to the other, or lets it pass again. */
  cutWay(from: number, to: number, cut: boolean): void {
    const [address, device] = [this.addressOf(to), `${this.#prefix}i${from}`];
    const neighbour = ["-n", this.#nameOf(from), "neigh"];
    if (cut) ip(...neighbour, "replace", address, "lladdr", LOST_ADDRESS, "nud", "permanent", "dev", device);
    else tryIp(...neighbour, "del", address, "dev", device);
  }

  /** Both ways between two machines. */
  cut(one: number, other: number, cut: boolean): void {
    this.cutWay(one, other, cut);
    this.cutWay(other, one, cut);
  }

  /** Some machines, which go on reaching one another, against all others; the host reaches all. */
  isolate(machines: readonly number[], cut: boolean): void {
    const others = [...this.#machines].filter((one) => !machines.includes(one));
    for (const machine of machines) for (const other of others) this.cut(machine, other, cut);
  }

  /** Processes on the machines must have ended before. */
  close(): void {
    for (const machine of this.#machines) tryIp("netns", "del", this.#nameOf(machine));
    this.#machines.clear();
    tryIp("link", "del", this.#bridge);
  }

  get #bridge(): string {
    return `${this.#prefix}b`;
  }

  #nameOf(machine: number): string {
    return `${this.#prefix}n${machine}`;
  }
}

/** Removes what owners have left that were killed, with the processes on their machines. */
function sweep(): void {
  const isLeft = (name: string): boolean => {
    const owner = /^sh([0-9a-z]+)x\d+[nb]/.exec(name)?.[1];
    return owner !== undefined && !existsSync(`/proc/${Number.parseInt(owner, 36)}`);
  };
  for (const line of ip("netns", "list").split("\n")) {
    const [name] = line.split(" ");
    if (!isLeft(name)) continue;
    for (const pid of ip("netns", "pids", name).split("\n").filter(Boolean)) kill(Number(pid));
    tryIp("netns", "del", name);
  }
  for (const line of ip("-o", "link", "show", "type", "bridge").split("\n")) {
    const name = line.split(": ")[1] ?? "";
    if (isLeft(name)) tryIp("link", "del", name);
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended by itself.
  }
}

/** One that no interface has: two runs at once must not meet. */
function freeSubnet(): string {
  const taken = ip("-o", "-4", "addr");
  for (let i = 0; i < SUBNETS; i++) {
    const subnet = `10.77.${(process.pid + networks + i) % SUBNETS}`;
    if (!taken.includes(` ${subnet}.`)) return subnet;
  }
  throw new Error(`Cannot make a network: all of 10.77.0.0 to 10.77.${SUBNETS - 1}.0 are taken`);
}

/** @throws Error with what `ip` said */
function ip(...words: string[]): string {
  try {
    return execFileSync("ip", words, { stdio: "pipe", encoding: "utf8" });
  } catch (error) {
    const said = (error as { stderr?: string }).stderr?.trim() || String(error);
    throw new Error(`Cannot make a network: ip ${words.join(" ")}: ${said}`, { cause: error });
  }
}

function tryIp(...words: string[]): void {
  try {
    ip(...words);
  } catch {
    // It is gone already.
  }
}
