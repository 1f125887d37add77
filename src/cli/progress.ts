/**
 * Progress of what takes longer than two seconds: how much, how fast, how long still.
 *
 *   a person at a terminal     one line that is drawn over:  moving  [####----]  51%  900 keys/s  8 s left
 *   a log, a pipe              a plain line every few seconds
 *   --json                     nothing: stderr is for the error then
 *
 * The rate is that of the last seconds, not of the whole: what slows down shows at once. The time left is by
 * the same rate, unless who does the work knows better.
 */
import type { OptionValues, World } from "./command.ts";
import { formatBytes } from "./print-table.ts";

/** Before that nothing is drawn: most things are over by then. */
const QUIET_MS = 500;
/** For plain lines: what is over in two seconds says nothing. */
const PLAIN_QUIET_MS = 2000;
const PLAIN_PERIOD_MS = 3000;
/** What has run for long is told of less often: a line for each so-many-th part of the time. */
const PLAIN_SHARE = 20;
/** The rate is taken over so long. */
const RATE_WINDOW_MS = 5000;
const BAR_CELLS = 24;

export interface ProgressStep {
  readonly done: number;
  /** Null: nobody knows. */
  readonly total: number | null;
  /** What is counted: "keys", "slots"; "bytes" are shown as KiB, MiB. */
  readonly unit: string;
  /** More to say: "locking", "3 of 4 moves". */
  readonly detail?: string;
  /** Per second, from who does the work; otherwise worked out here. */
  readonly rate?: number;
  readonly secondsLeft?: number | null;
}

type ProgressWorld = Pick<World, "interactive" | "printError" | "redraw">;

export class Progress {
  readonly #world: ProgressWorld;
  readonly #label: string;
  readonly #silent: boolean;
  readonly #nowMs: () => number;
  readonly #startedMs: number;
  /** [time, done] of the last seconds. */
  readonly #seen: Array<readonly [number, number]> = [];
  #printedMs: number | null = null;
  #drawn = false;

  /** `label` begins each line: "moving slots". */
  constructor(
    world: ProgressWorld,
    label: string,
    options: OptionValues = {},
    nowMs = () => performance.now(),
  ) {
    this.#world = world;
    this.#label = label;
    this.#silent = options.json === true;
    this.#nowMs = nowMs;
    this.#startedMs = nowMs();
  }

  /** Call it as often as there is news; what is too often is not drawn. */
  update(step: ProgressStep): void {
    const nowMs = this.#nowMs();
    this.#seen.push([nowMs, step.done]);
    while (this.#seen.length > 2 && this.#seen[0][0] < nowMs - RATE_WINDOW_MS) this.#seen.shift();
    if (this.#silent) return;
    const elapsedMs = nowMs - this.#startedMs;
    if (this.#world.interactive) {
      if (elapsedMs < QUIET_MS) return;
      this.#drawn = true;
      this.#world.redraw(formatProgress(this.#label, this.#withRate(step), true));
      return;
    }
    const periodMs = Math.max(PLAIN_PERIOD_MS, elapsedMs / PLAIN_SHARE);
    const due = this.#printedMs === null ? elapsedMs >= PLAIN_QUIET_MS : nowMs - this.#printedMs >= periodMs;
    if (!due) return;
    this.#printedMs = nowMs;
    this.#world.printError(formatProgress(this.#label, this.#withRate(step), false));
  }

  /** A line that stays, above the bar. */
  note(text: string): void {
    if (this.#silent) return;
    this.#clear();
    this.#world.printError(text);
  }

  /** Takes the bar away; call it in any case, also before an error is printed. */
  end(): void {
    this.#clear();
  }

  /** Milliseconds since the beginning. */
  get elapsedMs(): number {
    return this.#nowMs() - this.#startedMs;
  }

  #clear(): void {
    if (this.#drawn) this.#world.redraw("");
    this.#drawn = false;
  }

  #withRate(step: ProgressStep): ProgressStep {
    const [firstMs, firstDone] = this.#seen[0];
    const [lastMs, lastDone] = this.#seen[this.#seen.length - 1];
    const measured = lastMs > firstMs ? Math.max(0, ((lastDone - firstDone) * 1000) / (lastMs - firstMs)) : 0;
    const rate = step.rate ?? measured;
    const rest = step.total === null ? null : Math.max(0, step.total - step.done);
    const secondsLeft = step.secondsLeft ?? (rest === null || rate <= 0 ? null : rest / rate);
    return { ...step, rate, secondsLeft };
  }
}

/** One line; the bar only where it is drawn over. */
export function formatProgress(label: string, step: ProgressStep, bar: boolean): string {
  const { done, total, unit, rate = 0, secondsLeft = null } = step;
  const share = total === null || total <= 0 ? null : Math.min(1, done / total);
  const parts: string[] = [label];
  if (bar && share !== null) {
    const full = Math.round(share * BAR_CELLS);
    parts.push(`[${"#".repeat(full)}${"-".repeat(BAR_CELLS - full)}]`);
  }
  if (share !== null) parts.push(`${Math.floor(share * 100)}%`);
  const of = total === null ? "" : ` of ${formatAmount(total, unit)}`;
  parts.push(`${formatAmount(done, unit)}${of} ${unit === "bytes" ? "" : unit}`.trim());
  if (rate > 0) parts.push(`${formatAmount(Math.round(rate), unit)}${unit === "bytes" ? "" : ` ${unit}`}/s`);
  if (secondsLeft !== null && secondsLeft > 0) parts.push(`${formatDuration(secondsLeft)} left`);
  if (step.detail !== undefined && step.detail !== "") parts.push(step.detail);
  return parts.join("  ");
}

/** 12345 → "12,345"; bytes as KiB, MiB. */
export function formatAmount(amount: number, unit: string): string {
  return unit === "bytes" ? formatBytes(amount) : Math.round(amount).toLocaleString("en");
}

/** 75 → "1 min 15 s". */
export function formatDuration(seconds: number): string {
  const whole = Math.max(1, Math.ceil(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}
