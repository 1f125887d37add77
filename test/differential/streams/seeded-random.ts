/** Random numbers from a seed that a test prints: the checker's, and chances. */
import { SeededRandom as Numbers } from "../../../src/verify/seeded-random.ts";

export class SeededRandom extends Numbers {
  /** True with this probability. */
  chance(probability: number): boolean {
    return this.int(1_000_000) < probability * 1_000_000;
  }
}
