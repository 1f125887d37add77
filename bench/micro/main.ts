/** `npm run bench:micro`: nanoseconds per operation of the pieces that every request goes through. */
import { parseArgs } from "node:util";
import { allCases } from "./cases.ts";
import { measureCases, type MicroResult, sink } from "./measure-case.ts";

const ROUNDS = 9;
const ROUNDS_MAX = 1000;
const HELP = `npm run bench:micro -- [options]

  --rounds N   rounds per operation (${ROUNDS})
  --json       print one JSON document
  --help       print this`;

function format(results: readonly MicroResult[]): string {
  const width = Math.max(...results.map(({ name }) => name.length));
  const number = (ns: number): string => ns.toFixed(1).padStart(8);
  const lines = results.map(
    ({ name, ns }) => `${name.padEnd(width)} ${number(ns.median)} ${number(ns.min)} ${number(ns.max)}`,
  );
  return [`${"ns per operation".padEnd(width)}   median   lowest  highest`, ...lines].join("\n");
}

function main(): number {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string", default: String(ROUNDS) },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  const rounds = Number(values.rounds);
  if (values.help || !Number.isInteger(rounds) || rounds < 1 || rounds > ROUNDS_MAX) {
    process.stdout.write(`${HELP}\n`);
    return values.help ? 0 : 2;
  }
  const results = measureCases(allCases(), rounds);
  const bun = Bun.version;
  const text = values.json ? JSON.stringify({ bun, results, sink: sink.value }, null, 2) : format(results);
  process.stdout.write(`${text}\n`);
  return 0;
}

process.exitCode = main();
