import { afterAll, beforeAll, expect, test } from "bun:test";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "../../../test/support/until.ts";
import { systemScriptRunner } from "./run-script.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "shoal-script-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function script(name: string, ...lines: string[]): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, ["#!/bin/sh", ...lines, ""].join("\n"));
  await chmod(path, 0o700);
  return path;
}

const messageOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "no error",
    (error: Error & { code: string }) => `${error.code}: ${error.message}`,
  );

test("the input is on the standard input, also of a script that does not read it", async () => {
  const reader = await script("reader", `cat > ${folder}/out`);
  await systemScriptRunner.run(reader, '{"a":"ü"}', 5000);
  expect(await readFile(join(folder, "out"), "utf8")).toBe('{"a":"ü"}');
  await systemScriptRunner.run(await script("deaf", "exit 0"), "x".repeat(1 << 20), 5000);
});

test("a script that fails, is missing or takes too long: in words, and nothing is left of it", async () => {
  const failing = await script("failing", "exit 3");
  expect(await messageOf(systemScriptRunner.run(failing, "", 5000))).toBe(
    `START_FAILED: Cannot run script ${failing}: it ended by status 3`,
  );
  expect(await messageOf(systemScriptRunner.run("/nowhere", "", 5000))).toContain(
    "Cannot run script /nowhere",
  );
  // What it has started would go on for long without the script's own end.
  const slow = await script("slow", `sleep 60 & echo $! > ${folder}/child`, "wait");
  expect(await messageOf(systemScriptRunner.run(slow, "", 500))).toBe(
    `TIMEOUT: Cannot run script ${slow}: it ran for over 500 ms and was killed`,
  );
  const child = (await readFile(join(folder, "child"), "utf8")).trim();
  await until(async () => {
    const state = await readFile(`/proc/${child}/stat`, "utf8").catch(() => "gone");
    return state === "gone" || / Z /.test(state);
  }, "what it has started is dead");
});
