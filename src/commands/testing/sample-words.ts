/** The notation of the sample calls. */

/**
 * The words of a line: one space between words; in a word \\s is a space and \\n a line end, `""` is the
 * empty one.
 */
export function sampleWords(line: string): string[] {
  return line
    .split(" ")
    .map((word) => (word === '""' ? "" : word.replaceAll("\\s", " ").replaceAll("\\n", "\n")));
}
