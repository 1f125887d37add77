/** A command as a row: main.ts makes the parser and the help of it, so the two can't differ. */
import type { HttpClient } from "../env/http.ts";
import type { VerifyEnv } from "../verify/worker.ts";
import type { Machine } from "./machine.ts";

/** One option. `flags` in commander's spelling: "--groups <number>". */
export interface OptionRow {
  readonly flags: string;
  readonly doc: string;
  /**
   * int: a whole number from `min` to `max`; choice: one of `values`; text: as it is. Flags without a
   * value: flag.
   */
  readonly type: "int" | "text" | "choice" | "flag";
  readonly min?: number;
  readonly max?: number;
  readonly values?: readonly string[];
  /** Shown in the help only: a command that has to know whether the option was given fills it in itself. */
  readonly shownDefault?: string;
  /** Left out of the help: for our own use. */
  readonly hidden?: boolean;
}

/** Values by commander's name (`--control-port` is `controlPort`); undefined when not given. */
export type OptionValues = Readonly<Record<string, string | number | boolean | undefined>>;

export interface CommandRow {
  /** "status", or "group add" for the command add of group. */
  readonly name: string;
  /** "<group> [replica...]", or empty. */
  readonly argument: string;
  readonly summary: string;
  /** A line, and what it does. */
  readonly examples: ReadonlyArray<readonly [string, string]>;
  readonly options: readonly OptionRow[];
  /** The exit status comes back. @throws ShoalError */
  run(world: World, options: OptionValues, args: readonly string[]): Promise<number>;
}

/** What the commands work with. */
export interface World {
  readonly http: HttpClient;
  readonly machine: Machine;
  readonly version: string;
  /** The line that runs this very program: the runtime, then its first arguments. */
  readonly program: readonly string[];
  /** Environment variables. */
  readonly variables: Readonly<Record<string, string | undefined>>;
  print(text: string): void;
  /** For what is not the answer: progress, notices, errors. */
  printError(text: string): void;
  /** Whether a person reads what `printError` prints. */
  readonly interactive: boolean;
  /** Puts `text` in place of what it put there before, without a line end; only when `interactive`. */
  redraw(text: string): void;
  /** Asks the person and comes back with the line; null when there is nobody to ask. */
  readonly ask: ((question: string) => Promise<string>) | null;
  /** What the consistency checker runs on. */
  readonly verifyEnv: VerifyEnv;
  readonly runProxy: RunDaemon;
  readonly runController: RunDaemon;
}

/** Runs a proxy or a controller until it is told to stop; the exit status comes back. */
export interface RunDaemon {
  (options: { readonly file: string; readonly text: string }): Promise<number>;
  /** `--help-config`. */
  readonly helpConfig: () => string;
}

/** What every command takes. */
export const JSON_OPTION: OptionRow = { flags: "--json", type: "flag", doc: "print JSON, errors included" };

export const DEFAULT_DIR = "./data";

export const DIR_OPTION: OptionRow = {
  flags: "--dir <folder>",
  type: "text",
  doc: "folder of a cluster that `shoal up` made",
  shownDefault: DEFAULT_DIR,
};

export const CONTROL_OPTION: OptionRow = {
  flags: "--control <url>",
  type: "text",
  doc: "a controller's address (http://host:port) instead of --dir; its token comes from SHOAL_TOKEN",
};
