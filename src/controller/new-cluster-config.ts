/**
 * The part of controller.toml that is no table of rows: the groups and options that an empty store is filled
 * with.
 */
import { type ConfigSource, configError, nearestName } from "../base/config-table.ts";
import { errorTextOf } from "../base/shoal-error.ts";
import type { ClusterSpec, GroupSpec } from "../topology/change-topology.ts";
import { CLUSTER_OPTIONS, type OptionValue, checkOptions } from "../topology/cluster-options.ts";

const GROUP_KEYS = ["id", "primary", "replicas"];

const GROUPS_HELP = `
# The groups that a new cluster begins with; once the store holds a cluster, the store says what they are.
# A primary keeps its data. A replica must be empty, or hold a copy of its primary: nothing else goes.
#[[cluster.groups]]
#id = "g1"
#primary = "127.0.0.1:20001"
#replicas = ["127.0.0.1:20002"]
`;

/** What `--help-config` says of groups and options. */
export function helpNewCluster(): string {
  const rows = Object.entries(CLUSTER_OPTIONS).map(([name, row]) => {
    return `# ${row.doc}\n#${name} = ${JSON.stringify(row.default)}`;
  });
  const head = "# The options that a new cluster begins with; `shoal options set` changes them later.";
  return `${GROUPS_HELP}\n${head}\n#[cluster.options]\n${rows.join("\n")}\n`;
}

/**
 * Checks the shape of each `[[cluster.groups]]`; whether the addresses make a cluster is checked by
 * createTopology.
 */
export function parseGroups(groups: unknown, source: ConfigSource): GroupSpec[] {
  if (!Array.isArray(groups))
    throw configError(source, "cluster.groups", "want a list of tables: [[cluster.groups]]");
  return groups.map((group: unknown, index) => {
    const where = `number ${index + 1}`;
    if (typeof group !== "object" || group === null) {
      throw configError(source, "cluster.groups", `${where}: want a table with id, primary and replicas`);
    }
    for (const key of Object.keys(group)) {
      if (GROUP_KEYS.includes(key)) continue;
      const nearest = nearestName(key, GROUP_KEYS);
      const advice = nearest === null ? "" : ` (did you mean ${nearest}?)`;
      throw configError(source, "cluster.groups", `${where}: unknown key ${key}${advice}`);
    }
    const { id, primary, replicas = [] } = group as { id?: unknown; primary?: unknown; replicas?: unknown };
    const good = typeof id === "string" && typeof primary === "string" && Array.isArray(replicas);
    if (!good || !replicas.every((addr) => typeof addr === "string")) {
      throw configError(
        source,
        "cluster.groups",
        `${where}: want id and primary as texts, replicas as a list of texts`,
      );
    }
    return { id, primary, replicas };
  });
}

/** `[cluster.options]`, by the table that `shoal options set` goes by. */
export function parseOptions(options: unknown, source: ConfigSource): ClusterSpec["options"] {
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw configError(source, "cluster.options", "want a table: [cluster.options]");
  }
  try {
    return checkOptions(options as Record<string, OptionValue>);
  } catch (error) {
    throw configError(source, "cluster.options", errorTextOf(error));
  }
}
