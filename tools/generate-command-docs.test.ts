import { expect, test } from "bun:test";
import { COMMANDS } from "../src/commands/command-lookup.ts";
import { DIFFERENCES } from "./command-differences.ts";
import { isUpToDate, renderCommandDocs } from "./generate-command-docs.ts";

/** `tools/bun.sh tools/generate-command-docs.ts` makes it so. */
test("docs/reference/commands.md is up to date", () => {
  expect(isUpToDate()).toBe(true);
});

test("every command stands there once, in a table of five columns", () => {
  const rows = renderCommandDocs()
    .split("\n")
    .filter((line) => line.startsWith("| ") && !line.startsWith("| command") && !line.startsWith("| ---"));
  const names = rows.map((row) => row.split(" | ")[0].slice(2).toLowerCase());
  expect(new Set(names).size).toBe(names.length);
  for (const row of rows) expect(row.split(" | ").length).toBe(5);
  for (const name of ["get", "client id", "function load", "mget", "waitaof"]) expect(names).toContain(name);
});

test("every difference is about a command", () => {
  const known = new Set(COMMANDS.map((command) => command.name));
  expect(Object.keys(DIFFERENCES).filter((name) => !known.has(name))).toEqual([]);
});
