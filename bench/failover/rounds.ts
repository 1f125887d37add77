/**
 * One kill after the other: load, the incident, the time until it is served again, a last look at every key,
 * the killed server started again as what it then is: a replica.
 */
import { testEnv } from "../../test/support/redis-process.ts";
import { Verifier } from "../../src/verify/verifier.ts";
import type { VerifyReport } from "../../src/verify/tally.ts";
import type { FailoverOptions, Incident, SystemName } from "./options.ts";
import { type System, primaryOf, tagsOf } from "./system.ts";

/** Sums over all kills of one system and incident. */
export interface FailoverRow {
  readonly system: SystemName;
  readonly incident: Incident;
  readonly kills: number;
  readonly acknowledged: number;
  readonly lost: number;
  /** Kills after which something was missing. */
  readonly killsWithLoss: number;
  /** Of `wrong`, writes that were applied twice. */
  readonly duplicated: number;
  /** Reads that went back, writes applied twice, half transactions … */
  readonly wrong: number;
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
/** Load before the incident. */
const QUIET_MS = 2000;
/** Load after a split: connections take up to ten seconds to find out that packets pass again. */
const HEALED_MS = 14_000;
/** Load for so long after a kill that is over, looked at so often. */
const SERVED_MS = 3000;
const LOOK_MS = 250;
const FINDINGS_MAX = 10;
const ERROR_TEXTS_MAX = 5;

export async function killAgainAndAgain(
  system: System,
  incident: Incident,
  times: number,
  options: FailoverOptions,
  tell: (text: string) => void,
): Promise<FailoverRow> {
  const reports: VerifyReport[] = [];
  for (let kill = 1; kill <= times; kill++) {
    await system.awaitWhole();
    const report = await killOnce(system, incident, options);
    reports.push(report);
    const { lost, wrong, errors, gaps } = report;
    const felt = `lost ${lost}, wrong ${wrong}, errors ${errors.total}, ${gaps[0].longestMs} ms away`;
    tell(`${system.name}, ${incident} ${kill}/${times}: ${felt}`);
  }
  return sumOf(system.name, incident, reports);
}

async function killOnce(system: System, incident: Incident, options: FailoverOptions): Promise<VerifyReport> {
  const env = testEnv();
  const verifier = new Verifier(env, system.driver, {
    seconds: options.seconds,
    keys: options.keys,
    workers: options.workers,
    queues: 0,
    seed: null,
    settleSeconds: SETTLE_SECONDS,
    tags: tagsOf(system, env.random.hex(8), options.keys),
  });
  const running = verifier.run();
  await sleep(QUIET_MS);
  const primary = await primaryOf(system);
  const { fleet } = system;
  if (incident === "split") {
    fleet.cutOff(primary, true);
    await sleep(options.splitSeconds * 1000);
    fleet.cutOff(primary, false);
    await sleep(HEALED_MS);
    verifier.stop();
    return running;
  }
  const lagging = incident === "lag-kill" ? system.members.filter((server) => server !== primary) : [];
  for (const replica of lagging) fleet.cutWay(primary, replica, true);
  if (lagging.length > 0) await sleep(options.lagMs);
  await fleet.kill(primary);
  await untilServed(verifier, options);
  verifier.stop();
  // Not before the end: the kernel would still deliver what a dead process has left in its socket.
  const report = await running;
  for (const replica of lagging) fleet.cutWay(primary, replica, false);
  await fleet.launch(primary);
  return report;
}

/**
 * Until writes have been acknowledged again for a while, however long that takes, up to the end of the run.
 * A system that is served again may fall once more, so nothing counts before it could have.
 */
async function untilServed(verifier: Verifier, options: FailoverOptions): Promise<void> {
  const fromMs = performance.now();
  let served = 0;
  let last = verifier.live();
  while (served * LOOK_MS < SERVED_MS && last.seconds < options.seconds) {
    await sleep(LOOK_MS);
    const now = verifier.live();
    const grew = now.acknowledged - last.acknowledged >= options.workers;
    served = grew && performance.now() - fromMs > options.downAfterMs ? served + 1 : 0;
    last = now;
  }
}

function sumOf(system: SystemName, incident: Incident, reports: readonly VerifyReport[]): FailoverRow {
  const sum = (pick: (report: VerifyReport) => number): number =>
    reports.reduce((sofar, one) => sofar + pick(one), 0);
  return {
    system,
    incident,
    kills: reports.length,
    acknowledged: sum((report) => report.acknowledged),
    lost: sum((report) => report.lost),
    killsWithLoss: reports.filter((report) => report.lost > 0).length,
    duplicated: sum((report) => report.duplicated),
    wrong: sum((report) => report.wrong),
    unverified: sum((report) => report.unverified),
    errors: sum((report) => report.errors.total),
    gapsMs: reports.map((report) => report.gaps[0].longestMs).toSorted((a, b) => a - b),
    errorTexts: mostFrequent(reports.flatMap((report) => report.errors.texts)),
    findings: reports
      .flatMap((report) => report.findings)
      .toSorted((a, b) => rank(a) - rank(b))
      .slice(0, FINDINGS_MAX),
    seeds: reports.map((report) => report.seed),
  };
}

/** What is lost comes before what is wrong. */
function rank(finding: string): number {
  return finding.startsWith("lost") ? 0 : 1;
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
