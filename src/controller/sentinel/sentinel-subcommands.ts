/**
 * SENTINEL …, one row per subcommand. Questions are answered; what would change something is refused with
 * the command that does it here: a client of the data needs no right to change the cluster.
 */
import { globMatches } from "../../base/glob-match.ts";
import { array, bulk, errorReply, integer, map, nullReply, simple } from "../../resp/reply-writer.ts";
import { parseAddress } from "../../topology/cluster-map.ts";
import type { SentinelClient, SentinelDesk } from "./sentinel-desk.ts";
import type { SentinelMaster } from "./sentinel-master.ts";
import { addressReply, masterReply, peerReply, replicaReply } from "./sentinel-replies.ts";

export interface SubcommandRow {
  /** Words behind the subcommand's name. */
  readonly argumentsMin: number;
  readonly argumentsMax: number;
  readonly help: string;
  readonly run: (desk: SentinelDesk, client: SentinelClient, given: readonly string[]) => string;
}

const NO_MASTER = errorReply("ERR No such master with that name");

/** With hostnames on both sides, since addresses are handed out as the map has them. */
const SENTINEL_CONFIG: Readonly<Record<string, string>> = {
  "resolve-hostnames": "yes",
  "announce-hostnames": "yes",
  "announce-ip": "",
  "announce-port": "0",
  "sentinel-user": "",
};

/** By name, lower case. */
export const SENTINEL_SUBCOMMANDS: Readonly<Record<string, SubcommandRow>> = {
  "get-master-addr-by-name": {
    ...counts(1),
    help: "<name>: address of a proxy (the cluster's name) or of a group's primary (its id)",
    run: (desk, client, [name]) => {
      const master = find(desk, client, name);
      if (master !== undefined) return addressReply(master.addr);
      return client.protocol === 3 ? nullReply(3) : "*-1\r\n";
    },
  },
  masters: {
    ...counts(0),
    help: "the cluster and its groups",
    run: (desk, client) => {
      const { protocol, host } = client;
      const settings = desk.settings();
      return array(desk.masters(host).map((master) => masterReply(protocol, master, settings)));
    },
  },
  master: {
    ...counts(1),
    help: "<name>: one of them",
    run: withMaster((desk, client, master) => masterReply(client.protocol, master, desk.settings())),
  },
  replicas: { ...counts(1), help: "<name>: the other proxies, or a group's replicas", run: replicasOf() },
  slaves: { ...counts(1), help: "<name>: the same", run: replicasOf() },
  sentinels: { ...counts(1), help: "<name>: the other controllers", run: withMaster(sentinels) },
  "is-master-down-by-addr": {
    ...counts(4),
    help: "<ip> <port> <epoch> <runid>: whether this controller sees it down; no vote is given",
    run: isMasterDown,
  },
  ckquorum: {
    ...counts(1),
    help: "<name>: whether enough controllers and proxies are alive for a failover",
    run: withMaster(checkQuorum),
  },
  myid: { ...counts(0), help: "the id of this controller", run: (desk) => bulk(desk.runId) },
  config: {
    argumentsMin: 2,
    argumentsMax: 3,
    help: "GET <pattern>: settings that clients ask for",
    run: config,
  },
  "pending-scripts": { ...counts(0), help: "none, ever", run: () => array([]) },
  help: { ...counts(0), help: "this", run: help },
  failover: refused("failover", "`shoal failover GROUP`"),
  monitor: refused("monitor", "`shoal group add`"),
  remove: refused("remove", "`shoal group remove`"),
  set: refused("set", "controller.toml"),
  reset: refused("reset", "`shoal server remove` takes a server out"),
};

/** "ok", "sdown" or "odown", as INFO has it. */
export function masterStatus(master: SentinelMaster): string {
  return master.agreedDown ? "odown" : master.down ? "sdown" : "ok";
}

function counts(given: number): Pick<SubcommandRow, "argumentsMin" | "argumentsMax"> {
  return { argumentsMin: given, argumentsMax: given };
}

function find(desk: SentinelDesk, client: SentinelClient, name: string): SentinelMaster | undefined {
  return desk.masters(client.host).find((master) => master.name === name);
}

function withMaster(
  run: (desk: SentinelDesk, client: SentinelClient, master: SentinelMaster) => string,
): SubcommandRow["run"] {
  return (desk, client, [name]) => {
    const master = find(desk, client, name);
    return master === undefined ? NO_MASTER : run(desk, client, master);
  };
}

function replicasOf(): SubcommandRow["run"] {
  return withMaster((desk, client, master) => {
    const settings = desk.settings();
    return array(master.replicas.map((replica) => replicaReply(client.protocol, replica, master, settings)));
  });
}

/** Those that answer to Sentinel clients; the others would be addresses of no use. */
function sentinels(desk: SentinelDesk, client: SentinelClient): string {
  const settings = desk.settings();
  const replies: string[] = [];
  for (const peer of desk.peers()) {
    if (peer.addr !== null) replies.push(peerReply(client.protocol, peer, peer.addr, settings));
  }
  return array(replies);
}

function isMasterDown(desk: SentinelDesk, client: SentinelClient, given: readonly string[]): string {
  const [ip, port, epoch] = given;
  if (!/^\d{1,5}$/.test(port) || !/^-?\d{1,18}$/.test(epoch))
    return errorReply("ERR value is not an integer or out of range");
  const down = desk.masters(client.host).some((master) => {
    const at = parseAddress(master.addr);
    return master.down && at.host === ip && at.port === Number(port);
  });
  return array([integer(down ? 1 : 0), bulk("*"), integer(0)]);
}

function checkQuorum(desk: SentinelDesk): string {
  const { usable, needed, obstacle } = desk.quorum();
  if (usable >= needed && obstacle === null)
    return simple(`OK ${usable} usable Sentinels. Quorum and failover authorization can be reached`);
  const few = "Not enough available Sentinels to reach the specified quorum for this master";
  const why = usable < needed ? `${few} (${needed} are needed)` : obstacle;
  return errorReply(`NOQUORUM ${usable} usable Sentinels. ${why}`);
}

function config(_desk: SentinelDesk, client: SentinelClient, [verb, pattern]: readonly string[]): string {
  if (verb.toLowerCase() !== "get") return refused("config set", "controller.toml").run(_desk, client, []);
  const found = Object.entries(SENTINEL_CONFIG).filter(([name]) => globMatches(pattern.toLowerCase(), name));
  return map(
    client.protocol,
    found.map(([name, value]) => [bulk(name), bulk(value)] as const),
  );
}

function help(): string {
  const lines = ["SENTINEL <subcommand> [<arg> ...]. Subcommands are:"];
  for (const [name, row] of Object.entries(SENTINEL_SUBCOMMANDS))
    lines.push(name.toUpperCase(), `    ${row.help}`);
  return array(lines.map(simple));
}

function refused(name: string, instead: string): SubcommandRow {
  const text = `ERR Cannot run SENTINEL ${name.toUpperCase()}: the cluster is changed by Shoal: ${instead}`;
  return {
    argumentsMin: 0,
    argumentsMax: Number.MAX_SAFE_INTEGER,
    help: `refused: ${instead}`,
    run: () => errorReply(text),
  };
}
