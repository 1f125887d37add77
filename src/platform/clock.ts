/** The machine's clocks. */
import type { Clock } from "../env/env.ts";

export const systemClock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
};
