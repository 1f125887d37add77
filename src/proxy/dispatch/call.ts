/** One request as the functions behind the dispatcher get it, and the ways to answer it. */
import { type Bytes, readLatin1 } from "../../base/bytes.ts";
import type { Command } from "../../commands/command.ts";
import type { RequestScanner } from "../../resp/request-scanner.ts";
import { errorReply } from "../../resp/reply-writer.ts";
import type { Session } from "../downstream/session.ts";

export interface Call {
  readonly session: Session;
  readonly command: Command;
  /** Argument i stands at `bytes[request.argStart[i], request.argEnd[i])`. Valid during the call only. */
  readonly request: RequestScanner;
  readonly bytes: Bytes;
  /** The whole request is `bytes[start, end)`. */
  readonly start: number;
  readonly end: number;
}

/** Longest pieces of a client's words that are said back in an error; Redis's bound. */
export const QUOTED_BYTES_MAX = 128;

/** Answers with encoded text. Always true: the request is dealt with. */
export function answer(call: Call, text: string): true {
  call.session.answer(text);
  return true;
}

/** Answers with an error. */
export function fail(session: Session, text: string): true {
  session.answer(errorReply(text));
  return true;
}

/** Argument `index` as text, whole. */
export function argument(call: Call, index: number): string {
  const { request, bytes } = call;
  return readLatin1(bytes, request.argStart[index], request.argEnd[index]);
}

/** Argument `index` as text, cut to what an error may repeat. */
export function quoted(request: RequestScanner, index: number): string {
  const start = request.argStart[index];
  return readLatin1(request.bytes, start, Math.min(request.argEnd[index], start + QUOTED_BYTES_MAX));
}

const INT64_MAX = (1n << 63n) - 1n;

/** An integer as Redis reads one (string2ll): no sign "+", no leading zero, no space, 64 bits; else null. */
export function parseInteger(text: string): number | null {
  if (!/^(0|-?[1-9]\d{0,18})$/.test(text)) return null;
  const value = BigInt(text);
  return value > INT64_MAX || value < -INT64_MAX - 1n ? null : Number(value);
}
