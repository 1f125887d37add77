/** A line on stderr that says what is being measured and about how long it will still take. */
const LINE_WIDTH = 78;

export class Progress {
  readonly #steps: number;
  readonly #startedMs = performance.now();
  #done = 0;

  /** `steps`: how often `step` will be called; they are taken to be of equal length. */
  constructor(steps: number) {
    this.#steps = steps;
  }

  /** The next thing begins. */
  step(what: string): void {
    const elapsedS = (performance.now() - this.#startedMs) / 1000;
    const leftS = this.#done === 0 ? 0 : (elapsedS / this.#done) * (this.#steps - this.#done);
    this.#done++;
    const left = this.#done === 1 ? "" : `, about ${Math.max(1, Math.round(leftS))} s left`;
    this.#show(`[${this.#done}/${this.#steps}${left}] ${what}`);
  }

  end(): void {
    this.#show("");
    if (process.stderr.isTTY) process.stderr.write("\r");
  }

  /** Rewrites the line on a terminal; a log gets a line per step. */
  #show(text: string): void {
    if (process.stderr.isTTY) process.stderr.write(`\r${text.slice(0, LINE_WIDTH).padEnd(LINE_WIDTH)}`);
    else if (text !== "") process.stderr.write(`${text}\n`);
  }
}
