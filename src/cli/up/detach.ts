/**
 * `shoal up --detach`: the supervisor runs in a process of its own and tells its parent, over the IPC
 * channel, how the start goes; the parent prints that and leaves.
 *
 *   parent ── starts ──▶ shoal up --under-parent (its own session, output to DIR/up.log)
 *          ◀── progress, notice … then serving | failed ──┘
 */
import { type ErrorCode, ShoalError, errorCodeOf, errorTextOf } from "../../base/shoal-error.ts";
import type { OptionValues, World } from "../command.ts";
import { ClusterFolder, lastLines } from "../folder/cluster-folder.ts";
import { HintedError, hintFor } from "../hinted-error.ts";
import { folderOption } from "../target.ts";
import type { ProgressStep } from "../progress.ts";
import { StepBars } from "./step-bars.ts";
import { type UpSummary, formatSummary } from "./summary.ts";
import type { UpReporter } from "./up.ts";

type ChildMessage =
  | { readonly type: "step"; readonly step: ProgressStep }
  | { readonly type: "progress" | "notice"; readonly text: string }
  | { readonly type: "serving"; readonly summary: UpSummary }
  | {
      readonly type: "failed";
      readonly code: ErrorCode | null;
      readonly message: string;
      readonly hint: string | null;
    };

/** Lines of up.log that are quoted when the supervisor ends without a word. */
const QUOTED_LINES = 10;

/** A bar need not move more often than the eye can follow. */
const STEP_PERIOD_MS = 100;

/** Starts the supervisor; comes back when the cluster serves. @throws ShoalError what it failed with */
export async function startDetached(world: World, options: OptionValues): Promise<number> {
  const folder = new ClusterFolder(folderOption(options));
  await folder.create();
  // Before up.log is put there: a folder that is not a cluster's stays as it is.
  await folder.readRecord();
  const child = await world.machine.startProcess({
    what: "the supervisor",
    command: world.program[0],
    args: [...world.program.slice(1), "up", ...givenOptions(options), "--under-parent"],
    logFile: folder.upLog,
    messages: true,
    detached: true,
  });
  const signals = world.machine.onStopSignal(() => child.kill("SIGTERM"));
  const steps = new StepBars(world, options);
  try {
    const outcome = await new Promise<ChildMessage>((resolve) => {
      child.onMessage((message) => {
        const told = message as ChildMessage;
        if (told.type === "serving" || told.type === "failed") resolve(told);
        else if (told.type === "progress") steps.begin(told.text);
        else if (told.type === "step") steps.update(told.step);
        else world.printError(told.text);
      });
      void child.ended.then(async (end) =>
        resolve(await silentEnd(folder, end.signal ?? `status ${end.status}`)),
      );
    });
    steps.end();
    if (outcome.type === "failed") {
      await child.ended;
      throw failureOf(outcome);
    }
    if (outcome.type === "serving") printServing(world, options, outcome.summary);
    return 0;
  } finally {
    steps.end();
    signals.off();
    child.release();
  }
}

/**
 * The other end: runs `run` with a reporter that reports to the parent and to our output, which is up.log.
 */
export async function runUnderParent(run: (reporter: UpReporter) => Promise<number>): Promise<number> {
  const tell = (message: ChildMessage): void => {
    // The parent leaves once it serves, or may have been killed.
    if (process.connected) process.send?.(message, undefined, undefined, () => {});
  };
  const log = (text: string): void => void process.stderr.write(`${new Date().toISOString()} ${text}\n`);
  const say = (type: "progress" | "notice", text: string): void => {
    log(text);
    tell({ type, text });
  };
  let toldMs = Number.NEGATIVE_INFINITY;
  try {
    return await run({
      progress: (text) => say("progress", text),
      step: (step) => {
        const nowMs = performance.now();
        if (nowMs - toldMs < STEP_PERIOD_MS) return;
        toldMs = nowMs;
        tell({ type: "step", step });
      },
      notice: (text) => say("notice", text),
      serving: (summary) => {
        log("everything serves");
        tell({ type: "serving", summary });
      },
    });
  } catch (error) {
    tell({ type: "failed", code: errorCodeOf(error), message: errorTextOf(error), hint: hintFor(error) });
    throw error;
  }
}

function printServing(world: World, options: OptionValues, summary: UpSummary): void {
  world.print(options.json ? JSON.stringify(summary, null, 2) : formatSummary(summary));
}

function failureOf(outcome: Extract<ChildMessage, { type: "failed" }>): ShoalError {
  const code = outcome.code ?? "START_FAILED";
  return outcome.hint === null
    ? new ShoalError(code, outcome.message)
    : new HintedError(code, outcome.message, outcome.hint);
}

async function silentEnd(folder: ClusterFolder, how: string): Promise<ChildMessage> {
  const lines = await lastLines(folder.upLog, QUOTED_LINES);
  const quoted = lines.length === 0 ? "" : `; ${folder.upLog} ends with:\n    ${lines.join("\n    ")}`;
  const message = `Cannot start ${folder.shown}: the supervisor ended by ${how}${quoted}`;
  return { type: "failed", code: "START_FAILED", message, hint: null };
}

/** The options as they were given, so that the child can tell a given one from a default as well. */
function givenOptions(options: OptionValues): string[] {
  const args: string[] = [];
  for (const [name, value] of Object.entries(options)) {
    if (name === "detach" || name === "json" || value === undefined || value === false) continue;
    args.push(`--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`);
    if (value !== true) args.push(String(value));
  }
  return args;
}
