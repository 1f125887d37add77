/** An error with the next step for the person at the terminal. */
import { type ErrorCode, ShoalError } from "../base/shoal-error.ts";

export class HintedError extends ShoalError {
  /** One sentence: what to do now. */
  readonly hint: string;

  constructor(code: ErrorCode, message: string, hint: string, cause?: unknown) {
    super(code, message, cause);
    this.hint = hint;
  }
}

/** What to try where the place that failed has no better advice. */
const HINTS: Partial<Record<ErrorCode, string>> = {
  CONFIG: "`shoal proxy --help-config` and `shoal controller --help-config` print every key.",
  UNREACHABLE: "Is it running? `shoal status --dir DIR` shows a cluster, `shoal up --dir DIR` starts it.",
  UNAUTHORIZED: "Put the controller's token into the environment variable SHOAL_TOKEN.",
  ADDRESS_IN_USE: "Stop what has the address, or choose another one.",
};

/** The advice that goes with an error, or null. */
export function hintFor(error: unknown): string | null {
  if (error instanceof HintedError) return error.hint;
  if (!(error instanceof ShoalError)) return null;
  // What a controller could not reach is another matter than a controller that can't be reached: it says so
  // itself.
  if (error.code === "UNREACHABLE" && !error.message.startsWith("Cannot reach http")) return null;
  return HINTS[error.code] ?? null;
}
