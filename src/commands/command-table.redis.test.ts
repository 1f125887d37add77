import { expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { TABLE_VERSION } from "./command-table.generated.ts";

const GENERATOR = join(import.meta.dirname, "../../tools/generate-commands.ts");
const TABLE = join(import.meta.dirname, "command-table.generated.ts");

function run(command: string, ...args: string[]): string {
  const result = spawnSync(command, args, { encoding: "utf8", maxBuffer: 1 << 24 });
  return result.status === 0 ? result.stdout : `failed: ${result.stderr}`;
}

const version = /v=(\S+)/.exec(run("redis-server", "--version"))?.[1] ?? "none";
const same = version === TABLE_VERSION;
if (!same) console.warn(`Skipped: the command table is of redis-server ${TABLE_VERSION}, here is ${version}`);

test.skipIf(!same)("generating the table again gives the same file", () => {
  expect(run(process.execPath, GENERATOR, "--stdout")).toBe(readFileSync(TABLE, "utf8"));
});
