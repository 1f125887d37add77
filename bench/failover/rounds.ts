/**
 * One kill after the other: load, the incident, the time until it is served again, a last look at every key,
 * the killed server started again as what it then is: a replica.
 */
import { testEnv } from "../../test/support/redis-process.ts";
import { Verifier } from "../../src/verify/verifier.ts";
import type { VerifyReport } from "../../src/verify/tally.ts";
import type { FailoverOptions, Incident } from "./options.ts";
import { type System, primaryOf, tagsOf } from "./systems.ts";

/** Sums over all kills of one system and incident. */
export interface FailoverRow {
  readonly system: string;
  readonly incident: Incident;
  readonly kills: number;
  readonly acknowledged: number;
  readonly lost: number;
  /** Kills after which something was missing. */
  readonly killsWithLoss: number;
  readonly duplicated: number;
  /** Other things that are wrong: reads that went back, half transactions … */
  readonly otherWrong: number;
  readonly unverified: number;
  readonly errors: number;
  /** Time without service of each kill, in milliseconds, in order of size. */
  readonly gapsMs: readonly number[];
  /** The most frequent errors, over all kills. */
  readonly errorTexts: ReadonlyArray<{ readonly text: string; readonly count: number }>;
  /** The first few findings. */
  readonly findings: readonly string[];
  readonly seeds: readonly number[];
}

const SETTLE_SECONDS = 40;
const FINDINGS_MAX = 10;
const ERROR_TEXTS_MAX = 5;

export async function killAgainAndAgain(
  system: System,
  incident: Incident,
  options: FailoverOptions,
  tell: (text: string) => void,
): Promise<FailoverRow> {
  const reports: VerifyReport[] = [];
  for (let kill = 1; kill <= options.kills; kill++) {
    await system.awaitWhole();
    const report = await killOnce(system, incident, options);
    reports.push(report);
    const { lost, wrong, errors, gaps } = report;
    const felt = `lost ${lost}, wrong ${wrong}, errors ${errors.total}, ${gaps[0].longestMs} ms away`;
    tell(`${system.name}, ${incident} ${kill}/${options.kills}: ${felt}`);
  }
  return sumOf(system.name, incident, reports);
}

async function killOnce(system: System, incident: Incident, options: FailoverOptions): Promise<VerifyReport> {
  const env = testEnv();
  const { quietSeconds, splitSeconds, healSeconds } = options;
  const verifier = new Verifier(env, system.driver, {
    seconds: incident === "split" ? quietSeconds + splitSeconds + healSeconds : options.seconds,
    keys: options.keys,
    workers: options.workers,
    queues: 0,
    seed: null,
    settleSeconds: SETTLE_SECONDS,
    tags: tagsOf(system, env.random.hex(8), options.keys),
  });
  const running = verifier.run();
  await sleep(quietSeconds * 1000);
  const primary = await primaryOf(system);
  const { fleet } = system;
  if (incident === "split") {
    fleet.cutOff(primary, true);
    await sleep(splitSeconds * 1000);
    fleet.cutOff(primary, false);
    return running;
  }
  const lagging = incident === "lag-kill" ? system.members.filter((server) => server !== primary) : [];
  for (const replica of lagging) fleet.cutWay(primary, replica, true);
  if (lagging.length > 0) await sleep(options.lagMs);
  await fleet.kill(primary);
  // Not before the end: the kernel would still deliver what a dead process has left in its socket.
  const report = await running;
  for (const replica of lagging) fleet.cutWay(primary, replica, false);
  await fleet.launch(primary);
  return report;
}

function sumOf(system: string, incident: Incident, reports: readonly VerifyReport[]): FailoverRow {
  const sum = (pick: (report: VerifyReport) => number): number =>
    reports.reduce((sofar, one) => sofar + pick(one), 0);
  const duplicated = sum((report) => report.duplicated);
  return {
    system,
    incident,
    kills: reports.length,
    acknowledged: sum((report) => report.acknowledged),
    lost: sum((report) => report.lost),
    killsWithLoss: reports.filter((report) => report.lost > 0).length,
    duplicated,
    otherWrong: sum((report) => report.wrong) - duplicated,
    unverified: sum((report) => report.unverified),
    errors: sum((report) => report.errors.total),
    gapsMs: reports.map((report) => report.gaps[0].longestMs).toSorted((a, b) => a - b),
    errorTexts: mostFrequent(reports.flatMap((report) => report.errors.texts)),
    findings: reports.flatMap((report) => report.findings).slice(0, FINDINGS_MAX),
    seeds: reports.map((report) => report.seed),
  };
}

function mostFrequent(texts: VerifyReport["errors"]["texts"]): FailoverRow["errorTexts"] {
  const sums = new Map<string, number>();
  for (const { text, count } of texts) sums.set(text, (sums.get(text) ?? 0) + count);
  const rows = [...sums].map(([text, count]) => ({ text, count }));
  return rows.toSorted((a, b) => b.count - a.count).slice(0, ERROR_TEXTS_MAX);
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
