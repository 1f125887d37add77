/**
 * The frames of RESP3 that a server pushes to a connection with subscriptions, read where they stand.
 *
 *   >3 $7 message  $2 ch  $5 hello            FRAME_MESSAGE, CHANNEL, "ch"
 *   >4 $8 pmessage $2 c* $2 ch $5 hello       FRAME_MESSAGE, PATTERN, "c*"
 *   >3 $9 subscribe $2 ch :1                  FRAME_CONFIRMED
 *
 * Apart from its first byte a frame is what a RESP2 client gets, so that it is passed on as it came.
 */
import { readLatin1 } from "../../base/bytes.ts";
import { CHANNEL, PATTERN, SHARD, type TopicKind } from "./topic-kind.ts";

export const FRAME_MESSAGE = 0;
/** The answer to a SUBSCRIBE, an UNSUBSCRIBE or their like. */
export const FRAME_CONFIRMED = 1;
/** Something that nobody has asked for. */
export const FRAME_OTHER = 2;

const LF = 10;
const ZERO = 48;
const CR = 13;

/** By the first word of the frame. */
const MEANINGS: ReadonlyMap<string, readonly [number, TopicKind]> = new Map([
  ["message", [FRAME_MESSAGE, CHANNEL]],
  ["pmessage", [FRAME_MESSAGE, PATTERN]],
  ["smessage", [FRAME_MESSAGE, SHARD]],
  ["subscribe", [FRAME_CONFIRMED, CHANNEL]],
  ["psubscribe", [FRAME_CONFIRMED, PATTERN]],
  ["ssubscribe", [FRAME_CONFIRMED, SHARD]],
  ["unsubscribe", [FRAME_CONFIRMED, CHANNEL]],
  ["punsubscribe", [FRAME_CONFIRMED, PATTERN]],
  ["sunsubscribe", [FRAME_CONFIRMED, SHARD]],
]);

export class PushFrame {
  /** FRAME_* */
  meaning = FRAME_OTHER;
  kind: TopicKind = CHANNEL;
  /** The channel, or the pattern, of a message; "" otherwise. */
  name = "";
  #start = 0;
  #end = 0;

  /** Reads the whole frame that begins at `start`. */
  read(bytes: Uint8Array, start: number): void {
    let at = start;
    while (bytes[at] !== LF) at++;
    this.#bulk(bytes, at + 1);
    const known = MEANINGS.get(readLatin1(bytes, this.#start, this.#end));
    this.meaning = known === undefined ? FRAME_OTHER : known[0];
    this.name = "";
    if (known === undefined) return;
    this.kind = known[1];
    if (this.meaning !== FRAME_MESSAGE) return;
    this.#bulk(bytes, this.#end + 2);
    this.name = readLatin1(bytes, this.#start, this.#end);
  }

  /** Finds the bulk string whose header begins at `from`. */
  #bulk(bytes: Uint8Array, from: number): void {
    let length = 0;
    let at = from + 1;
    for (; bytes[at] !== CR; at++) length = length * 10 + bytes[at] - ZERO;
    this.#start = at + 2;
    this.#end = this.#start + length;
  }
}
