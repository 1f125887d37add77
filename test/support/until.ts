/** Waits for what must become so, instead of for a while. */

/**
 * Asks `condition` until it holds.
 * @throws Error that names `what`, and what the last try threw, when it does not within `withinMs`
 */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string,
  withinMs = 10_000,
): Promise<void> {
  const deadline = performance.now() + withinMs;
  let last: unknown;
  while (performance.now() < deadline) {
    try {
      if (await condition()) return;
      last = undefined;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`Not so within ${withinMs} ms: ${what}`, { cause: last });
}
