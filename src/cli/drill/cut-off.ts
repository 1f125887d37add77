/**
 * Cuts a server off: what comes to its port and what it sends is dropped. Connections stay open, and nothing
 * arrives. Other ports of the machine notice nothing.
 *
 * With nft the rules are in a table of its own whose *owner* is the guard: the kernel removes such a table
 * with the process that made it, so not even a guard that is killed leaves a rule behind. With iptables
 * (where there is no nft, or an old one) the guard removes them. Rejected: rules that the drill's next run
 * cleans up; until then a server would be unreachable without a visible reason.
 */
import { execFile } from "node:child_process";
import { isIPv4, isIPv6 } from "node:net";
import { promisify } from "node:util";
import { ShoalError, errorTextOf } from "../../base/shoal-error.ts";
import { parseAddress } from "../../topology/cluster-map.ts";
import { HintedError } from "../hinted-error.ts";
import { type Guard, guarded, startGuard } from "./guard.ts";

const run = promisify(execFile);

export interface CutOff extends Guard {
  /** "nft" or "iptables". */
  readonly program: string;
}

/** @throws ShoalError UNSUPPORTED where packets cannot be dropped, with the reason of each way */
export async function cutOff(what: string, address: string): Promise<CutOff> {
  const reasons: string[] = [];
  for (const [program, cut] of [["nft", cutByNft] as const, ["iptables", cutByIptables] as const]) {
    try {
      return { program, ...(await cut(address)) };
    } catch (error) {
      if (!(error instanceof ShoalError)) throw error;
      reasons.push(errorTextOf(error));
    }
  }
  throw new HintedError(
    "UNSUPPORTED",
    `Cannot cut off ${what}: ${reasons.join("; ")}`,
    "It needs Linux, root, and nft (apt-get install nftables); freeze-primary looks much the same to others.",
  );
}

/** The rules as nft's commands; a table's name is taken by one process at a time. */
export function nftCommands(table: string, address: string): string[] {
  const { host, port } = parseAddress(address);
  const family = isIPv4(host) ? "ip" : "ip6";
  const at = (field: string): string => (isIPv4(host) || isIPv6(host) ? `${family} ${field} ${host} ` : "");
  const chain = (hook: string, match: string): string[] => [
    `add chain inet ${table} ${hook} { type filter hook ${hook} priority 0 ; }`,
    `add rule inet ${table} ${hook} ${match} drop`,
  ];
  return [
    `add table inet ${table} { flags owner ; }`,
    ...chain("input", `${at("daddr")}tcp dport ${port}`),
    ...chain("output", `${at("saddr")}tcp sport ${port}`),
  ];
}

function cutByNft(address: string): Promise<Guard> {
  const table = `shoal_drill_${process.pid}`;
  const input = `${nftCommands(table, address).join("\n")}\n`;
  return startGuard("nft", ["-i"], input, async () => {
    const listed = await run("nft", ["list", "table", "inet", table]).catch(() => null);
    return listed?.stdout.match(/ drop$/gm)?.length === 2;
  });
}

function cutByIptables(address: string): Promise<Guard> {
  const { host, port } = parseAddress(address);
  const program = isIPv6(host) ? "ip6tables" : "iptables";
  const at = (field: string): string => (isIPv4(host) || isIPv6(host) ? `${field} ${host} ` : "");
  const rules = (flag: string): string[] => [
    `${program} -w ${flag} INPUT ${at("-d")}-p tcp --dport ${port} -j DROP`,
    `${program} -w ${flag} OUTPUT ${at("-s")}-p tcp --sport ${port} -j DROP`,
  ];
  return guarded(rules("-I"), rules("-D"));
}
