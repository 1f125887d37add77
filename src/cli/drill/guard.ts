/**
 * A child process that undoes what a drill has done, whatever becomes of the drill:
 *
 *   drill ──pipe──▶ sh: begin … "ready", waits for the end of its input ─▶ undo
 *
 * The kernel closes the pipe when the drill ends, be it by SIGKILL, so nothing has to notice that. The guard
 * has a session of its own: a Ctrl-C meant for the drill does not reach it.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { ShoalError } from "../../base/shoal-error.ts";

/** How long a guard may take to begin, and to undo. */
const STEP_MS_MAX = 5000;

export interface Guard {
  /** Resolves when it is undone. */
  undo(): Promise<void>;
}

/**
 * Runs the shell commands `begin` now, `undo` when told to or when this process is gone. Nothing is quoted:
 * words must be harmless to a shell.
 * @throws ShoalError UNSUPPORTED with what the commands said, undone
 */
export async function guarded(begin: readonly string[], undo: readonly string[]): Promise<Guard> {
  const script = [
    "trap '' INT TERM HUP",
    [...begin, "echo ready"].join(" && "),
    "read -r _",
    ...undo.map((command) => `${command} || true`),
  ];
  return startGuard("sh", ["-c", script.join("\n")], "", async (said) => said().includes("ready"));
}

/**
 * A guard that is a program itself: it is told `input`, has begun when `isReady` holds, and undoes by ending
 * when its input does.
 * @throws ShoalError UNSUPPORTED with what the program said, ended
 */
export async function startGuard(
  program: string,
  args: readonly string[],
  input: string,
  isReady: (said: () => string) => Promise<boolean>,
): Promise<Guard> {
  let [said, complaint] = ["", ""];
  // Some programs keep a history of what they were told, in their user's home.
  const env = { ...process.env, HOME: "/nonexistent" };
  const child = spawn(program, args, { detached: true, env, stdio: "pipe" });
  const ended = endOf(child, (text) => (complaint += text));
  child.stdout.on("data", (bytes: Buffer) => (said += bytes.toString()));
  child.stderr.on("data", (bytes: Buffer) => (complaint += bytes.toString()));
  child.stdin.on("error", () => {});
  child.stdin.write(input);
  const undo = async (): Promise<void> => {
    child.stdin.end();
    await Promise.race([ended, pause(STEP_MS_MAX)]);
  };
  const deadlineMs = performance.now() + STEP_MS_MAX;
  while (!(await isReady(() => said))) {
    if (complaint === "" && performance.now() < deadlineMs) await pause(10);
    else {
      await undo();
      throw new ShoalError("UNSUPPORTED", `${program}: ${complaint.trim().split("\n")[0] || "no answer"}`);
    }
  }
  return { undo };
}

function endOf(child: ChildProcess, complain: (text: string) => void): Promise<void> {
  return new Promise((resolve) => {
    child.once("error", (error) => {
      complain(error.message);
      resolve();
    });
    child.once("exit", () => resolve());
  });
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
