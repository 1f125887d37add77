/**
 * The one error class and its code table. Programmer errors are assertions (assert.ts); everything that can
 * go wrong in operation is one of these codes, so that the API, the command line and the metrics speak of
 * the same thing.
 */

/**
 * Each code: what it means, the HTTP status that the controller's API answers with, the command line's exit
 * status.
 */
export const ERROR_CODES = {
  INVALID_ARGUMENT: { meaning: "a value is not allowed", httpStatus: 400, exitStatus: 2 },
  CONFIG: { meaning: "the configuration is wrong", httpStatus: 400, exitStatus: 2 },
  NOT_FOUND: { meaning: "no such thing", httpStatus: 404, exitStatus: 3 },
  CONFLICT: { meaning: "the present state does not allow it", httpStatus: 409, exitStatus: 4 },
  STALE: { meaning: "an older term or version than the one in force", httpStatus: 409, exitStatus: 4 },
  NOT_LEADER: { meaning: "another controller leads", httpStatus: 421, exitStatus: 4 },
  UNAUTHORIZED: { meaning: "token or password missing or wrong", httpStatus: 401, exitStatus: 5 },
  UNREACHABLE: { meaning: "no connection to the other side", httpStatus: 503, exitStatus: 6 },
  TIMEOUT: { meaning: "no answer in time", httpStatus: 504, exitStatus: 6 },
  SERVER_REPLY: { meaning: "a Redis server answered with an error", httpStatus: 502, exitStatus: 6 },
  PROTOCOL: { meaning: "bytes that are not the protocol", httpStatus: 400, exitStatus: 6 },
  LIMIT: { meaning: "a named limit is reached", httpStatus: 429, exitStatus: 7 },
  STORE: { meaning: "the store refused or is damaged", httpStatus: 503, exitStatus: 8 },
  ADDRESS_IN_USE: { meaning: "the address is taken", httpStatus: 409, exitStatus: 9 },
  START_FAILED: { meaning: "a part did not start", httpStatus: 500, exitStatus: 9 },
  DISK: { meaning: "the disk refused", httpStatus: 500, exitStatus: 8 },
  INTERNAL: { meaning: "a fault of the program itself", httpStatus: 500, exitStatus: 70 },
  UNSUPPORTED: { meaning: "not there yet, or never", httpStatus: 501, exitStatus: 2 },
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

/** An operating error: typed, coded, counted. The message names the action that failed and the value. */
export class ShoalError extends Error {
  override readonly name = "ShoalError";
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}

/** The code of any thrown thing, or null when it is not ours. */
export function errorCodeOf(error: unknown): ErrorCode | null {
  return error instanceof ShoalError ? error.code : null;
}

/** The text of any thrown thing, for logs and answers. */
export function errorTextOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
