import { existsSync, readFileSync } from "node:fs";
import type { TidyRule, Untidiness } from "./limits.ts";

/** One exception, as it stands in tools/tidy-waivers.json. */
export interface Waiver {
  readonly file: string;
  readonly rule: TidyRule;
  /** The function it is for; without it, every breach of the rule in the file. */
  readonly function?: string;
  readonly reason: string;
}

/** Rules that no waiver lifts: there is always another way. */
const ABSOLUTE: readonly TidyRule[] = ["waiver", "parse", "comment-share", "readme"];

/** The waivers in the JSON file `path`; none when there is no such file. */
export function readWaivers(path: string): Waiver[] {
  return existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as Waiver[]) : [];
}

/**
 * What is left of `found`, plus a breach for each waiver that has no reason, is not allowed or is not
 * needed.
 */
export function applyWaivers(found: readonly Untidiness[], waivers: readonly Waiver[]): Untidiness[] {
  const left = found.filter((one) => !waivers.some((waiver) => covers(waiver, one)));
  const problems = waivers.flatMap((waiver): Untidiness[] => {
    const message = problemOf(waiver, found);
    return message === undefined ? [] : [{ file: waiver.file, line: 1, rule: "waiver", message }];
  });
  return [...left, ...problems];
}

function covers(waiver: Waiver, one: Untidiness): boolean {
  if (ABSOLUTE.includes(waiver.rule) || one.hard === true) return false;
  const sameFunction = waiver.function === undefined || waiver.function === one.function;
  return waiver.file === one.file && waiver.rule === one.rule && sameFunction;
}

function problemOf(waiver: Waiver, found: readonly Untidiness[]): string | undefined {
  const name = [waiver.rule, waiver.function].filter(Boolean).join(" ");
  if (ABSOLUTE.includes(waiver.rule)) return `waiver for ${name}: this rule has none`;
  if (typeof waiver.reason !== "string" || waiver.reason.length < 20)
    return `waiver for ${name} gives no reason`;
  if (!found.some((one) => covers(waiver, one))) return `waiver for ${name} is not needed: remove it`;
  return undefined;
}
