/**
 * Merges the INFO texts of several servers into one.
 *
 *   # Memory                    # Memory
 *   used_memory:100      +      used_memory:50       ─▶  used_memory:150
 *   mem_allocator:a             mem_allocator:a          mem_allocator:a      (the first one's)
 *
 * A number is added up unless a table here says otherwise. Fields with parts ("keys=1,expires=0",
 * "calls=3,usec=9") are merged part by part under the same rules.
 */

/** Of these the largest counts: times, ages, peaks of one server, states where 1 is the news. */
const LARGEST = new Set([
  "uptime_in_seconds",
  "uptime_in_days",
  "lru_clock",
  "hz",
  "configured_hz",
  "loading",
  "async_loading",
  "aof_enabled",
  "rdb_bgsave_in_progress",
  "rdb_last_bgsave_time_sec",
  "rdb_current_bgsave_time_sec",
  "aof_rewrite_in_progress",
  "aof_rewrite_scheduled",
  "aof_last_rewrite_time_sec",
  "aof_current_rewrite_time_sec",
  "rdb_last_cow_size",
  "latest_fork_usec",
  "mem_fragmentation_ratio",
  "allocator_frag_ratio",
  "allocator_rss_ratio",
  "rss_overhead_ratio",
  "current_cow_peak",
  "master_failover_state",
  "second_repl_offset",
  "repl_backlog_active",
  "cluster_enabled",
  "tcp_port",
  "process_id",
  "arch_bits",
  "monotonic_clock",
  "avg_ttl",
  "usec_per_call",
  // Every group has the same scripts and functions.
  "number_of_cached_scripts",
  "number_of_functions",
  "number_of_libraries",
]);

/** Numbers that name something, and adding them would make nonsense. */
const FIRST = new Set([
  "redis_version",
  "valkey_version",
  "redis_git_sha1",
  "redis_git_dirty",
  "gcc_version",
  "db",
]);
/** "p50", "p99.9": no percentile of all follows from those of each; the worst is the news. */
const PERCENTILE = /^p\d/;
/** Of these the smallest counts. */
const SMALLEST = new Set(["rdb_last_save_time"]);

const UNITS = "KMGTPE";

interface Section {
  readonly title: string;
  readonly fields: Map<string, string[]>;
}

/**
 * One text; `own` replaces fields that are there. Only replicas' lines (slave0 …) are left out: they are per
 * server.
 */
export function mergeInfoTexts(
  texts: readonly string[],
  own: Readonly<Record<string, string | number>>,
): string {
  const sections = new Map<string, Section>();
  for (const text of texts) collect(text, sections);
  const parts: string[] = [];
  for (const { title, fields } of sections.values()) {
    const merged = new Map<string, string>();
    for (const [key, values] of fields) {
      const value = Object.hasOwn(own, key) ? String(own[key]) : mergeValues(key, values);
      merged.set(key, humanOf(key, merged) ?? value);
    }
    const lines = [...merged].map(([key, value]) => `${key}:${value}`);
    parts.push([`# ${title}`, ...lines, ""].join("\r\n"));
  }
  return parts.join("\r\n");
}

/** What stands beside "used_memory" as "used_memory_human", as Redis writes it (bytesToHuman). */
function humanOf(key: string, merged: ReadonlyMap<string, string>): string | null {
  const value = key.endsWith("_human") ? merged.get(key.slice(0, -"_human".length)) : undefined;
  if (value === undefined) return null;
  let size = Number(value);
  if (size < 1024) return `${size}B`;
  let unit = -1;
  for (; size >= 1024 && unit < UNITS.length - 1; unit++) size /= 1024;
  return `${size.toFixed(2)}${UNITS[unit]}`;
}

function collect(text: string, sections: Map<string, Section>): void {
  let section: Section | null = null;
  for (const line of text.split("\r\n")) {
    if (line.startsWith("# ")) {
      const title = line.slice(2);
      section = sections.get(title) ?? { title, fields: new Map() };
      sections.set(title, section);
      continue;
    }
    const colon = line.indexOf(":");
    if (section === null || colon < 0 || /^slave\d+$/.test(line.slice(0, colon))) continue;
    const key = line.slice(0, colon);
    const values = section.fields.get(key) ?? [];
    values.push(line.slice(colon + 1));
    section.fields.set(key, values);
  }
}

function mergeValues(key: string, values: readonly string[]): string {
  if (values.length === 1 || FIRST.has(key) || key.endsWith("_human")) return values[0];
  if (values[0].includes("=")) return mergeParts(values);
  if (!values.every((value) => /^-?\d+(\.\d+)?$/.test(value)))
    return values.find((value) => value !== "ok") ?? values[0];
  return mergeNumbers(key, values);
}

/** "keys=1,expires=0,avg_ttl=0": the same parts, each merged. */
function mergeParts(values: readonly string[]): string {
  const parts = new Map<string, string[]>();
  for (const value of values) {
    for (const part of value.split(",")) {
      const equals = part.indexOf("=");
      const key = part.slice(0, equals);
      parts.set(key, [...(parts.get(key) ?? []), part.slice(equals + 1)]);
    }
  }
  const merged = new Map([...parts].map(([key, list]) => [key, mergeValues(key, list)]));
  const calls = Number(merged.get("calls") ?? 0);
  if (merged.has("usec_per_call") && calls > 0) {
    merged.set("usec_per_call", (Number(merged.get("usec")) / calls).toFixed(2));
  }
  return [...merged].map(([key, value]) => `${key}=${value}`).join(",");
}

function mergeNumbers(key: string, values: readonly string[]): string {
  const numbers = values.map(Number);
  if (LARGEST.has(key) || PERCENTILE.test(key) || key.endsWith("_ratio") || key.endsWith("_perc"))
    return String(Math.max(...numbers));
  if (SMALLEST.has(key)) return String(Math.min(...numbers));
  const decimals = Math.max(...values.map((value) => (value.split(".")[1] ?? "").length));
  return numbers.reduce((sum, value) => sum + value, 0).toFixed(decimals);
}
