/** Waiting for a condition of another process. */

/** Between two looks. */
const POLL_PERIOD_MS = 25;

/** Looks until `check` is true or the time is up; whether it came true comes back. */
export async function pollUntil(
  timeoutMs: number,
  check: () => boolean | Promise<boolean>,
): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    if (await check()) return true;
    if (performance.now() >= deadline) return false;
    await pause(POLL_PERIOD_MS);
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
