import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { lockFolder, lockHolder } from "./folder-lock.ts";
import { identifyProcess, isRunning, signalProcess } from "./process-identity.ts";

let folder: string;
let path: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "shoal-lock-"));
  path = join(folder, "lock");
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

test("one holder at a time, and nothing is left behind", () => {
  const lock = lockFolder(path);
  expect(lockHolder(path)?.pid).toBe(process.pid);
  expect(() => lockFolder(path)).toThrow(`Cannot lock ${path}: process ${process.pid} has it`);
  lock.release();
  expect(lockHolder(path)).toBeNull();
  lockFolder(path).release();
  expect(readdirSync(folder)).toEqual([]);
});

test("a lock whose holder is gone is taken: dead, another process with its pid, rubbish", () => {
  const gone = [
    { pid: 2 ** 22 + 1, startedAt: "x" },
    { pid: process.pid, startedAt: "an earlier boot:1" },
    "rubbish",
  ];
  for (const content of gone) {
    writeFileSync(path, JSON.stringify(content));
    const lock = lockFolder(path);
    expect(lockHolder(path)?.pid).toBe(process.pid);
    lock.release();
  }
});

test("of many processes that find a stale lock exactly one gets it", async () => {
  writeFileSync(path, JSON.stringify({ pid: process.pid, startedAt: "an earlier boot:1" }));
  const file = join(import.meta.dir, "folder-lock.ts");
  const script = `
    import { lockFolder } from ${JSON.stringify(file)};
    try { lockFolder(${JSON.stringify(path)}); console.log("mine"); }
    catch (error) { console.log(error.code); }
    // Holds it until the others have tried.
    for await (const _ of process.stdin) {}`;
  const children = Array.from({ length: 8 }, () => {
    return Bun.spawn([process.execPath, "-e", script], { stdin: "pipe", stdout: "pipe" });
  });
  const words = await Promise.all(
    children.map(async (child) => {
      const { value } = await child.stdout.getReader().read();
      return new TextDecoder().decode(value).trim();
    }),
  );
  for (const child of children) child.kill();
  await Promise.all(children.map((child) => child.exited));
  expect(words.toSorted()).toEqual([...Array(7).fill("CONFLICT"), "mine"]);
});

test("a process is known by pid and start, and only the very one is signalled", async () => {
  const child = Bun.spawn(["sleep", "60"]);
  const identity = identifyProcess(child.pid);
  if (identity === null) throw new Error("the child was not found");
  expect(isRunning(identity)).toBe(true);
  expect(signalProcess({ pid: child.pid, startedAt: "an earlier boot:1" }, "SIGKILL")).toBe(false);
  expect(isRunning(identity)).toBe(true);
  expect(signalProcess(identity, "SIGKILL")).toBe(true);
  await child.exited;
  expect(isRunning(identity)).toBe(false);
  expect(identifyProcess(child.pid)).toBeNull();
});
