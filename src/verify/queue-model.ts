/**
 * A list that one session pushes to and another one pops from with BLPOP: L15. Pure.
 *
 *   push ─▶ pushed (acknowledged) | doubtful          pop ─▶ popped          doubt at a pop ─▶ one may be
 *   gone
 *
 * In the end every acknowledged element must have been popped once or still be in the list, but for as many
 * as there were pops whose reply never came.
 */
import type { Finding } from "./kinds/kind.ts";

export class QueueModel {
  readonly key: string;
  /** Nothing more will be pushed: an empty list is the end. */
  complete = false;
  readonly #pushed = new Set<string>();
  readonly #doubtful = new Set<string>();
  readonly #popped = new Set<string>();
  #issued = 0;
  #lastPopped = 0;
  #doubtfulPops = 0;

  constructor(key: string) {
    this.key = key;
  }

  /** Elements that are pushed and not popped, as far as known. */
  get waiting(): number {
    return this.#pushed.size + this.#doubtful.size - this.#popped.size;
  }

  get doubtfulPops(): number {
    return this.#doubtfulPops;
  }

  /** The next element to push. */
  next(): string {
    this.#issued++;
    return `${this.key}|${this.#issued}|`;
  }

  pushed(element: string): void {
    this.#pushed.add(element);
  }

  pushDoubtful(element: string): void {
    this.#doubtful.add(element);
  }

  popDoubtful(): void {
    this.#doubtfulPops++;
  }

  /** An element came out, by BLPOP or by the look at the end. */
  popped(element: string): Finding[] {
    const findings: Finding[] = [];
    const number = Number(element.split("|")[1]);
    if (!element.startsWith(`${this.key}|`)) {
      return [this.#finding("crossed", 1, `the element ${element} is of another list`)];
    }
    if (this.#popped.has(element)) findings.push(this.#finding("duplicated", 1, `${element} came out twice`));
    // An element in doubt may come late, behind younger ones.
    else if (number < this.#lastPopped && !this.#doubtful.has(element)) {
      findings.push(this.#finding("order", 1, `${element} came out after element ${this.#lastPopped}`));
    }
    if (!this.#doubtful.has(element)) this.#lastPopped = Math.max(this.#lastPopped, number);
    this.#popped.add(element);
    return findings;
  }

  /** After everything that was left in the list has been told to `popped`. */
  close(): Finding[] {
    const missing = [...this.#pushed].filter((element) => !this.#popped.has(element));
    const lost = missing.length - this.#doubtfulPops;
    if (lost <= 0) return [];
    const open = `${this.#doubtfulPops} pops were without a reply`;
    return [this.#finding("lost", lost, `${missing.length} elements never came out, ${open}: ${missing[0]}`)];
  }

  #finding(fault: Finding["fault"], count: number, text: string): Finding {
    return { fault, count, text: `${fault}: queue ${this.key}: ${text}` };
  }
}
