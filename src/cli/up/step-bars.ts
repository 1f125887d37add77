/**
 * The steps of a start at a person's terminal: a line for each, and a bar below it for one that takes long.
 * Where nobody looks nothing is printed: what a script wants to know is whether it serves.
 */
import type { OptionValues, World } from "../command.ts";
import { Progress, type ProgressStep } from "../progress.ts";

export class StepBars {
  readonly #world: World;
  readonly #shown: boolean;
  #bar: Progress | null = null;

  constructor(world: World, options: OptionValues) {
    this.#world = world;
    this.#shown = world.interactive && options.json !== true;
  }

  /** "starting 6 redis-servers". */
  begin(text: string): void {
    this.end();
    if (!this.#shown) return;
    this.#world.printError(text);
    this.#bar = new Progress(this.#world, " ");
  }

  update(step: ProgressStep): void {
    this.#bar?.update(step);
  }

  /** Before anything else is printed. */
  end(): void {
    this.#bar?.end();
    this.#bar = null;
  }
}
