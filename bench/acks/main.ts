/**
 * `npm run bench:acks`: what it costs that writes wait for a replica.
 *
 *   redis-benchmark ─┬─▶ shoal, acks = replica 1 ─┬─▶ primary ─▶ one replica
 *                    └─▶ shoal, acks = async ─────┘
 *
 * Both proxies stand over the same two servers, and each round measures one right after the other
 * (../macro/paired-rounds.ts), so that the ratio is of the acknowledgement and nothing else. Exit status 1
 * with
 * `--check` when the floor is missed.
 */
import { parseArgs } from "node:util";
import { until } from "../../test/support/until.ts";
import { fillKeyspace } from "../macro/keyspace.ts";
import { type Point } from "../macro/load.ts";
import { describeMachine } from "../macro/machine.ts";
import { loadsOf, type Row, runRounds } from "../macro/paired-rounds.ts";
import { Progress } from "../macro/progress.ts";
import { startServer, startShoal } from "../macro/targets.ts";
import { type Served, Workbench } from "../macro/workbench.ts";

/**
 * Share of the throughput without acknowledgement that must be left, at 50 clients that wait for each reply.
 */
const FLOOR = 0.4;
const FLOOR_CLIENTS = 50;
const OPTION = "replica 1";

const POINTS: readonly Point[] = [
  { operation: "SET", clients: 1, pipeline: 1 },
  { operation: "SET", clients: 50, pipeline: 1 },
  { operation: "SET", clients: 500, pipeline: 1 },
  { operation: "SET", clients: 50, pipeline: 16 },
  { operation: "GET", clients: 50, pipeline: 1 },
];

const HELP = `npm run bench:acks -- [options]: acks = replica 1 beside acks = async, over one replica

  --rounds N    measured rounds (7)
  --quick       two short rounds
  --json        print one JSON document
  --check       exit status 1 when less than ${FLOOR} of the throughput is left at ${FLOOR_CLIENTS} clients`;

/** Makes `replica` a copy of `primary`, and waits until it is one. */
async function follow(replica: Served, primary: Served): Promise<void> {
  await send(replica, "REPLICAOF", "127.0.0.1", String(primary.port));
  await until(async () => (await send(primary, "INFO", "replication")).includes("state=online"), "in sync");
}

async function send(server: Served, ...words: string[]): Promise<string> {
  const child = Bun.spawn(["redis-cli", "-p", String(server.port), ...words], { stderr: "inherit" });
  return new Response(child.stdout).text();
}

async function run(rounds: number, loadSeconds: number): Promise<Row[]> {
  const plan = { points: POINTS, rounds, loadSeconds };
  const progress = new Progress(loadsOf(plan, 2));
  const bench = new Workbench();
  try {
    const [primary, replica] = [await startServer(bench), await startServer(bench)];
    // The timer of a replica that has nothing to say would decide what is measured.
    await send(primary, "CONFIG", "SET", "repl-diskless-sync-delay", "0");
    await fillKeyspace(primary.port);
    await follow(replica, primary);
    const targets = [
      await startShoal(bench, [primary], "replica", { acks: OPTION }),
      await startShoal(bench, [primary], "async"),
    ];
    return await runRounds(plan, targets, progress);
  } finally {
    progress.end();
    await bench.close();
  }
}

function shareOf(row: Row): number {
  return row.ratios.async?.requestsPerSecond.median ?? 0;
}

function floorRow(rows: readonly Row[]): Row {
  const isFloor = ({ point }: Row): boolean =>
    point.operation === "SET" && point.clients === FLOOR_CLIENTS && point.pipeline === 1;
  return rows.find(isFloor) as Row;
}

function format(rows: readonly Row[]): string {
  const lines = ["load             replica 1/s    async 1/s   share   p50 ms (async)   p99 ms (async)"];
  for (const row of rows) {
    const { replica, async: plain } = row.targets;
    if (replica === undefined || plain === undefined) continue;
    const { operation, clients, pipeline } = row.point;
    const ms = (mine: number, other: number): string =>
      `${mine.toFixed(2)} (${other.toFixed(2)})`.padStart(16);
    lines.push(
      `${operation} ${clients} × ${pipeline}`.padEnd(14) +
        String(Math.round(replica.requestsPerSecond.median)).padStart(14) +
        String(Math.round(plain.requestsPerSecond.median)).padStart(13) +
        `${(shareOf(row) * 100).toFixed(0)} %`.padStart(8) +
        ms(replica.p50Ms.median, plain.p50Ms.median) +
        ms(replica.p99Ms.median, plain.p99Ms.median),
    );
  }
  return lines.join("\n");
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string", default: "7" },
      quick: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      check: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(`${HELP}\n`);
    return 0;
  }
  const rounds = values.quick ? 2 : Number(values.rounds);
  if (!(Number.isInteger(rounds) && rounds > 0)) throw new Error(`Cannot use --rounds ${values.rounds}`);
  const rows = await run(rounds, values.quick ? 0.5 : 1);
  const share = shareOf(floorRow(rows));
  const pass = share >= FLOOR;
  const machine = describeMachine(null);
  if (values.json)
    process.stdout.write(
      `${JSON.stringify({ machine, option: OPTION, rows, floor: { share, least: FLOOR, pass } }, null, 2)}\n`,
    );
  else {
    const verdict = `${(share * 100).toFixed(0)} % at ${FLOOR_CLIENTS} clients, floor ${FLOOR * 100} %`;
    process.stdout.write(`${format(rows)}\n\n${pass ? "ok" : "MISSED"}: ${verdict}\n`);
  }
  return values.check && !pass ? 1 : 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`bench:acks: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 2;
}
