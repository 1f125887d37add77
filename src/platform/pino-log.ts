/**
 * env's Log, written by pino: one JSON text per line on standard output, synchronously, so that a crash loses
 * no line.
 */
import { type Logger, destination, pino } from "pino";
import type { Log, LogFields } from "../env/log.ts";

export type LogLevel = "debug" | "info" | "warn" | "error";

/** `file`: a path, or null for standard output. `base`: fields of every line. */
export function createPinoLog(level: LogLevel, base: LogFields, file: string | null = null): Log {
  const options = { level, base: { ...base }, timestamp: pino.stdTimeFunctions.isoTime, messageKey: "event" };
  return new PinoLog(pino(options, destination({ dest: file ?? 1, sync: true })));
}

class PinoLog implements Log {
  readonly #logger: Logger;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  debug(event: string, fields: LogFields = {}): void {
    this.#logger.debug(fields, event);
  }

  info(event: string, fields: LogFields = {}): void {
    this.#logger.info(fields, event);
  }

  warn(event: string, fields: LogFields = {}): void {
    this.#logger.warn(fields, event);
  }

  error(event: string, fields: LogFields = {}): void {
    this.#logger.error(fields, event);
  }

  with(fields: LogFields): Log {
    return new PinoLog(this.#logger.child(fields));
  }
}
