/** Chance for jitter, and unguessable ids. */
import { randomBytes } from "node:crypto";
import type { Random } from "../env/env.ts";

export const systemRandom: Random = {
  fraction: () => Math.random(),
  // Ids may serve as names that nobody should guess, so they do not come from Math.random.
  hex: (count: number) =>
    randomBytes((count + 1) >> 1)
      .toString("hex")
      .slice(0, count),
};
