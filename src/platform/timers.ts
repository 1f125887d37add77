/** The runtime's timers. They keep the process alive until they have run or are cancelled. */
import type { Timer, Timers } from "../env/env.ts";

export const systemTimers: Timers = {
  after(delayMs: number, run: () => void): Timer {
    const timer = setTimeout(run, delayMs);
    return { cancel: () => clearTimeout(timer) };
  },
  every(periodMs: number, run: () => void): Timer {
    const timer = setInterval(run, periodMs);
    return { cancel: () => clearInterval(timer) };
  },
};
