/**
 * The command line: rows of commands → commander → one command runs → exit status.
 *
 * An error is one line that names what failed, and one that says what to do; its exit status comes from the
 * code table. With --json both are one JSON text, still on stderr: stdout holds answers only.
 */
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { ERROR_CODES, ShoalError, errorCodeOf, errorTextOf } from "../base/shoal-error.ts";
import type { CommandRow, OptionRow, OptionValues, World } from "./command.ts";
import { JSON_OPTION } from "./command.ts";
import { COMMANDS, FAMILY_SUMMARIES } from "./commands.ts";
import { hintFor } from "./hinted-error.ts";

/** For an error that is none of ours: a bug. */
const EXIT_STATUS_UNEXPECTED = 1;

/** Runs `shoal ARGS…`; never rejects. */
export async function runCommandLine(world: World, args: readonly string[]): Promise<number> {
  const json = args.includes("--json");
  let status = 0;
  try {
    const program = makeProgram(world, (result) => (status = result));
    await program.parseAsync([...args], { from: "user" });
    return status;
  } catch (error) {
    // commander throws for --help and --version too, after it has printed them.
    if (error instanceof CommanderError && error.exitCode === 0) return 0;
    return printFailure(world, error instanceof CommanderError ? usageError(error) : error, json);
  }
}

/** Prints an error as this program prints errors; its exit status comes back. */
export function printFailure(world: Pick<World, "printError">, error: unknown, json: boolean): number {
  const code = errorCodeOf(error);
  const message = errorTextOf(error);
  const hint = hintFor(error);
  if (json) {
    world.printError(JSON.stringify({ error: { code: code ?? "UNEXPECTED", message, hint } }));
  } else {
    world.printError(`shoal: ${message}`);
    if (hint !== null) world.printError(`  ${hint}`);
    if (code === null && error instanceof Error) world.printError(error.stack ?? "");
  }
  return code === null ? EXIT_STATUS_UNEXPECTED : ERROR_CODES[code].exitStatus;
}

function makeProgram(world: World, done: (status: number) => void): Command {
  const program = new Command("shoal")
    .description("One Redis endpoint over many stock Redis or Valkey servers.")
    .version(world.version, "--version", "print the version")
    .helpOption("--help", "print this help")
    .helpCommand("help [command]", "print the help of a command")
    .addHelpText("after", examplesText(COMMANDS.filter(isTopLevel).map((row) => row.examples[0])));
  quiet(program, world);
  addCommands(program, world, done);
  // Without a command the help is the answer.
  program.action(() => program.help());
  return program;
}

/** The help of the whole is a page, not a book: `shoal group --help` has the rest. */
function isTopLevel(row: CommandRow): boolean {
  return !row.name.includes(" ");
}

/**
 * A row named "group add" becomes the command add of group. Where a row is named "slot" as well, `shoal slot`
 * does that when no command of its own follows: options then belong to whom they follow.
 */
function addCommands(program: Command, world: World, done: (status: number) => void): void {
  const families = new Map<string, CommandRow[]>();
  for (const row of COMMANDS) {
    const [first] = row.name.split(" ");
    families.set(first, [...(families.get(first) ?? []), row]);
  }
  for (const [name, rows] of families) {
    const own = rows.find((row) => row.name === name);
    const others = rows.filter((row) => row !== own);
    const parent = own === undefined ? makeFamily(name, others, world) : makeCommand(own, world, done);
    if (others.length > 0) parent.enablePositionalOptions().helpCommand(false);
    for (const row of others) parent.addCommand(makeCommand(row, world, done));
    program.addCommand(parent);
  }
  program.enablePositionalOptions();
}

/** A command that does nothing but hold others: alone it prints its help. */
function makeFamily(name: string, rows: readonly CommandRow[], world: World): Command {
  const command = new Command(name)
    .summary(FAMILY_SUMMARIES[name] ?? rows.map((row) => row.name.slice(name.length + 1)).join(", "))
    .helpOption("--help", "print this help")
    .addHelpText("after", examplesText(rows.map((row) => row.examples[0])));
  command.description(command.summary());
  quiet(command, world);
  command.action(() => {
    const [word] = command.args;
    if (word === undefined) command.help();
    const known = rows.map((row) => row.name.slice(name.length + 1)).join(", ");
    throw new ShoalError("INVALID_ARGUMENT", `Cannot run shoal ${name} ${word}: want one of ${known}`);
  });
  return command.allowExcessArguments().allowUnknownOption();
}

function makeCommand(row: CommandRow, world: World, done: (status: number) => void): Command {
  const command = new Command(row.name.split(" ").at(-1))
    .summary(row.summary)
    .description(row.summary)
    .helpOption("--help", "print this help")
    .addHelpText("after", examplesText(row.examples));
  quiet(command, world);
  for (const argument of row.argument.split(" ").filter((word) => word !== "")) command.argument(argument);
  for (const option of [...row.options, JSON_OPTION]) command.addOption(makeOption(option));
  command.action(async () => {
    // With the options of `shoal slot`, so that `shoal slot --json list` means the same as `slot list
    // --json`.
    done(await row.run(world, command.optsWithGlobals<OptionValues>(), command.args));
  });
  return command;
}

/** Help goes out through the world; what is wrong is thrown and printed in one place. */
function quiet(command: Command, world: World): void {
  command.exitOverride().configureOutput({
    writeOut: (text) => world.print(text.trimEnd()),
    writeErr: () => {},
    outputError: () => {},
  });
}

function makeOption(row: OptionRow): Option {
  const about = row.shownDefault === undefined ? row.doc : `${row.doc} (default: ${row.shownDefault})`;
  const option = new Option(row.flags, about);
  if (row.hidden) option.hideHelp();
  if (row.type === "choice") option.choices([...(row.values ?? [])]);
  if (row.type === "int")
    option.argParser((text) => parseWholeNumber(text, row.min ?? 0, row.max ?? 2 ** 31));
  return option;
}

function parseWholeNumber(text: string, min: number, max: number): number {
  const number = Number(text);
  if (/^\d+$/.test(text) && number >= min && number <= max) return number;
  throw new InvalidArgumentError(`Want a whole number from ${min} to ${max}.`);
}

function usageError(error: CommanderError): ShoalError {
  const message = error.message.replace(/^error: /, "").replace(/\n/g, " ");
  return new ShoalError("INVALID_ARGUMENT", `Cannot read the command line: ${message}`);
}

function examplesText(examples: ReadonlyArray<readonly [string, string]>): string {
  const width = Math.max(...examples.map(([line]) => line.length));
  const lines = examples.map(([line, what]) => `  ${line.padEnd(width)}  ${what}`);
  return `\nExamples:\n${lines.join("\n")}`;
}
