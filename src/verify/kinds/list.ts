/** RPUSH and LPUSH of elements that are never pushed twice: a hole, a double and a wrong order all show. */
import { type Kind, mix } from "./kind.ts";

export const listKind: Kind = {
  name: "list",
  writes: 80,
  names: (key) => [key],
  write: (key, n) => [[isRight(n) ? "RPUSH" : "LPUSH", key, elementOf(key, n)]],
  answer: (_key, n) => n,
  read: (key) => ["LRANGE", key, "0", "-1"],
  matches(key, n, reply) {
    if (!Array.isArray(reply) || reply.length !== n) return false;
    const wanted = elementsAt(key, n);
    return reply.every((element, i) => element === wanted[i]);
  },
  explain(key, n, reply) {
    if (!Array.isArray(reply)) return null;
    const there = new Set(reply);
    if (there.size < reply.length) return { fault: "duplicated", count: reply.length - there.size };
    const missing = elementsAt(key, n).filter((element) => !there.has(element)).length;
    if (missing > 0) return { fault: "lost", count: missing };
    return there.size === n ? { fault: "order", count: 1 } : null;
  },
};

function isRight(n: number): boolean {
  return n % 2 === 1;
}

function elementOf(key: string, n: number): string {
  return `${key}|${n}|${"x".repeat(mix(key, n) % 40)}`;
}

/** Even ones from the left end inwards, odd ones after them. */
function elementsAt(key: string, n: number): string[] {
  const elements: string[] = [];
  for (let i = n - (n % 2); i >= 2; i -= 2) elements.push(elementOf(key, i));
  for (let i = 1; i <= n; i += 2) elements.push(elementOf(key, i));
  return elements;
}
