/**
 * `shoal drill WHAT NAME`: an accident on purpose.
 *
 *   ask ─▶ canary keys in the group ─▶ checker runs ─▶ quiet ─▶ harm ─▶ … ─▶ undo ─▶ last look ─▶ report
 *
 * The harm comes after a quiet quarter of the time, so that the report shows what is normal, and is undone
 * after three quarters: a frozen primary wakes up while clients still write, which is when it could do harm.
 */
import { fetchStatus } from "../../contract/client.ts";
import { isClean, type VerifyReport } from "../../verify/tally.ts";
import { Verifier } from "../../verify/verifier.ts";
import { ShoalError } from "../../base/shoal-error.ts";
import { type CommandRow, DIR_OPTION, type OptionValues, type World } from "../command.ts";
import { ClusterFolder } from "../folder/cluster-folder.ts";
import { readRunRecord, type RunRecord } from "../folder/run-record.ts";
import { HintedError } from "../hinted-error.ts";
import { controllerTarget, folderOption } from "../target.ts";
import { pause } from "../up/poll.ts";
import { formatReport } from "../verify/report-text.ts";
import { EXIT_STATUS_FOUND, VERIFY_NUMBER_OPTIONS, liveLines, verifyOptions } from "../verify/verify.ts";
import { TIMEOUT_OPTION, openDriver } from "../verify/verify-target.ts";
import { findTags } from "./canary.ts";
import { doHarm, type Harm } from "./harm.ts";
import { type Takeover, type TakeoverWatch, takeoverText, watchTakeover } from "./takeover.ts";
import { DRILLS, drillNamed, findVictim, type Victim } from "./victim.ts";

const SECONDS_DEFAULT = 20;
/** Shares of the time: before the harm, and before it is undone. */
const HARM_AT = 0.25;
const UNDO_AT = 0.75;

const optionRows = VERIFY_NUMBER_OPTIONS.map((row) => {
  return row.flags.startsWith("--seconds") ? { ...row, shownDefault: String(SECONDS_DEFAULT) } : row;
});

export const drillCommand: CommandRow = {
  name: "drill",
  argument: "<what> [name]",
  summary: "Cause an accident under load, and tell what clients felt and lost",
  examples: [
    ["shoal drill kill-primary g1", "asks first; --yes does not"],
    ...Object.entries(DRILLS).map(
      ([name, { argument, doc }]) => [`shoal drill ${name} ${argument}`, doc] as const,
    ),
  ],
  options: [{ flags: "--yes", type: "flag", doc: "do not ask" }, DIR_OPTION, ...optionRows, TIMEOUT_OPTION],
  async run(world, options, [what, name]) {
    const drill = drillNamed(what);
    const record = await readRecord(world, options);
    const target = await controllerTarget(world, options);
    const status = await fetchStatus(world.http, target);
    const victim = findVictim(drill, name, record, status);
    if (!options.yes) await askFirst(world, victim);
    const wanted = verifyOptions({ seconds: SECONDS_DEFAULT, ...options });
    const tags = await findTags(world.http, target, {
      group: victim.group,
      single: status.groups.length === 1,
      count: wanted.keys,
      run: world.verifyEnv.random.hex(8),
    });
    const verifier = new Verifier(world.verifyEnv, await openDriver(world, options), { ...wanted, tags });
    if (!options.json) world.printError(`seed ${verifier.seed}`);
    const result = await runDrill(world, verifier, victim, wanted.seconds * 1000, options);
    world.print(options.json ? JSON.stringify(toJson(victim, result), null, 2) : toText(victim, result));
    return isClean(result.report) ? 0 : EXIT_STATUS_FOUND;
  },
};

interface Result {
  readonly harm: Harm;
  readonly takeover: Takeover | null;
  readonly report: VerifyReport;
}

async function runDrill(
  world: World,
  verifier: Verifier,
  victim: Victim,
  totalMs: number,
  options: OptionValues,
): Promise<Result> {
  const target = await controllerTarget(world, options);
  const tell = (text: string): void => void (options.json ? undefined : world.printError(text));
  let harm: Harm | null = null;
  let watch: TakeoverWatch | null = null;
  const stop = { asked: false };
  const signals = world.machine.onStopSignal((_, earlier) => {
    stop.asked = true;
    verifier.stop();
    // The second time nobody waits for anything, but what was frozen must not stay so.
    if (earlier > 0) void (harm?.undo() ?? Promise.resolve()).then(() => process.exit(130));
  });
  const waitUntil = async (startMs: number, share: number): Promise<void> => {
    while (!stop.asked && performance.now() < startMs + share * totalMs) await pause(20);
  };
  try {
    const running = verifier.run(liveLines(world, options));
    const startMs = performance.now();
    try {
      await waitUntil(startMs, HARM_AT);
      harm = await doHarm(world, victim);
      watch = watchTakeover(world.http, target, victim);
      tell(harm.done);
      await waitUntil(startMs, UNDO_AT);
    } catch (error) {
      verifier.stop();
      await running;
      throw error;
    } finally {
      await harm?.undo();
    }
    const report = await running;
    return { harm, takeover: watch.seen, report };
  } finally {
    watch?.stop();
    signals.off();
  }
}

async function readRecord(world: World, options: OptionValues): Promise<RunRecord> {
  const folder = new ClusterFolder(folderOption(options));
  const record = await readRunRecord(folder);
  if (record !== null && world.machine.isRunning(record.supervisor)) return record;
  throw new HintedError(
    "UNREACHABLE",
    `Cannot drill ${folder.shown}: nothing runs on it`,
    "A drill needs a cluster that `shoal up` runs on this machine: only its processes are ours to kill.",
  );
}

/** @throws ShoalError INVALID_ARGUMENT when the answer is not yes, or there is nobody to ask */
async function askFirst(world: World, { drill, what }: Victim): Promise<void> {
  if (world.ask === null) {
    throw new HintedError(
      "INVALID_ARGUMENT",
      `Cannot drill ${drill}: nobody is there to say yes`,
      "With --yes it does not ask.",
    );
  }
  const answer = await world.ask(
    `This does real harm: ${drill}, ${what}. Clients will feel it. Go on? [y/N] `,
  );
  if (/^y(es)?$/i.test(answer.trim())) return;
  throw new ShoalError("INVALID_ARGUMENT", `Cannot drill ${drill}: the answer was not yes`);
}

function toText(victim: Victim, { harm, takeover, report }: Result): string {
  const gap = report.gaps[0];
  const felt = [
    `${gap.longestMs} ms without service`,
    `${report.errors.total} errors`,
    `${report.lost} lost`,
    `${report.duplicated} duplicated`,
    `${report.wrong} wrong`,
  ].join(", ");
  const happened = [`${harm.done}; ${harm.after}.`, takeoverText(victim, takeover)].join(" ").trim();
  return [happened, formatReport(report), `FELT  ${felt}`].join("\n\n");
}

function toJson(victim: Victim, { harm, takeover, report }: Result): Record<string, unknown> {
  return {
    drill: victim.drill,
    victim: victim.what,
    group: victim.group,
    done: harm.done,
    after: harm.after,
    takeover,
    withoutServiceMs: report.gaps[0].longestMs,
    errors: report.errors.total,
    lost: report.lost,
    duplicated: report.duplicated,
    wrong: report.wrong,
    report,
  };
}
