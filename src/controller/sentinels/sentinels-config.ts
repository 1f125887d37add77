/** The rows of the controller's configuration that are about redis-sentinel, and the rules that span them. */
import { type ConfigSource, type ConfigTable, configError } from "../../base/config-table.ts";
import { parseAddress } from "../../topology/cluster-map.ts";

export const SENTINELS_CONFIG = {
  sentinels: {
    type: "list",
    default: [],
    doc: 'With failover = "sentinel": every redis-sentinel, as host:port. They watch over all groups.',
  },
  sentinels_quorum: {
    type: "int",
    default: 0,
    min: 0,
    max: 1000,
    doc: "Sentinels that must see a primary down before one of them replaces it. 0: more than half.",
  },
  sentinels_failover_timeout_ms: {
    type: "int",
    default: 10_000,
    min: 1000,
    max: 3_600_000,
    doc: "The sentinels' failover-timeout: a failover that failed is tried again after twice as long.",
  },
  sentinels_username: {
    type: "string",
    default: "",
    doc: "User name towards the sentinels themselves. Empty: the default user.",
  },
  sentinels_password: {
    type: "string",
    default: "",
    secret: true,
    doc: "Password towards the sentinels themselves. Empty: none.",
  },
} as const satisfies ConfigTable;

/** @throws ShoalError CONFIG */
export function checkSentinels(
  { failover, sentinels }: { readonly failover: string; readonly sentinels: readonly string[] },
  source: ConfigSource,
): void {
  if (failover === "sentinel" && sentinels.length === 0)
    throw configError(source, "sentinels", 'want at least one host:port with failover = "sentinel"');
  for (const address of sentinels) {
    try {
      parseAddress(address);
    } catch {
      throw configError(source, "sentinels", `${JSON.stringify(address)}: want host:port`);
    }
  }
  if (new Set(sentinels).size < sentinels.length)
    throw configError(source, "sentinels", "a sentinel stands in it twice");
}
