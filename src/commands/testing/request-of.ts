/** Requests for tests: an `ArgumentView` over words, laid out as a scanner would leave them. */
import type { ArgumentView } from "../argument-view.ts";

/** A request of these words, UTF-8, with other bytes between and around them so that a slip shows. */
export function requestOf(words: readonly string[]): ArgumentView {
  const encoded = words.map((word) => new TextEncoder().encode(word));
  const bytes = new Uint8Array(encoded.reduce((sum, word) => sum + word.length + 2, 2)).fill(0x2a);
  const argStart = new Int32Array(words.length);
  const argEnd = new Int32Array(words.length);
  let at = 2;
  encoded.forEach((word, i) => {
    bytes.set(word, at);
    argStart[i] = at;
    argEnd[i] = at + word.length;
    at += word.length + 2;
  });
  return { bytes, argc: words.length, argStart, argEnd };
}
