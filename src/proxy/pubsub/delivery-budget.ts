/**
 * How much is delivered in one loop turn: a message to twenty thousand subscribers must not keep everybody
 * else waiting while it is copied twenty thousand times.
 *
 *   take ─▶ … ─▶ used up: the links stop where they are ─▶ the turn ends: renewed, they go on
 */
import type { Env } from "../../env/env.ts";

/** Deliveries per turn. */
const DELIVERIES_PER_TURN = 1024;
/**
 * A long message counts as one delivery more for each so many bytes (a shift): 16 MiB per turn at the most.
 */
const SIZE_SHIFT = 14;

export class DeliveryBudget {
  readonly #env: Env;
  readonly #resume: () => void;
  #left = DELIVERIES_PER_TURN;

  /** `resume` is called after each renewal. */
  constructor(env: Env, resume: () => void) {
    this.#env = env;
    this.#resume = resume;
  }

  get usedUp(): boolean {
    return this.#left <= 0;
  }

  /** One delivery of `size` bytes. */
  take(size: number): void {
    if (this.#left === DELIVERIES_PER_TURN) this.#env.net.atTurnEnd(this.#renew);
    this.#left -= 1 + (size >> SIZE_SHIFT);
  }

  readonly #renew = (): void => {
    this.#left = DELIVERIES_PER_TURN;
    this.#resume();
  };
}
