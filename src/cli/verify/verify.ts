/**
 * `shoal verify-consistency`: writes and reads through any Redis, remembers what was acknowledged, and tells
 * whether all of it is there. Exit status 0 only if nothing is lost, nothing wrong, and everything could be
 * looked at.
 */
import { isClean } from "../../verify/tally.ts";
import { type LiveCounts, VERIFY_DEFAULTS, Verifier } from "../../verify/verifier.ts";
import { type CommandRow, DIR_OPTION, type OptionRow, type OptionValues, type World } from "../command.ts";
import { formatLive, formatReport } from "./report-text.ts";
import { TARGET_OPTIONS, TIMEOUT_OPTION, openDriver } from "./verify-target.ts";

/** Something was lost, wrong, or could not be looked at. */
export const EXIT_STATUS_FOUND = 1;

function numberOption(name: keyof typeof VERIFY_DEFAULTS, doc: string, min: number, max: number): OptionRow {
  const flag = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  return {
    flags: `--${flag} <number>`,
    type: "int",
    min,
    max,
    doc,
    shownDefault: String(VERIFY_DEFAULTS[name]),
  };
}

export const VERIFY_NUMBER_OPTIONS: readonly OptionRow[] = [
  numberOption("seconds", "how long it writes and reads", 1, 86_400 * 7),
  numberOption("keys", "keys that live at once", 1, 1_000_000),
  numberOption("workers", "clients, each with keys of its own to write", 1, 2000),
  numberOption("queues", "lists with a client that waits in BLPOP", 0, 200),
  numberOption("settleSeconds", "how long the end may wait for a target that is away", 1, 3600),
  {
    flags: "--seed <number>",
    type: "int",
    min: 0,
    max: 2 ** 32 - 1,
    doc: "repeats the choices of an earlier run",
  },
];

export const verifyCommand: CommandRow = {
  name: "verify-consistency",
  argument: "",
  summary: "Write and read, and tell whether everything acknowledged is there",
  examples: [
    ["shoal verify-consistency --seconds 60", "through the proxies of ./data"],
    ["shoal verify-consistency --address 10.0.0.5:6379", "any Redis; it deletes its own keys in the end"],
  ],
  options: [...TARGET_OPTIONS, DIR_OPTION, ...VERIFY_NUMBER_OPTIONS, TIMEOUT_OPTION],
  async run(world, options) {
    const driver = await openDriver(world, options);
    const verifier = new Verifier(world.verifyEnv, driver, verifyOptions(options));
    // Ctrl-C ends the writing; what was written is still looked at. Again: ends at once.
    const signals = world.machine.onStopSignal((_, earlier) => {
      if (earlier > 0) process.exit(130);
      verifier.stop();
    });
    try {
      if (!options.json) world.printError(`seed ${verifier.seed}`);
      const report = await verifier.run(liveLines(world, options));
      world.print(options.json ? JSON.stringify(report, null, 2) : formatReport(report));
      return isClean(report) ? 0 : EXIT_STATUS_FOUND;
    } finally {
      signals.off();
    }
  },
};

/** What the checker is told, of the options. */
export function verifyOptions(options: OptionValues): {
  seconds: number;
  keys: number;
  workers: number;
  queues: number;
  settleSeconds: number;
  seed: number | null;
} {
  const number = (name: keyof typeof VERIFY_DEFAULTS): number => {
    const value = options[name];
    return typeof value === "number" ? value : VERIFY_DEFAULTS[name];
  };
  return {
    seconds: number("seconds"),
    keys: number("keys"),
    workers: number("workers"),
    queues: number("queues"),
    settleSeconds: number("settleSeconds"),
    seed: typeof options.seed === "number" ? options.seed : null,
  };
}

/** Prints a line each second, unless the answer is to be JSON. */
export function liveLines(world: World, options: OptionValues): (counts: LiveCounts) => void {
  let before: LiveCounts | null = null;
  return (counts) => {
    if (!options.json) world.printError(formatLive(counts, before));
    before = counts;
  };
}
