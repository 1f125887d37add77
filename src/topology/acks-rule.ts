/**
 * The option `acks`: when a write is answered.
 *
 *   async                              when the primary has done it
 *   replica [N [TIMEOUTms]]            when N replicas (1) have confirmed it, within TIMEOUT (1000 ms)
 *   orders:*=replica 1 500, *=async    by key: the first pattern that fits counts; no pattern fits: async
 *
 * A pattern is a prefix and "*", or a whole key. Globs in full were rejected: each write of a cluster with
 * rules is compared with them, and prefixes are what people name their keys by.
 */
import { ShoalError } from "../base/shoal-error.ts";

/** What a write waits for. */
export interface AckNeed {
  readonly replicas: number;
  readonly timeoutMs: number;
}

export interface AckRule {
  /** What a key begins with; Latin-1, a character per byte. */
  readonly prefix: string;
  /** The key is just that, and not longer. */
  readonly whole: boolean;
  /** Null: the write is answered as soon as the primary has done it. */
  readonly need: AckNeed | null;
}

/** Replicas of one group that a write can wait for. */
export const ACK_REPLICAS_MAX = 16;
/** Without a word on it in the rule. */
const ACK_TIMEOUT_MS_DEFAULT = 1000;
/** A longer wait would look like a hung server to everybody behind it. */
export const ACK_TIMEOUT_MS_MAX = 60_000;
/** Rules of one option; each write is compared with them one after the other. */
const ACK_RULES_MAX = 64;

const NEED = /^(?:async|replica(?:\s+(\d{1,9})(?:\s+(\d{1,9})(?:ms)?)?)?)$/;

/** Reads the option's value. @throws ShoalError INVALID_ARGUMENT that names the rule and what is wanted */
export function parseAcks(text: string): AckRule[] {
  const whole = text.trim();
  if (NEED.test(whole)) return [{ prefix: "", whole: false, need: parseNeed(whole, text) }];
  const rules = whole.split(",").map((rule) => parseRule(rule.trim(), text));
  if (rules.length > ACK_RULES_MAX) throw refused(text, `more than ${ACK_RULES_MAX} rules`);
  return rules;
}

/** The need of a key, by the first rule that fits it. */
export function needOf(rules: readonly AckRule[], key: string): AckNeed | null {
  for (const { prefix, whole, need } of rules) {
    if (whole ? key === prefix : key.startsWith(prefix)) return need;
  }
  return null;
}

/** What fits both; null fits all. */
export function stricter(a: AckNeed | null, b: AckNeed | null): AckNeed | null {
  if (a === null || b === null) return a ?? b;
  if (a === b) return a;
  return {
    replicas: Math.max(a.replicas, b.replicas),
    timeoutMs: Math.max(a.timeoutMs, b.timeoutMs),
  };
}

/** The strictest need of all rules; null when no write ever waits. */
export function strictest(rules: readonly AckRule[]): AckNeed | null {
  return rules.reduce<AckNeed | null>((most, { need }) => stricter(most, need), null);
}

/** Whether there is no key whose writes are answered before a replica has them. */
export function confirmsAll(rules: readonly AckRule[]): boolean {
  // What stands behind a rule that fits every key never counts.
  const last = rules.findIndex(({ prefix, whole }) => prefix === "" && !whole);
  return last !== -1 && rules.slice(0, last + 1).every(({ need }) => need !== null);
}

function parseRule(rule: string, text: string): AckRule {
  // A key may hold "=", a need never does.
  const at = rule.lastIndexOf("=");
  if (at < 1)
    throw refused(text, `${JSON.stringify(rule)} is no rule: want PATTERN=async or PATTERN=replica N`);
  const pattern = rule.slice(0, at).trim();
  const whole = !pattern.endsWith("*");
  const prefix = whole ? pattern : pattern.slice(0, -1);
  if (prefix.includes("*"))
    throw refused(text, `pattern ${JSON.stringify(pattern)} may have "*" at its end only`);
  return { prefix, whole, need: parseNeed(rule.slice(at + 1).trim(), text) };
}

function parseNeed(words: string, text: string): AckNeed | null {
  const match = NEED.exec(words);
  if (match === null)
    throw refused(
      text,
      `${JSON.stringify(words)}: want async, "replica", "replica N" or "replica N TIMEOUTms"`,
    );
  if (words === "async") return null;
  const replicas = Number(match[1] ?? 1);
  const timeoutMs = Number(match[2] ?? ACK_TIMEOUT_MS_DEFAULT);
  if (replicas < 1 || replicas > ACK_REPLICAS_MAX)
    throw refused(text, `${replicas} replicas: want 1 to ${ACK_REPLICAS_MAX}`);
  if (timeoutMs < 1 || timeoutMs > ACK_TIMEOUT_MS_MAX)
    throw refused(text, `${timeoutMs} ms: want 1 to ${ACK_TIMEOUT_MS_MAX}`);
  return { replicas, timeoutMs };
}

function refused(text: string, why: string): ShoalError {
  return new ShoalError("INVALID_ARGUMENT", `Cannot use acks ${JSON.stringify(text)}: ${why}`);
}
