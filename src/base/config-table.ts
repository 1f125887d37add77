/**
 * Configuration as one table: a row per key says its type, default, bounds and meaning. Parsing, checking,
 * the help text and the TypeScript type all come from the table, so that they cannot drift apart.
 *
 *   TOML text ──smol-toml──▶ object ──parseConfig──▶ ConfigOf<table>
 *                                                   └─▶ CONFIG error: file:line, key, value, what is wanted
 *
 * Units stand in the names (`server_timeout_ms`), so there is no duration type whose text would need a
 * parser of its own. Rejected: a schema library for it. Its errors name paths of a schema; ours name the
 * line of a file, and the nearest known key when one is misspelt.
 */
import { ShoalError } from "./shoal-error.ts";

interface RowBase {
  /** One or two sentences for `--help-config`; says what a special value such as 0 means. */
  readonly doc: string;
  /** Never shown: not in logs, not in answers, not in `--help-config` of a running process. */
  readonly secret?: boolean;
}

/** One key. `list` holds texts. `choice` is a text out of `values`. */
export type ConfigRow = RowBase &
  (
    | { readonly type: "string"; readonly default: string }
    | { readonly type: "int"; readonly default: number; readonly min: number; readonly max: number }
    | { readonly type: "bool"; readonly default: boolean }
    | { readonly type: "list"; readonly default: readonly string[] }
    | { readonly type: "choice"; readonly default: string; readonly values: readonly string[] }
  );

/** Rows by key; a dot in a key is a table in the file: `store.path` stands under `[store]`. */
export type ConfigTable = Readonly<Record<string, ConfigRow>>;

type ValueOf<Row> = Row extends { type: "choice"; values: readonly (infer Value)[] }
  ? Value
  : Row extends { type: "int" }
    ? number
    : Row extends { type: "bool" }
      ? boolean
      : Row extends { type: "list" }
        ? readonly string[]
        : string;

/** The values that a table describes, by the same flat keys: `config["store.path"]`, `config.workers`. */
export type ConfigOf<Table extends ConfigTable> = { readonly [Key in keyof Table]: ValueOf<Table[Key]> };

/** Where the values come from; for messages only. */
export interface ConfigSource {
  /** What to call it: a path, mostly. */
  readonly file: string;
  /** The file's text, when there is one: lets an error name the line. */
  readonly text?: string;
}

/**
 * Checks `values` (what a TOML parser made) against the table and fills in defaults.
 * @throws ShoalError CONFIG that names file, line, key and value; the first wrong thing in the file's order
 */
export function parseConfig<Table extends ConfigTable>(
  table: Table,
  values: Readonly<Record<string, unknown>>,
  source: ConfigSource,
): ConfigOf<Table> {
  const config: Record<string, unknown> = {};
  for (const key of Object.keys(table)) config[key] = table[key].default;
  for (const [key, value] of flatten(values, "", table)) {
    const row = Object.hasOwn(table, key) ? table[key] : undefined;
    if (row === undefined) throw unknownKey(table, key, source);
    const complaint = complaintAbout(row, value);
    if (complaint !== null) {
      const shown = row.secret ? "" : ` ${JSON.stringify(value)}`;
      throw new ShoalError("CONFIG", `Cannot use ${placeOf(source, key)}: ${key} =${shown}: ${complaint}`);
    }
    config[key] = typeof value === "bigint" ? Number(value) : value;
  }
  return config as ConfigOf<Table>;
}

/** For rules that span keys: an error in the same words as the table's own. */
export function configError(source: ConfigSource, key: string, complaint: string): ShoalError {
  return new ShoalError("CONFIG", `Cannot use ${placeOf(source, key)}: ${key}: ${complaint}`);
}

/**
 * Every key with default and meaning, as TOML that can be saved and edited: what is a default is commented
 * out.
 */
export function helpConfig(table: ConfigTable, title: string): string {
  const lines = [`# ${title}`, "# Every key, with its default. Remove the # before a key to change it.", ""];
  let section = "";
  // TOML wants keys without a table before the first table.
  for (const key of Object.keys(table).toSorted((a, b) => sectionOf(a).localeCompare(sectionOf(b)))) {
    const row = table[key];
    if (sectionOf(key) !== section) {
      section = sectionOf(key);
      lines.push(`[${section}]`);
    }
    for (const line of wrap(row.doc, 100)) lines.push(`# ${line}`);
    lines.push(`# (${describeType(row)})`);
    lines.push(`#${key.slice(section === "" ? 0 : section.length + 1)} = ${tomlOf(row.default)}`, "");
  }
  return lines.join("\n");
}

/** The values for a log or an answer: secrets replaced by whether they are set. */
export function publicConfig<Table extends ConfigTable>(
  table: Table,
  config: ConfigOf<Table>,
): Record<string, unknown> {
  const shown: Record<string, unknown> = {};
  for (const key of Object.keys(table)) {
    const value: unknown = config[key as keyof Table];
    shown[key] = table[key].secret ? (isEmpty(value) ? value : "(set)") : value;
  }
  return shown;
}

function isEmpty(value: unknown): boolean {
  return value === "" || (Array.isArray(value) && value.length === 0);
}

/**
 * `{a: {b: 1}}` → `["a.b", 1]`; stops at tables that no key of ours lies in, so that the error names the
 * table.
 */
function* flatten(
  values: Readonly<Record<string, unknown>>,
  prefix: string,
  table: ConfigTable,
): Generator<[string, unknown]> {
  for (const [name, value] of Object.entries(values)) {
    const key = prefix + name;
    const known = Object.keys(table).some((other) => other.startsWith(`${key}.`));
    const isTable = typeof value === "object" && value !== null && !Array.isArray(value);
    if (isTable && known) yield* flatten(value as Record<string, unknown>, `${key}.`, table);
    else yield [key, value];
  }
}

/** What is wrong with a value, or null. */
function complaintAbout(row: ConfigRow, value: unknown): string | null {
  switch (row.type) {
    case "string":
      return typeof value === "string" ? null : "want a text in quotes";
    case "bool":
      return typeof value === "boolean" ? null : "want true or false";
    case "list": {
      const good = Array.isArray(value) && value.every((entry) => typeof entry === "string");
      return good ? null : 'want a list of texts: ["…", "…"]';
    }
    case "choice": {
      const good = typeof value === "string" && row.values.includes(value);
      return good ? null : `want one of ${row.values.map((name) => JSON.stringify(name)).join(", ")}`;
    }
    case "int": {
      const number = typeof value === "bigint" ? Number(value) : value;
      const good =
        typeof number === "number" && Number.isInteger(number) && number >= row.min && number <= row.max;
      return good ? null : `want a whole number from ${row.min} to ${row.max}`;
    }
  }
}

function unknownKey(table: ConfigTable, key: string, source: ConfigSource): ShoalError {
  const nearest = nearestName(key, Object.keys(table));
  const advice = nearest === null ? "" : ` (did you mean ${nearest}?)`;
  return new ShoalError("CONFIG", `Cannot use ${placeOf(source, key)}: unknown key ${key}${advice}`);
}

/** "proxy.toml:12", or "proxy.toml" when the line is not known. */
function placeOf(source: ConfigSource, key: string): string {
  const line = source.text === undefined ? null : lineOfKey(source.text, key);
  return line === null ? source.file : `${source.file}:${line}`;
}

/**
 * The line (from 1) on which a dotted key is set, or null. Reads plain `key = …` lines and `[table]` heads.
 */
function lineOfKey(text: string, key: string): number | null {
  let section = "";
  const lines = text.split("\n");
  for (let i = 0; i < lines.length; i++) {
    const head = /^\s*\[+\s*([^\]]+?)\s*\]+/.exec(lines[i]);
    if (head !== null) section = `${head[1]}.`;
    if (head !== null && head[1] === key) return i + 1;
    const name = /^\s*("?)([\w.-]+)\1\s*=/.exec(lines[i]);
    if (name !== null && section + name[2] === key) return i + 1;
  }
  return null;
}

/** The known name that a misspelt one most likely meant, or null when none is near. */
export function nearestName(name: string, known: readonly string[]): string | null {
  let best: string | null = null;
  let bestDistance = Math.max(2, Math.floor(name.length / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase());
    if (distance >= bestDistance) continue;
    best = candidate;
    bestDistance = distance;
  }
  return best;
}

/**
 * Levenshtein's distance: letters to insert, delete or replace. Names are short, so one row of the matrix
 * is kept.
 */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = previous[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(replaced, previous[j] + 1, row[j - 1] + 1));
    }
    previous = row;
  }
  return previous[b.length];
}

function sectionOf(key: string): string {
  const dot = key.lastIndexOf(".");
  return dot < 0 ? "" : key.slice(0, dot);
}

function describeType(row: ConfigRow): string {
  const secret = row.secret ? ", secret" : "";
  if (row.type === "int") return `whole number, ${row.min} to ${row.max}${secret}`;
  if (row.type === "choice") return `one of ${row.values.join(", ")}${secret}`;
  return { string: "text", bool: "true or false", list: "list of texts" }[row.type] + secret;
}

/** A value as TOML. JSON's texts, numbers, booleans and lists of texts are TOML too. */
function tomlOf(value: string | number | boolean | readonly string[]): string {
  return Array.isArray(value)
    ? `[${value.map((entry) => JSON.stringify(entry)).join(", ")}]`
    : JSON.stringify(value);
}

function wrap(text: string, width: number): string[] {
  const lines = [""];
  for (const word of text.split(" ")) {
    const last = lines.length - 1;
    if (lines[last] === "") lines[last] = word;
    else if (lines[last].length + 1 + word.length <= width) lines[last] += ` ${word}`;
    else lines.push(word);
  }
  return lines;
}
