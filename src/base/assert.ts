/**
 * Assertions stay on in production: a wrong answer is worse than a dead worker, and a dead worker is
 * replaced within a second.
 */
export class AssertionFailure extends Error {
  override readonly name = "AssertionFailure";
}

/** Kills the worker (by an exception that nobody catches) when a thing that the code relies on is not so. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionFailure(`Assertion failed: ${message}`);
}

/** For the branch that the types rule out. */
export function unreachable(value: never): never {
  throw new AssertionFailure(`Assertion failed: unexpected value ${String(value)}`);
}
