/**
 * The map stream's lines: one JSON text per line (NDJSON), in UTF-8.
 *
 *   bytes as they come ── LineSplitter ──▶ whole lines ── parseMapStreamLine ──▶ map | heartbeat
 */
import { ShoalError } from "../base/shoal-error.ts";
import { type MapStreamLine, mapStreamLineSchema } from "./schemas.ts";

/** How often the controller sends a heartbeat line. */
export const HEARTBEAT_PERIOD_MS = 1000;

/** A stream without a line for so long is dead: a frozen controller keeps its connections open. */
export const STREAM_SILENCE_MS_MAX = 5 * HEARTBEAT_PERIOD_MS;

/** The longest line: a map of 4095 groups and 16384 ranges is about 2 MB. */
export const STREAM_LINE_BYTES_MAX = 16 << 20;

const NEWLINE = 10;

/** Cuts a stream of bytes into lines, wherever the chunks happen to end. */
export class LineSplitter {
  #parts: Uint8Array[] = [];
  #bytes = 0;
  readonly #onLine: (line: string) => void;

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine;
  }

  /** @throws ShoalError LIMIT when a line is longer than {@link STREAM_LINE_BYTES_MAX} */
  push(chunk: Uint8Array): void {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      this.#keep(chunk.subarray(start, end));
      this.#emit();
      start = end + 1;
    }
    // A copy, because the chunk belongs to whoever handed it in.
    if (start < chunk.length) this.#keep(chunk.slice(start));
  }

  #keep(part: Uint8Array): void {
    this.#bytes += part.length;
    if (this.#bytes > STREAM_LINE_BYTES_MAX) {
      throw new ShoalError(
        "LIMIT",
        `Cannot read the map stream: a line is over ${STREAM_LINE_BYTES_MAX} bytes`,
      );
    }
    this.#parts.push(part);
  }

  #emit(): void {
    const line = new Uint8Array(this.#bytes);
    let at = 0;
    for (const part of this.#parts) {
      line.set(part, at);
      at += part.length;
    }
    this.#parts = [];
    this.#bytes = 0;
    if (line.length > 0) this.#onLine(new TextDecoder().decode(line));
  }
}

/** A line as it goes out, with its end. */
export function formatMapStreamLine(line: MapStreamLine): string {
  return `${JSON.stringify(line)}\n`;
}

/** @throws ShoalError PROTOCOL */
export function parseMapStreamLine(text: string): MapStreamLine {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new ShoalError(
      "PROTOCOL",
      `Cannot read a line of the map stream: not JSON: ${text.slice(0, 60)}`,
      error,
    );
  }
  const parsed = mapStreamLineSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new ShoalError(
    "PROTOCOL",
    `Cannot read a line of the map stream: ${issue.path.join(".")}: ${issue.message}`,
  );
}
