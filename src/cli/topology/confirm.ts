/** Going on with something large: a person is asked, a script says --yes beforehand. */
import type { OptionRow, OptionValues, World } from "../command.ts";
import { HintedError } from "../hinted-error.ts";

/** With --json it is implied: a script has nobody to ask. */
export const YES_OPTION: OptionRow = { flags: "--yes", type: "flag", doc: "go on without asking" };

/** commander's way of a negation: `wait` is false when it is given. */
export const NO_WAIT_OPTION: OptionRow = {
  flags: "--no-wait",
  type: "flag",
  doc: "come back when it has begun; `shoal moves --watch` shows how it goes on",
};

/** Whether to go on. @throws ShoalError INVALID_ARGUMENT when there is nobody to ask */
export async function confirm(world: World, options: OptionValues, question: string): Promise<boolean> {
  if (options.yes === true || options.json === true) return true;
  if (world.ask === null) {
    throw new HintedError(
      "INVALID_ARGUMENT",
      "Cannot ask whether to go on: this is no terminal",
      "--yes goes on without asking, --dry-run shows what it would do.",
    );
  }
  return /^y(es)?$/i.test((await world.ask(`${question} [y/N] `)).trim());
}
