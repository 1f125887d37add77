/**
 * `npm run bench`: Shoal beside nutcracker and a bare server, on this machine.
 *
 *   comparison ─▶ memory after it ─▶ portable transport ─▶ 3 groups: MGET, a lone client ─▶ idle connections
 *   ─▶ floors
 *
 * Exit status 0 whatever is measured; with `--check` 1 when a floor fails.
 */
import { checkFloors, type LoadedMemory } from "./floors.ts";
import { type IdleMemory, measureIdleConnections } from "./idle-connections.ts";
import { fillKeyspace } from "./keyspace.ts";
import type { Operation, Point } from "./load.ts";
import { describeMachine } from "./machine.ts";
import { type BenchOptions, parseOptions } from "./options.ts";
import { loadsOf, type Row, type RoundsPlan, runRounds } from "./paired-rounds.ts";
import { readRssBytes } from "./process-meter.ts";
import { Progress } from "./progress.ts";
import { formatReport, type Report } from "./report.ts";
import {
  bareTarget,
  nutcrackerProgram,
  startNutcracker,
  startServer,
  startShoal,
  type Target,
} from "./targets.ts";
import { type Served, Workbench } from "./workbench.ts";

const OPERATIONS: readonly Operation[] = ["SET", "GET"];
const MGET_CLIENTS = [1, 50];
const LONE_CLIENT = [[1, 1]] as const;
/** How much longer the idle connections take than one load, roughly: for the progress line. */
const IDLE_STEPS = 8;

interface Plans {
  readonly comparison: RoundsPlan;
  readonly portable: RoundsPlan;
  readonly mget: RoundsPlan;
  readonly lone: RoundsPlan;
}

async function run(options: BenchOptions): Promise<Report> {
  const startedMs = performance.now();
  const machine = describeMachine(nutcrackerProgram());
  if (machine.nutcracker === null) {
    process.stderr.write("No nutcracker on this machine: comparing with the bare server only.\n");
  }
  const plans = plansFor(options);
  const progress = new Progress(countSteps(plans, machine.nutcracker !== null));
  const bench = new Workbench();
  try {
    const servers = [await startServer(bench), await startServer(bench), await startServer(bench)];
    for (const server of servers) await fillKeyspace(server.port);
    const pair = servers.slice(0, 2);
    const { comparison, memory } = await compare(bench, plans.comparison, pair, progress);
    const portable = await comparePortable(bench, plans.portable, pair, progress);
    const [mget, lone] = await compareOverGroups(bench, [plans.mget, plans.lone], servers, progress);
    const idle = await measureIdle(bench, options.idleConnections, pair, progress);
    const seconds = (performance.now() - startedMs) / 1000;
    const measured = { comparison, memory, idle, mget };
    return {
      machine,
      parameters: options,
      seconds,
      portable,
      lone,
      ...measured,
      floors: checkFloors(measured),
    };
  } finally {
    progress.end();
    await bench.close();
  }
}

function plansFor(options: BenchOptions): Plans {
  const { clients, pipelines, portablePoints, loadSeconds } = options;
  const pairs = pipelines.flatMap((pipeline) => clients.map((count) => [count, pipeline] as const));
  const mget = MGET_CLIENTS.map((count): Point => ({ operation: "MGET", clients: count, pipeline: 1 }));
  return {
    comparison: { points: pointsOf(pairs), rounds: options.rounds, loadSeconds },
    portable: { points: pointsOf(portablePoints), rounds: options.portableRounds, loadSeconds },
    mget: { points: mget, rounds: options.mgetRounds, loadSeconds },
    lone: { points: pointsOf(LONE_CLIENT), rounds: options.mgetRounds, loadSeconds },
  };
}

function pointsOf(pairs: readonly (readonly [number, number])[]): Point[] {
  return OPERATIONS.flatMap((operation) =>
    pairs.map(([clients, pipeline]): Point => ({ operation, clients, pipeline })),
  );
}

function countSteps({ comparison, portable, mget, lone }: Plans, nutcracker: boolean): number {
  const targets = nutcracker ? 3 : 2;
  const loads = [comparison, portable, mget, lone].reduce((sum, plan) => sum + loadsOf(plan, targets), 0);
  return loads + IDLE_STEPS;
}

async function compare(
  bench: Workbench,
  plan: RoundsPlan,
  servers: readonly Served[],
  progress: Progress,
): Promise<{ comparison: Row[]; memory: LoadedMemory }> {
  const shoal = await startShoal(bench, servers);
  const nutcracker = await startNutcracker(bench, servers);
  const targets = present([shoal, nutcracker, bareTarget(servers[0])]);
  const comparison = await runRounds(plan, targets, progress);
  const memory = {
    shoalBytes: readRssBytes(shoal.proxyPid as number),
    nutcrackerBytes: nutcracker === null ? null : readRssBytes(nutcracker.proxyPid as number),
  };
  await stopProxies([shoal, nutcracker]);
  return { comparison, memory };
}

/** For information: it serves where there is no epoll, and TLS. */
async function comparePortable(
  bench: Workbench,
  plan: RoundsPlan,
  servers: readonly Served[],
  progress: Progress,
): Promise<Row[]> {
  const portable = await startShoal(bench, servers, "portable");
  const shoal = await startShoal(bench, servers);
  const nutcracker = await startNutcracker(bench, servers);
  const rows = await runRounds(plan, present([portable, shoal, nutcracker]), progress);
  await stopProxies([portable, shoal, nutcracker]);
  return rows;
}

async function compareOverGroups(
  bench: Workbench,
  plans: readonly RoundsPlan[],
  servers: readonly Served[],
  progress: Progress,
): Promise<Row[][]> {
  const shoal = await startShoal(bench, servers);
  const nutcracker = await startNutcracker(bench, servers);
  const targets = present([shoal, nutcracker, bareTarget(servers[0])]);
  const tables: Row[][] = [];
  for (const plan of plans) tables.push(await runRounds(plan, targets, progress));
  await stopProxies([shoal, nutcracker]);
  return tables;
}

async function measureIdle(
  bench: Workbench,
  connections: number,
  servers: readonly Served[],
  progress: Progress,
): Promise<IdleMemory> {
  progress.step(`${connections} idle connections`);
  const shoal = await startShoal(bench, servers);
  const idle = await measureIdleConnections(shoal, connections);
  await shoal.stop();
  return idle;
}

function present(targets: readonly (Target | null)[]): Target[] {
  return targets.filter((target) => target !== null);
}

/** An idle proxy costs nothing but memory; still, none may stand beside the next comparison. */
async function stopProxies(targets: readonly (Target | null)[]): Promise<void> {
  await Promise.all(present(targets).map((target) => target.stop()));
}

async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2));
  if (typeof options === "string") {
    process.stdout.write(`${options}\n`);
    return 0;
  }
  const report = await run(options);
  const json = options.output === "json";
  process.stdout.write(json ? `${JSON.stringify(report, null, 2)}\n` : formatReport(report));
  return options.check && report.floors.some((floor) => !floor.pass) ? 1 : 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 2;
}
