import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { type Breach, checkLayers } from "./check-layers.ts";
import { LAYERS } from "./layers.ts";
import { listFiles } from "./source/list-files.ts";
import { readSourceFile } from "./source/syntax-tree.ts";

const FIXTURE = join(import.meta.dirname, "fixtures", "layers-bad");

/** What the fixture says of itself: a line that breaks a rule ends in `// breach: RULE`. */
function markedBreaches(): string[] {
  const files = ["src", "web"].flatMap((folder) => listFiles(FIXTURE, folder));
  return files.flatMap((path) =>
    readSourceFile(FIXTURE, path).lines.flatMap((text, index) => {
      const rule = /\/\/ breach: ([a-z-]+)$/.exec(text)?.[1];
      return rule === undefined ? [] : [`${path}:${index + 1}: ${rule}`];
    }),
  );
}

const where = ({ file, line, rule }: Breach): string => `${file}:${line}: ${rule}`;

describe("check-layers", () => {
  test("finds every breach of the fixture, at its line, and nothing else", () => {
    const found = checkLayers(FIXTURE).map(where);
    expect([...new Set(found)].sort()).toEqual(markedBreaches().sort());
  });

  test("the fixture has every kind of breach", () => {
    const rules = new Set(checkLayers(FIXTURE).map((breach) => breach.rule));
    expect([...rules].sort()).toEqual([
      "global",
      "layer",
      "module",
      "package",
      "parse",
      "path",
      "test-code",
      "unknown-layer",
    ]);
  });

  test("a message names both layers and the reason", () => {
    const breach = checkLayers(FIXTURE).find((one) => one.file === "src/controller/lead.ts");
    const reason = "the two planes meet only in contract and topology";
    expect(breach?.message).toBe(`layer controller may not import proxy (src/proxy/session.ts): ${reason}`);
  });

  test("the command exits with 1 and prints file, line and rule", () => {
    const script = join(import.meta.dirname, "check-layers.ts");
    const result = Bun.spawnSync([process.execPath, script, FIXTURE], { stdout: "pipe" });
    expect(result.exitCode).toBe(1);
    expect(result.stdout.toString()).toContain(
      "src/proxy/session.ts:2: [layer] layer proxy may not import controller",
    );
  });

  test("every narrowing in the table names a layer that stands before it, and a reason", () => {
    LAYERS.forEach((layer, index) => {
      const before = LAYERS.slice(0, index).map((other) => other.name);
      const named = [...(layer.only ?? []), ...(layer.not ?? []).map((edge) => edge.name)];
      expect(before).toEqual(expect.arrayContaining(named));
      expect(layer.only === undefined || (layer.onlyReason ?? "") !== "").toBe(true);
    });
  });
});
