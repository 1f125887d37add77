/** The numbers that check-tidy holds the sources to. */
export const LIMITS = {
  functionLinesMax: 70,
  fileLinesMax: 400,
  /** No waiver goes beyond this. */
  fileLinesHardMax: 600,
  /** In characters, as an editor counts columns. */
  lineLengthMax: 110,
  /** Control statements inside one another within one function. */
  nestingMax: 3,
  /**
   * Lines that hold nothing but a comment, of all lines that are not blank, over src/. The aim is 0.15 to
   * 0.25.
   */
  commentShareMin: 0.13,
  commentShareMax: 0.27,
} as const;

export type TidyRule =
  | "function-lines"
  | "file-lines"
  | "line-length"
  | "nesting"
  | "file-name"
  | "folder-name"
  | "readme"
  | "comment-share"
  | "to-do"
  | "dead-code"
  | "parse"
  | "waiver";

/** One breach of a rule. */
export interface Untidiness {
  readonly file: string;
  /** 1-based; 1 when it is about the file as a whole. */
  readonly line: number;
  readonly rule: TidyRule;
  readonly message: string;
  /** The function it is in, for waivers; undefined when it is in none. */
  readonly function?: string;
  /** Beyond what a waiver can lift. */
  readonly hard?: boolean;
}
