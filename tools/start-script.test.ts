import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const ROOT = join(import.meta.dirname, "..");
let folder = "";

beforeAll(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "shoal-start-")));
});
afterAll(() => rmSync(folder, { recursive: true }));

function run(
  command: string[],
  env: Record<string, string> = {},
): { status: number; out: string; err: string } {
  const result = Bun.spawnSync(command, { env: { ...process.env, ...env }, stdout: "pipe", stderr: "pipe" });
  return { status: result.exitCode, out: result.stdout.toString(), err: result.stderr.toString() };
}

describe("bin/shoal and tools/bun.sh", () => {
  test("bun.sh runs the pinned Bun", () => {
    expect(run([join(ROOT, "tools/bun.sh"), "--version"])).toEqual({
      status: 0,
      out: `${Bun.version}\n`,
      err: "",
    });
  });

  test("shoal finds its folder through symlinks and hands its arguments on as they are", () => {
    const echo = join(folder, "echo");
    writeFileSync(echo, '#!/bin/sh\nprintf "%s|" "$@"\n');
    chmodSync(echo, 0o755);
    mkdirSync(join(folder, "links"));
    symlinkSync(join(ROOT, "bin/shoal"), join(folder, "links/first"));
    symlinkSync("links/first", join(folder, "second"));
    const { out } = run([join(folder, "second"), "up", "two words", ""], { SHOAL_BUN: echo });
    expect(out).toBe(`${join(ROOT, "src/apps/shoal.ts")}|up|two words||`);
  });

  test("a Bun that is not there is one clear line", () => {
    const { status, err } = run([join(ROOT, "tools/bun.sh"), "x.ts"], { SHOAL_BUN: join(folder, "gone") });
    expect(status).toBe(1);
    expect(err).toBe(`shoal: cannot run SHOAL_BUN=${join(folder, "gone")}: no such program\n`);
  });
});
