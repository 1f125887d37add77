/**
 * `shoal up`: one command, one cluster.
 *
 *   lock ─▶ leftovers ─▶ plan, ports ─▶ servers ─▶ controller ─▶ proxies ─▶ serving ─▶ stop signal
 *                              │           │ anything fails                             │
 *                              ▼           ▼                                            ▼
 *                          say why    stop what was started, say why    proxies, controller, servers
 */
import { rmdir } from "node:fs/promises";
import { errorCodeOf } from "../../base/shoal-error.ts";
import { SLOT_COUNTS } from "../../topology/cluster-map.ts";
import { type CommandRow, DIR_OPTION, type OptionRow, type OptionValues, type World } from "../command.ts";
import { stopLeftovers } from "../down.ts";
import { ClusterFolder } from "../folder/cluster-folder.ts";
import { answerRequests } from "../folder/request-box.ts";
import { HintedError } from "../hinted-error.ts";
import type { ProgressStep } from "../progress.ts";
import { folderOption } from "../target.ts";
import { handleRequest } from "./added-servers.ts";
import { UP_DEFAULTS, planCluster } from "./cluster-plan.ts";
import { runUnderParent, startDetached } from "./detach.ts";
import { startCluster } from "./start-cluster.ts";
import { StepBars } from "./step-bars.ts";
import { type UpSummary, formatSummary, summarize } from "./summary.ts";
import { Supervisor } from "./supervisor.ts";

/** Where an `up` tells what happens: a terminal, or the parent of a detached one. */
export interface UpReporter {
  /** A step on the way. */
  progress(text: string): void;
  /** How far a step is. Called very often; what is drawn of it is the reporter's business. */
  step(step: ProgressStep): void;
  /** Everything serves. */
  serving(summary: UpSummary): void;
  /** Something that happened since, or that a person should know. */
  notice(text: string): void;
}

const OPTIONS: readonly OptionRow[] = [
  numberOption("groups", "number", "groups, each with a share of the slots", 1, 1000),
  numberOption("replicas", "number", "replicas of each group's primary", 0, 10),
  numberOption("proxies", "number", "proxies, on --port and the ports after it", 1, 100),
  numberOption("workers", "number", "worker processes of each proxy", 1, 256),
  numberOption("port", "port", "port of the first proxy", 1, 65535),
  numberOption("control-port", "port", "port of the controller", 1, 65535),
  {
    flags: "--sentinel-port <port>",
    type: "int",
    min: 0,
    max: 65535,
    doc: "port of the controller for Sentinel clients; 0: none",
    shownDefault: "none",
  },
  numberOption("server-port", "port", "servers take the first free ports from here on", 1, 65535),
  {
    flags: "--slots <number>",
    type: "choice",
    values: SLOT_COUNTS.map(String),
    doc: "parts of the keyspace; fixed for good",
    shownDefault: String(UP_DEFAULTS.slots),
  },
  {
    flags: "--io <transport>",
    type: "choice",
    values: ["auto", "epoll", "portable"],
    doc: "the proxies' transport",
    shownDefault: UP_DEFAULTS.io,
  },
  {
    flags: "--server-binary <path>",
    type: "text",
    doc: "redis-server or valkey-server, instead of the one on the PATH",
  },
  DIR_OPTION,
  { flags: "--detach", type: "flag", doc: "come back when it serves, and leave it running" },
  { flags: "--under-parent", type: "flag", doc: "report to the process that started it", hidden: true },
];

export const upCommand: CommandRow = {
  name: "up",
  argument: "",
  summary: "Start a whole cluster on this machine, or resume it with its data",
  examples: [
    ["shoal up", "3 groups with a replica each, 2 proxies on ports 19000 and 19001; Ctrl-C stops it"],
    ["shoal up --groups 1 --replicas 0 --dir /tmp/try", "the smallest one, elsewhere"],
    ["shoal up --detach", "returns when it serves; `shoal down` stops it"],
  ],
  options: OPTIONS,
  run(world, options) {
    if (options.detach) return startDetached(world, options);
    if (options.underParent) return runUnderParent((reporter) => runUp(world, options, reporter));
    return runUp(world, options, terminalReporter(world, options));
  },
};

/**
 * Runs the cluster until it is told to stop. @throws ShoalError when it did not come to serve; nothing runs
 * then
 */
export async function runUp(world: World, options: OptionValues, reporter: UpReporter): Promise<number> {
  const folder = new ClusterFolder(folderOption(options));
  await folder.create();
  const lock = takeLock(world, folder);
  try {
    await stopLeftoversFirst(world, folder, reporter);
    const plan = await planCluster(world, folder, options);
    const control = `http://127.0.0.1:${plan.record.controlPort}`;
    const supervisor = new Supervisor(world.machine, folder, control, (text) => reporter.notice(text));
    const signals = world.machine.onStopSignal((signal, earlier) => {
      if (earlier === 0)
        reporter.notice("stopping: proxies finish their replies first (Ctrl-C again: at once)");
      // A second `shoal down` is no reason to hurry, a second Ctrl-C is.
      supervisor.requestStop(signal === "SIGINT" && earlier > 0);
    });
    try {
      const given = typeof options.serverBinary === "string" ? options.serverBinary : null;
      await startCluster({
        world,
        folder,
        plan,
        supervisor,
        serverBinary: given,
        progress: reporter.progress,
        step: reporter.step,
      });
      reporter.serving(summarize(folder, plan.record, supervisor.parts));
      const context = { world, folder, supervisor, serverBinary: given };
      const requests = answerRequests(world, folder, (request) => handleRequest(context, request));
      await supervisor.stopRequested;
      await requests.stop();
    } finally {
      await supervisor.stop();
      signals.off();
    }
    return 0;
  } finally {
    lock.release();
    // Only an empty folder goes: one that a failed first start has made.
    await rmdir(folder.path).catch(() => {});
  }
}

function numberOption(name: string, placeholder: string, doc: string, min: number, max: number): OptionRow {
  const key = name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase()) as keyof typeof UP_DEFAULTS;
  return {
    flags: `--${name} <${placeholder}>`,
    type: "int",
    min,
    max,
    doc,
    shownDefault: String(UP_DEFAULTS[key]),
  };
}

function terminalReporter(world: World, options: OptionValues): UpReporter {
  const steps = new StepBars(world, options);
  return {
    progress: (text) => steps.begin(text),
    step: (step) => steps.update(step),
    serving: (summary) => {
      steps.end();
      world.print(options.json ? JSON.stringify(summary, null, 2) : formatSummary(summary));
    },
    notice: (text) => {
      steps.end();
      world.printError(text);
    },
  };
}

function takeLock(world: World, folder: ClusterFolder): { release(): void } {
  try {
    return world.machine.lockFolder(folder.lockFile);
  } catch (error) {
    const holder = world.machine.lockHolder(folder.lockFile);
    if (errorCodeOf(error) !== "CONFLICT" || holder === null) throw error;
    throw new HintedError(
      "CONFLICT",
      `Cannot start ${folder.shown}: process ${holder.pid} runs it already`,
      `\`shoal status --dir ${folder.shown}\` shows it, \`shoal down --dir ${folder.shown}\` stops it.`,
      error,
    );
  }
}

async function stopLeftoversFirst(world: World, folder: ClusterFolder, reporter: UpReporter): Promise<void> {
  const stopped = await stopLeftovers(world, folder, (text) => reporter.notice(`left over: ${text}`));
  if (stopped.length === 0) return;
  reporter.notice(
    `An earlier \`shoal up\` on ${folder.shown} was killed; its ${stopped.length} processes are stopped now.`,
  );
}
