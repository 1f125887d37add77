/**
 * Redis's glob patterns, as PSUBSCRIBE and PUBSUB CHANNELS read them: `*`, `?`, `[a-z]`, `[^x]`, `\` before a
 * character that is meant as it is (util.c, stringmatchlen).
 *
 * Each element but `*` stands for one character, so on a mismatch only the last `*` has to take one character
 * more: the time is pattern times text at the worst. Rejected: Redis's recursion, which patterns like
 * `a*a*a*a*b` make slow.
 */
const NONE = -1;

/** Whether the whole of `text` fits `pattern`. Both a character per byte. */
export function globMatches(pattern: string, text: string): boolean {
  // Redis looks at no pattern when there is no text, not even at "*".
  if (text === "") return pattern === "";
  let at = 0;
  let position = 0;
  let star = NONE;
  let starPosition = 0;
  while (position < text.length) {
    if (pattern[at] === "*") {
      star = at++;
      starPosition = position;
      continue;
    }
    const next = at < pattern.length ? elementEnd(pattern, at, text[position]) : NONE;
    if (next !== NONE) {
      at = next;
      position++;
      continue;
    }
    if (star === NONE) return false;
    at = star + 1;
    position = ++starPosition;
  }
  while (pattern[at] === "*") at++;
  return at === pattern.length;
}

/** Where the element at `at` ends if `character` fits it, else NONE. */
function elementEnd(pattern: string, at: number, character: string): number {
  const first = pattern[at];
  if (first === "?") return at + 1;
  if (first === "[") return setEnd(pattern, at + 1, character);
  const literal = first === "\\" && at + 1 < pattern.length ? at + 1 : at;
  return pattern[literal] === character ? literal + 1 : NONE;
}

/** As `elementEnd`, behind a `[`. A set without its `]` ends with the pattern. */
function setEnd(pattern: string, from: number, character: string): number {
  const negated = pattern[from] === "^";
  let at = negated ? from + 1 : from;
  let fits = false;
  while (at < pattern.length && pattern[at] !== "]") {
    if (pattern[at] === "\\" && at + 1 < pattern.length) {
      fits ||= pattern[at + 1] === character;
      at += 2;
    } else if (pattern[at + 1] === "-" && at + 2 < pattern.length) {
      const [low, high] = [pattern[at], pattern[at + 2]].toSorted();
      fits ||= character >= low && character <= high;
      at += 3;
    } else {
      fits ||= pattern[at] === character;
      at++;
    }
  }
  return fits === negated ? NONE : Math.min(at + 1, pattern.length);
}
