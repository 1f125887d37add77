/** The wish to stop, from a person or a supervisor. */

/** SIGHUP comes when the terminal is closed: what was started from it must not stay behind half alive. */
const STOP_SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/**
 * One Ctrl-C under `npm start` arrives twice: from the terminal, which signals all its processes, and from
 * npm, which passes on its own. What comes so soon after the last one is the same wish.
 */
const SAME_WISH_MS = 400;

export type StopSignal = (typeof STOP_SIGNALS)[number];

/**
 * Calls `run` for each stop signal, with how many came before it. Until then, and after `off`, the signals
 * end the process.
 */
export function onStopSignal(run: (signal: StopSignal, earlier: number) => void): { off(): void } {
  let earlier = 0;
  let lastMs = -Infinity;
  const receive = (signal: NodeJS.Signals): void => {
    const nowMs = performance.now();
    if (nowMs - lastMs < SAME_WISH_MS) return;
    lastMs = nowMs;
    run(signal as StopSignal, earlier++);
  };
  for (const signal of STOP_SIGNALS) process.on(signal, receive);
  return {
    off() {
      for (const signal of STOP_SIGNALS) process.off(signal, receive);
    },
  };
}
