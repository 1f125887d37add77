/** The command line of `npm run bench:move`. */
import { parseArgs } from "node:util";

export interface MoveOptions {
  readonly output: "text" | "markdown" | "json";
  readonly check: boolean;
  readonly keys: number;
  readonly clients: number;
  /** How long the load before and after the move is measured. */
  readonly seconds: number;
  readonly cluster: boolean;
}

const HELP = `npm run bench:move -- [options]: moving slots under load, beside Redis Cluster

  --keys N            keys (1000000)
  --clients N         clients of the load (50)
  --seconds N         seconds of load before and after the move (10)
  --no-cluster        Shoal only
  --markdown          print Markdown tables
  --json              print one JSON document
  --check             exit status 1 when a floor fails
  --help              print this`;

/** Reads the command line. A text comes back instead when that is to be printed and nothing to be done. */
export function parseOptions(args: readonly string[]): MoveOptions | string {
  const { values } = parseArgs({
    args: [...args],
    options: {
      keys: { type: "string", default: "1000000" },
      clients: { type: "string", default: "50" },
      seconds: { type: "string", default: "10" },
      "no-cluster": { type: "boolean", default: false },
      markdown: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      check: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return HELP;
  const text = values.markdown ? "markdown" : "text";
  return {
    output: values.json ? "json" : text,
    check: values.check,
    keys: whole("--keys", values.keys),
    clients: whole("--clients", values.clients),
    seconds: whole("--seconds", values.seconds),
    cluster: !values["no-cluster"],
  };
}

function whole(option: string, text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  throw new Error(`Cannot use ${option} ${text}: want a whole number above 0`);
}
