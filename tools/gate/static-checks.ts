import { join } from "node:path";

export interface StaticCheck {
  readonly name: string;
  /**
   * Program and arguments, run in the project's top folder; `node_modules/.bin` programs by their plain
   * name.
   */
  readonly command: readonly string[];
}

export interface StaticResult {
  readonly name: string;
  readonly ok: boolean;
  /** What it printed, standard output and error together. */
  readonly output: string;
  readonly seconds: number;
}

const BUN = process.execPath;

/** One table: `npm run check` runs them all, and each counts as one test. */
export const STATIC_CHECKS: readonly StaticCheck[] = [
  { name: "types (tsc)", command: ["tsc", "-b"] },
  { name: "lint (oxlint)", command: ["oxlint", "--deny-warnings", "--format=unix"] },
  { name: "format (oxfmt)", command: ["oxfmt", "--check"] },
  { name: "layers", command: [BUN, "tools/check-layers.ts"] },
  { name: "tidy", command: [BUN, "tools/check-tidy.ts"] },
];

/** Runs one check to its end. It passes when its program exits with 0; a program that is not there fails. */
export async function runStaticCheck(root: string, check: StaticCheck): Promise<StaticResult> {
  const started = performance.now();
  const [program, ...args] = check.command;
  const path = program.includes("/") ? program : join(root, "node_modules", ".bin", program);
  const { ok, output } = await run([path, ...args], root);
  return { name: check.name, ok, output, seconds: (performance.now() - started) / 1000 };
}

async function run(command: string[], cwd: string): Promise<{ ok: boolean; output: string }> {
  try {
    const child = Bun.spawn(command, { cwd, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
    const [out, err, status] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    return { ok: status === 0, output: out + err };
  } catch (error) {
    return { ok: false, output: error instanceof Error ? error.message : String(error) };
  }
}
