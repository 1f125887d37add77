/**
 * `npm run bench:failover`: what clients feel and lose when a primary dies, in Shoal, Redis Sentinel and
 * Redis Cluster, with the same checker, the same client library and the same time until a server counts as
 * down.
 */
import { describeMachine } from "../macro/machine.ts";
import { type FailoverOptions, type Incident, type SystemName, parseOptions } from "./options.ts";
import { type FailoverRow, killAgainAndAgain } from "./rounds.ts";
import { startSystem } from "./systems.ts";

/** Ports of the first system; each has a hundred. */
const BASE_PORT = 28_000 + (process.pid % 20) * 400;

const SHOWN_NAMES: Record<SystemName, string> = {
  shoal: "Shoal, acks = async",
  "shoal-acks": "Shoal, acks = replica",
  sentinel: "Redis Sentinel",
  cluster: "Redis Cluster",
};

/** Of each row, below the table; JSON has more. */
const FINDINGS_SHOWN = 2;

function tell(text: string): void {
  process.stderr.write(`${text}\n`);
}

async function run(options: FailoverOptions): Promise<FailoverRow[]> {
  const rows: FailoverRow[] = [];
  for (const [index, name] of options.systems.entries()) {
    rows.push(...(await runOne(name, BASE_PORT + index * 100, options)));
  }
  return rows;
}

async function runOne(name: SystemName, basePort: number, options: FailoverOptions): Promise<FailoverRow[]> {
  const rows: FailoverRow[] = [];
  const system = await startSystem(name, basePort, options);
  try {
    for (const { incident, times } of options.incidents) {
      if (!canCause(incident, system.fleet.separate)) continue;
      rows.push(await killAgainAndAgain(system, incident, times, options, tell));
    }
    return rows;
  } finally {
    await system.fleet.close();
  }
}

function canCause(incident: Incident, separate: boolean): boolean {
  if (incident === "kill" || separate) return true;
  tell(`${incident} is left out: it needs Linux, root and network namespaces`);
  return false;
}

const HEAD = [
  "system",
  "incident",
  "times",
  "writes acknowledged",
  "lost",
  "times with loss",
  "otherwise wrong",
  "errors",
  "without service, ms: median",
  "max",
];

function cellsOf(row: FailoverRow): string[] {
  const { gapsMs } = row;
  const numbers = [
    row.kills,
    row.acknowledged,
    row.lost,
    row.killsWithLoss,
    row.wrong,
    row.errors,
    median(gapsMs),
    gapsMs[gapsMs.length - 1],
  ];
  return [SHOWN_NAMES[row.system], row.incident, ...numbers.map((number) => number.toLocaleString("en"))];
}

function median(sorted: readonly number[]): number {
  const half = (sorted.length - 1) / 2;
  return Math.round((sorted[Math.floor(half)] + sorted[Math.ceil(half)]) / 2);
}

function format(rows: readonly FailoverRow[], markdown: boolean): string {
  const cells = [HEAD, ...rows.map(cellsOf)];
  if (markdown) {
    const line = (row: readonly string[]): string => `| ${row.join(" | ")} |`;
    return [line(HEAD), line(HEAD.map(() => "---")), ...cells.slice(1).map(line)].join("\n");
  }
  const widths = HEAD.map((_, column) => Math.max(...cells.map((row) => row[column].length)));
  return cells
    .map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i]))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2));
  if (typeof options === "string") {
    process.stdout.write(`${options}\n`);
    return;
  }
  const machine = describeMachine(null);
  const rows = await run(options);
  const { output } = options;
  const text =
    output === "json"
      ? JSON.stringify({ machine, options, rows }, null, 2)
      : format(rows, output === "markdown");
  process.stdout.write(`${text}\n`);
  for (const { system, incident, errorTexts, findings } of rows) {
    for (const one of errorTexts) tell(`${system}, ${incident}: ${one.count} × ${one.text}`);
    for (const finding of findings.slice(0, FINDINGS_SHOWN)) tell(`${system}, ${incident}: ${finding}`);
  }
}

try {
  await main();
} catch (error) {
  process.stderr.write(`bench:failover: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 2;
}
// ioredis may keep a timer of a connection that is long gone.
process.exit();
