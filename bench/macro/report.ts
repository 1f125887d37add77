/** The measured numbers as tables, for a terminal or for a README. */
import { type Floor, timeRatio } from "./floors.ts";
import type { IdleMemory } from "./idle-connections.ts";
import type { LoadedMemory } from "./floors.ts";
import type { Machine } from "./machine.ts";
import type { BenchOptions } from "./options.ts";
import type { Row } from "./paired-rounds.ts";
import type { Spread } from "./statistics.ts";
import type { TargetName } from "./targets.ts";

/** Everything that one run has found; what `--json` prints. */
export interface Report {
  readonly machine: Machine;
  readonly parameters: BenchOptions;
  readonly seconds: number;
  readonly comparison: readonly Row[];
  readonly portable: readonly Row[];
  readonly mget: readonly Row[];
  /** One client that waits for each reply. */
  readonly lone: readonly Row[];
  readonly memory: LoadedMemory;
  readonly idle: IdleMemory;
  readonly floors: readonly Floor[];
}

interface Table {
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

const NONE = "–";

/** One text, with a line end. */
export function formatReport(report: Report): string {
  const markdown = report.parameters.output === "markdown";
  const format = markdown ? formatMarkdown : formatText;
  const sections = [
    markdown ? `### Benchmark\n\n${introduction(report)}` : introduction(report),
    section(markdown, "CPU per request, µs (median)", format(cpuTable(report.comparison))),
    section(markdown, "Throughput and latency (median)", format(rateTable(report.comparison))),
    section(markdown, "Portable transport", format(cpuTable(report.portable))),
    section(markdown, "MGET of 100 keys over 3 groups", format(timeTable(report.mget))),
    section(markdown, "A lone client over 3 groups", format(timeTable(report.lone))),
    section(markdown, "Memory", memoryText(report)),
    section(markdown, "Floors", format(floorTable(report.floors))),
  ];
  return `${sections.join("\n\n")}\n`;
}

function section(markdown: boolean, title: string, body: string): string {
  return markdown ? `**${title}**\n\n${body}` : `${title}\n\n${body}`;
}

function introduction({ machine, parameters, seconds }: Report): string {
  const { rounds } = parameters;
  const other = machine.nutcracker === null ? "no nutcracker here" : `nutcracker ${machine.nutcracker}`;
  const server = `Redis ${machine.redisServer}`;
  const load = machine.loadBefore.toFixed(2);
  return [
    `Shoal ${machine.shoal} with one worker on Bun ${machine.bun}, ${other}, two servers of ${server}.`,
    `${machine.cores} cores (${machine.cpu}), Linux ${machine.kernel}, load before ${load}.`,
    `Values of 32 bytes, 100,000 random keys, rounds: ${rounds}, ${Math.round(seconds)} s in all.`,
    "Load, servers and proxies share the machine. Ratios: median of the rounds (lowest–highest).",
  ].join("\n");
}

function cpuTable(rows: readonly Row[]): Table {
  const names = targetNames(rows).filter((name) => name !== "bare");
  const [first, ...others] = names;
  const head = ["", "clients × pipeline", ...names, ...others.map((name) => `${first} / ${name}`)];
  head.push(...targetNames(rows).map((name) => `servers: ${name}`));
  const cells = rows.map(({ point, targets, ratios }) => [
    point.operation,
    `${point.clients} × ${point.pipeline}`,
    ...names.map((name) => number(targets[name]?.proxyCpuUs.median, 2)),
    ...others.map((name) => spread(ratios[name]?.proxyCpu)),
    ...targetNames(rows).map((name) => number(targets[name]?.serverCpuUs.median, 2)),
  ]);
  return { head, rows: cells };
}

function rateTable(rows: readonly Row[]): Table {
  const names = targetNames(rows);
  const [first, ...others] = names;
  const head = ["", "clients × pipeline", ...names.map((name) => `${name}: 1/s, p50, p99 ms`)];
  head.push(...others.map((name) => `rate ${first} / ${name}`));
  const cells = rows.map(({ point, targets, ratios }) => [
    point.operation,
    `${point.clients} × ${point.pipeline}`,
    ...names.map((name) => {
      const sample = targets[name];
      if (sample === undefined) return NONE;
      const rate = Math.round(sample.requestsPerSecond.median).toLocaleString("en");
      return `${rate}, ${sample.p50Ms.median.toFixed(2)}, ${sample.p99Ms.median.toFixed(2)}`;
    }),
    ...others.map((name) => spread(ratios[name]?.requestsPerSecond)),
  ]);
  return { head, rows: cells };
}

function timeTable(rows: readonly Row[]): Table {
  const names = targetNames(rows);
  const proxies = names.filter((name) => name !== "bare");
  const others = names.filter((name) => name !== "shoal");
  const cells = rows.map((row) => [
    row.point.operation,
    String(row.point.clients),
    ...names.map((name) => {
      const rate = row.targets[name]?.requestsPerSecond.median;
      return number(rate === undefined ? undefined : (row.point.clients * 1e6) / rate, 0);
    }),
    ...others.map((name) => spread(timeRatio(row, name))),
    ...proxies.map((name) => number(row.targets[name]?.proxyCpuUs.median, 1)),
  ]);
  const times = names.map((name) => `${name}: µs`);
  const ratios = others.map((name) => `time shoal / ${name}`);
  const head = ["", "clients", ...times, ...ratios, ...proxies.map((name) => `${name}: CPU µs`)];
  return { head, rows: cells };
}

function memoryText({ memory, idle }: Report): string {
  const other = memory.nutcrackerBytes === null ? "" : `, nutcracker ${mebibytes(memory.nutcrackerBytes)}`;
  const each = Math.round(idle.bytesPerConnection).toLocaleString("en");
  return [
    `After that load: Shoal's worker ${mebibytes(memory.shoalBytes)}${other}.`,
    `${idle.connections.toLocaleString("en")} idle connections that have each made one request: ` +
      `${mebibytes(idle.rssBeforeBytes)} → ${mebibytes(idle.rssAfterBytes)}, ${each} bytes each.`,
  ].join("\n");
}

function floorTable(floors: readonly Floor[]): Table {
  const digits = (value: number): number => (value >= 100 ? 0 : 2);
  const rows = floors.map((floor) => [
    floor.pass ? "pass" : "FAIL",
    floor.what,
    floor.spread === null ? floor.value.toFixed(digits(floor.value)) : spread(floor.spread),
    `≤ ${floor.max}`,
  ]);
  return { head: ["", "floor", "measured", "bound"], rows };
}

/** Targets in the order in which they were given. */
function targetNames(rows: readonly Row[]): TargetName[] {
  return rows.length === 0 ? [] : (Object.keys(rows[0].targets) as TargetName[]);
}

function number(value: number | undefined, digits: number): string {
  return value === undefined || value === 0 ? NONE : value.toFixed(digits);
}

function spread(value: Spread | null | undefined): string {
  if (value == null) return NONE;
  return `${value.median.toFixed(2)} (${value.min.toFixed(2)}–${value.max.toFixed(2)})`;
}

function mebibytes(bytes: number): string {
  return `${(bytes / (1 << 20)).toFixed(0)} MiB`;
}

function formatMarkdown({ head, rows }: Table): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

function formatText({ head, rows }: Table): string {
  const lines = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...lines.map((cells) => cells[column].length)));
  const pad = (cells: readonly string[]): string =>
    cells.map((cell, column) => cell.padEnd(widths[column])).join("  ");
  return lines.map((cells) => `  ${pad(cells).trimEnd()}`).join("\n");
}
