/** The values of decoded replies as the merges of this folder want them, and back. */
import { bulk, integer, type Protocol } from "../../resp/reply-writer.ts";

/** A map's members: a Map in RESP3, a flat list in RESP2. */
export function pairsOf(value: unknown): (readonly [string, unknown])[] {
  if (value instanceof Map) return [...(value as Map<string, unknown>)];
  const list = Array.isArray(value) ? (value as unknown[]) : [];
  const pairs: (readonly [string, unknown])[] = [];
  for (let i = 0; i + 1 < list.length; i += 2) pairs.push([String(list[i]), list[i + 1]]);
  return pairs;
}

/** A list's members; none for what is no list. */
export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? (value as unknown[]) : [];
}

/** A floating-point number: RESP2 has no type for it. */
export function double(protocol: Protocol, value: number): string {
  return protocol === 3 ? `,${value}\r\n` : bulk(String(value));
}

/** A number or a text as it came from a server. */
export function scalar(value: unknown): string {
  return typeof value === "number" ? integer(value) : bulk(String(value));
}
