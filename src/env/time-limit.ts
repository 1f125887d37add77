/** Waiting, but not for ever. */
import type { Timers } from "./env.ts";

/**
 * What `work` comes to within `limitMs`, or `otherwise`: also when it fails. The work itself goes on; what it
 * throws later is dropped.
 */
export async function withTimeLimit<Value>(
  timers: Timers,
  limitMs: number,
  work: Promise<Value>,
  otherwise: Value,
): Promise<Value> {
  let cancel: () => void = () => {};
  const limit = new Promise<Value>((resolve) => {
    const timer = timers.after(limitMs, () => resolve(otherwise));
    cancel = () => timer.cancel();
  });
  try {
    return await Promise.race([work.catch(() => otherwise), limit]);
  } finally {
    cancel();
  }
}

/** Resolves after `ms`. */
export function pause(timers: Timers, ms: number): Promise<void> {
  return new Promise((resolve) => {
    timers.after(ms, resolve);
  });
}
