/**
 * `npm run bench:failover`: what clients feel and lose when a primary dies, in Shoal, Redis Sentinel and
 * Redis Cluster, with the same checker, the same client library and the same time until a server counts as
 * down.
 */
import { describeMachine } from "../macro/machine.ts";
import { type FailoverOptions, type Incident, parseOptions } from "./options.ts";
import { type FailoverRow, killAgainAndAgain } from "./rounds.ts";
import { startSystem } from "./systems.ts";

/** Ports of the first system; each has a hundred. */
const BASE_PORT = 28_000 + (process.pid % 20) * 400;

/** Of each row, below the table; JSON has more. */
const FINDINGS_SHOWN = 2;

function tell(text: string): void {
  process.stderr.write(`${text}\n`);
}

async function run(options: FailoverOptions): Promise<FailoverRow[]> {
  const rows: FailoverRow[] = [];
  for (const [index, name] of options.systems.entries()) {
    const system = await startSystem(name, BASE_PORT + index * 100, options);
    try {
      for (const incident of options.incidents.filter((one) => canCause(one, system.fleet.separate))) {
        rows.push(await killAgainAndAgain(system, incident, options, tell));
      }
    } finally {
      await system.fleet.close();
    }
  }
  return rows;
}

function canCause(incident: Incident, separate: boolean): boolean {
  if (incident === "kill" || separate) return true;
  tell(`${incident} is left out: it needs Linux, root and network namespaces`);
  return false;
}

const HEAD = [
  "system",
  "incident",
  "kills",
  "acknowledged",
  "lost",
  "kills with loss",
  "duplicated",
  "other wrong",
  "errors",
  "ms without service: median (lowest–highest)",
];

function cellsOf(row: FailoverRow): string[] {
  const { gapsMs } = row;
  const number = (value: number): string => value.toLocaleString("en");
  const median = gapsMs[gapsMs.length >> 1];
  return [
    row.system,
    row.incident,
    number(row.kills),
    number(row.acknowledged),
    number(row.lost),
    number(row.killsWithLoss),
    number(row.duplicated),
    number(row.otherWrong),
    number(row.errors),
    `${number(median)} (${number(gapsMs[0])}–${number(gapsMs[gapsMs.length - 1])})`,
  ];
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
