/** The command line of `npm run bench`. */
import { parseArgs } from "node:util";

/** Everything that a run depends on; printed with `--json`. Lists are in the order of the table. */
export interface BenchOptions {
  readonly output: "text" | "markdown" | "json";
  /** Exit status 1 when a floor fails. */
  readonly check: boolean;
  /** Measured rounds of the comparison; one more warms up. */
  readonly rounds: number;
  readonly clients: readonly number[];
  readonly pipelines: readonly number[];
  /** How long one load is meant to run, by the warm-up's rate. */
  readonly loadSeconds: number;
  /** Points at which the portable transport is measured as well: [clients, pipeline]. */
  readonly portablePoints: readonly (readonly [number, number])[];
  readonly portableRounds: number;
  readonly mgetRounds: number;
  readonly idleConnections: number;
}

const HELP = `npm run bench -- [options]: Shoal beside nutcracker and a bare redis-server

  --quick             a first look in under two minutes: fewer, shorter rounds
  --rounds N          measured rounds (9; with --quick 2)
  --clients LIST      client counts (50,500)
  --pipeline LIST     requests that a client sends at once (1,16,64)
  --markdown          print Markdown tables
  --json              print one JSON document
  --check             exit status 1 when a floor fails
  --help              print this`;

const FULL = { rounds: 9, loadSeconds: 1, portableRounds: 3, mgetRounds: 5 };
const QUICK = { rounds: 2, loadSeconds: 0.3, portableRounds: 1, mgetRounds: 2 };
const PORTABLE_POINTS = [
  [50, 1],
  [50, 16],
] as const;
const IDLE_CONNECTIONS = 10_000;

/** Reads the command line. A text comes back instead when that is to be printed and nothing to be done. */
export function parseOptions(args: readonly string[]): BenchOptions | string {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: "boolean", default: false },
      rounds: { type: "string" },
      clients: { type: "string", default: "50,500" },
      pipeline: { type: "string", default: "1,16,64" },
      markdown: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      check: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return HELP;
  const preset = values.quick ? QUICK : FULL;
  const text = values.markdown ? "markdown" : "text";
  return {
    ...preset,
    output: values.json ? "json" : text,
    check: values.check,
    rounds: values.rounds === undefined ? preset.rounds : parseNumbers("--rounds", values.rounds, 1000)[0],
    clients: parseNumbers("--clients", values.clients, 10_000),
    pipelines: parseNumbers("--pipeline", values.pipeline, 10_000),
    portablePoints: PORTABLE_POINTS,
    idleConnections: IDLE_CONNECTIONS,
  };
}

function parseNumbers(option: string, text: string, max: number): number[] {
  return text.split(",").map((word) => {
    const value = Number(word);
    if (!Number.isInteger(value) || value < 1 || value > max) {
      throw new Error(`Cannot use ${option} ${text}: want whole numbers from 1 to ${max}`);
    }
    return value;
  });
}
