/**
 * What Sentinel would have published between two moments: the difference of what it said of its masters.
 * Pure.
 *
 *   primary silent ─▶ +sdown ─▶ agreed ─▶ +odown +try-failover ─▶ +failover-end +switch-master +slave ─▶
 *   -sdown
 *
 * Made of states, not of what happens: a controller that only follows sees the same, and one that has missed
 * a step in between says what matters, the end. Texts are sentinel.c's (sentinelEvent, "%@").
 */
import { parseAddress } from "../../topology/cluster-map.ts";
import type { SentinelMaster, SentinelReplica } from "./sentinel-master.ts";

export interface SentinelMessage {
  readonly channel: string;
  readonly text: string;
}

/** `quorum`: for the texts only. */
export function messagesBetween(
  before: readonly SentinelMaster[],
  after: readonly SentinelMaster[],
  quorum: number,
): SentinelMessage[] {
  const messages: SentinelMessage[] = [];
  const say = (channel: string, text: string): void => void messages.push({ channel, text });
  const old = new Map(before.map((master) => [master.name, master]));
  for (const master of after) {
    const was = old.get(master.name);
    old.delete(master.name);
    if (was === undefined) {
      say("+monitor", `${nameMaster(master)} quorum ${quorum}`);
      continue;
    }
    sayOfMaster(was, master, quorum, say);
    sayOfReplicas(was, master, say);
  }
  for (const gone of old.values()) say("-monitor", nameMaster(gone));
  return messages;
}

type Say = (channel: string, text: string) => void;

function sayOfMaster(was: SentinelMaster, now: SentinelMaster, quorum: number, say: Say): void {
  const same = was.addr === now.addr;
  // A replacement may be quicker than we look: then the old one is known to be dead by what it is now.
  const died = now.replicas.some((replica) => replica.addr === was.addr && replica.down);
  const [down, agreed] = same ? [now.down, now.agreedDown] : [was.down || died, was.agreedDown || died];
  const about = nameMaster(was);
  if (!was.down && down) say("+sdown", about);
  if (!was.agreedDown && agreed) say("+odown", `${about} #quorum ${quorum}/${quorum}`);
  if (!was.switching && (now.switching || !same)) say("+try-failover", about);
  if (!same) {
    say("+failover-end", about);
    say("+switch-master", `${now.name} ${hostAndPort(was.addr)} ${hostAndPort(now.addr)}`);
    return;
  }
  if (was.agreedDown && !agreed) say("-odown", about);
  if (was.down && !down) say("-sdown", about);
}

function sayOfReplicas(was: SentinelMaster, now: SentinelMaster, say: Say): void {
  const before = new Map(was.replicas.map((replica) => [replica.addr, replica]));
  // Sentinel makes the old master a replica of the new one at once, wherever it is; clients wait for that.
  if (was.addr !== now.addr) say("+slave", nameReplica(was.addr, now));
  for (const replica of now.replicas) {
    const known: Pick<SentinelReplica, "down"> | undefined =
      replica.addr === was.addr ? { down: false } : before.get(replica.addr);
    const about = nameReplica(replica.addr, now);
    if (known === undefined) say("+slave", about);
    if (replica.down && known?.down !== true) say("+sdown", about);
    if (!replica.down && known?.down === true) say("-sdown", about);
  }
}

function nameMaster({ name, addr }: SentinelMaster): string {
  return `master ${name} ${hostAndPort(addr)}`;
}

function nameReplica(addr: string, { name, addr: masterAddr }: SentinelMaster): string {
  return `slave ${addr} ${hostAndPort(addr)} @ ${name} ${hostAndPort(masterAddr)}`;
}

function hostAndPort(addr: string): string {
  const { host, port } = parseAddress(addr);
  return `${host} ${port}`;
}
