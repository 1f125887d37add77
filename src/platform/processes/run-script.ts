/** Scripts of the person who runs Shoal: input by standard input, a bounded time, no shell. */
import { spawn } from "node:child_process";
import { ShoalError, errorTextOf } from "../../base/shoal-error.ts";
import type { ScriptRunner } from "../../env/script-runner.ts";

export const systemScriptRunner: ScriptRunner = {
  run(path, input, timeoutMs): Promise<void> {
    return new Promise((resolve, reject) => {
      const fail = (code: "START_FAILED" | "TIMEOUT", why: string): void =>
        reject(new ShoalError(code, `Cannot run script ${path}: ${why}`));
      // A session of its own, so that what it has started dies with it.
      const child = spawn(path, [], { stdio: ["pipe", "ignore", "ignore"], detached: true });
      const timer = setTimeout(() => {
        if (child.pid !== undefined) killSession(child.pid);
        fail("TIMEOUT", `it ran for over ${timeoutMs} ms and was killed`);
      }, timeoutMs);
      child.once("error", (error) => {
        clearTimeout(timer);
        fail("START_FAILED", errorTextOf(error));
      });
      child.once("exit", (status, signal) => {
        clearTimeout(timer);
        if (status === 0) resolve();
        else fail("START_FAILED", `it ended by ${signal ?? `status ${status}`}`);
      });
      // A script that does not read its input closes it: that is its own affair.
      child.stdin.on("error", () => {});
      child.stdin.end(input);
    });
  },
};

function killSession(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // It has ended by itself in this very moment.
  }
}
