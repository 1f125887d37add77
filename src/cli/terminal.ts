/**
 * The terminal of a person: a line that is drawn over, and a question. Both on stderr: stdout holds answers.
 */
import { createInterface } from "node:readline/promises";

/** Cursor to the left edge, the rest of the line cleared. */
const CLEAR_LINE = "\r\x1b[K";
const COLUMNS_DEFAULT = 80;

/**
 * An empty text takes the line away. What is longer than the terminal is cut: a second line could not be
 * undone.
 */
export function redraw(text: string): void {
  const columns = process.stderr.columns ?? COLUMNS_DEFAULT;
  process.stderr.write(CLEAR_LINE + text.slice(0, columns - 1));
}

/** The line without its end; empty when the input has ended. */
export async function ask(question: string): Promise<string> {
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const closed = new Promise<string>((resolve) => lines.once("close", () => resolve("")));
    return await Promise.race([lines.question(question), closed]);
  } finally {
    lines.close();
  }
}
