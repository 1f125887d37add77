/**
 * `npm run bench:move`: what it costs to grow from two groups to three under load, beside Redis Cluster.
 *
 * Exit status 0 whatever is measured; with `--check` 1 when a floor fails.
 */
import { describeMachine } from "../macro/machine.ts";
import { Workbench } from "../macro/workbench.ts";
import { type Floor, checkFloors } from "./floors.ts";
import { type Measured, measure } from "./measure.ts";
import { type MoveOptions, parseOptions } from "./options.ts";
import { startCluster, startShoal } from "./systems.ts";

type Table = readonly (readonly string[])[];

function tell(text: string): void {
  process.stderr.write(`${text}\n`);
}

async function measureAll(options: MoveOptions): Promise<Measured[]> {
  const results: Measured[] = [];
  for (const start of options.cluster ? [startShoal, startCluster] : [startShoal]) {
    const bench = new Workbench();
    try {
      results.push(await measure(await start(bench), options, tell));
    } finally {
      await bench.close();
    }
  }
  return results;
}

function moveTable(results: readonly Measured[]): Table {
  const head = ["", "keys moved", "under load: s, keys/s, MB/s", "without load: s, keys/s, MB/s"];
  const text = ({ seconds, keysPerSecond, bytesPerSecond }: Measured["quiet"]): string => {
    return `${seconds.toFixed(1)}, ${whole(keysPerSecond)}, ${(bytesPerSecond / 1e6).toFixed(1)}`;
  };
  return [
    head,
    ...results.map((one) => [one.name, whole(one.underLoad.keys), text(one.underLoad), text(one.quiet)]),
  ];
}

function clientTable(results: readonly Measured[]): Table {
  const head = [
    "",
    "clients",
    "requests/s",
    "p50 ms",
    "p99 ms",
    "p99.9 ms",
    "longest ms",
    "errors",
    "misses",
  ];
  const rows = results.flatMap((one) =>
    (["before", "during", "after"] as const).map((when) => {
      const felt = one[when];
      const latencies = [felt.p50Ms, felt.p99Ms, felt.p999Ms, felt.maxMs].map((ms) => ms.toFixed(2));
      return [
        one.name,
        when,
        whole(felt.requestsPerSecond),
        ...latencies,
        whole(felt.errors),
        whole(felt.misses),
      ];
    }),
  );
  return [head, ...rows];
}

function floorTable(floors: readonly Floor[]): Table {
  const rows = floors.map(({ what, value, bound, pass }) => {
    return [pass ? "pass" : "FAIL", what, value >= 100 ? whole(value) : value.toFixed(2), bound];
  });
  return [["", "floor (shoal)", "measured", "bound"], ...rows];
}

function whole(value: number): string {
  return Math.round(value).toLocaleString("en");
}

function format(table: Table, markdown: boolean): string {
  if (markdown) {
    const line = (row: readonly string[]): string => `| ${row.join(" | ")} |`;
    return [line(table[0]), line(table[0].map(() => "---")), ...table.slice(1).map(line)].join("\n");
  }
  const widths = table[0].map((_, column) => Math.max(...table.map((row) => row[column].length)));
  return table
    .map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i]))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2));
  if (typeof options === "string") {
    process.stdout.write(`${options}\n`);
    return 0;
  }
  const machine = describeMachine(null);
  const results = await measureAll(options);
  const floors = checkFloors(results[0]);
  if (options.output === "json") {
    process.stdout.write(`${JSON.stringify({ machine, options, results, floors }, null, 2)}\n`);
  } else {
    const tables = [moveTable(results), clientTable(results), floorTable(floors)];
    const texts = tables.map((table) => format(table, options.output === "markdown"));
    process.stdout.write(`${texts.join("\n\n")}\n`);
    for (const text of results.flatMap((one) => one.errorTexts)) tell(`error: ${text}`);
  }
  return options.check && floors.some((floor) => !floor.pass) ? 1 : 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`bench:move: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 2;
}
