/**
 * One client of the Sentinel face: bytes in, requests out, replies back in order.
 *
 *   onData ─▶ #bytes ─▶ RequestScanner (or InlineRequest) ─▶ answer() ─▶ connection.output
 *                └── output over OUTPUT_PAUSE_BYTES: not read until it has been sent
 *   tell() ─▶ output        over OUTPUT_BYTES_MAX: closed
 *
 * Everything is answered at once from memory, so there is no queue of replies. Not the proxy's session, which
 * is made for a million requests a second and belongs to the other plane; a Sentinel gets a few per client.
 */
import { readLatin1 } from "../../base/bytes.ts";
import type { Connection, ConnectionHandler } from "../../env/net.ts";
import type { InlineRequest } from "../../resp/inline-request.ts";
import { type Protocol, errorReply } from "../../resp/reply-writer.ts";
import { INCOMPLETE, INLINE, PROTOCOL_ERROR, RequestScanner } from "../../resp/request-scanner.ts";
import { answer } from "./sentinel-commands.ts";
import type { SentinelClient, SentinelDesk } from "./sentinel-desk.ts";
import type { SentinelMessage } from "./sentinel-events.ts";
import { messageFrames } from "./sentinel-subscriptions.ts";

/** Of one request: the longest that makes sense is a SUBSCRIBE. */
export const REQUEST_BYTES_MAX = 64 << 10;

/** With so much unsent, further requests wait. */
export const OUTPUT_PAUSE_BYTES = 1 << 20;

/** With so much unsent, a client that is told of events and does not read is closed. */
export const OUTPUT_BYTES_MAX = 32 << 20;

/** How long a client that is being closed may take to fetch what waits for it. */
export const LINGER_MS = 1000;

const NO_BYTES = new Uint8Array(0);

/** What a session needs of the face. */
export interface SessionOwner {
  readonly desk: SentinelDesk;
  /** Shared: it keeps nothing from one call to the next. */
  readonly inline: InlineRequest;
  /** The client has subscribed, or is not subscribed any more. */
  onSubscriptions(session: SentinelSession): void;
  onGone(session: SentinelSession): void;
}

export class SentinelSession implements ConnectionHandler, SentinelClient {
  readonly id: number;
  readonly host: string;
  readonly channels = new Set<string>();
  readonly patterns = new Set<string>();
  protocol: Protocol = 2;
  name = "";
  signedIn = false;
  closing = false;
  readonly #connection: Connection;
  readonly #owner: SessionOwner;
  readonly #scanner = new RequestScanner();
  /** What has arrived and is not answered. */
  #bytes: Uint8Array = NO_BYTES;
  #paused = false;
  #ended = false;

  constructor(connection: Connection, owner: SessionOwner, id: number) {
    this.#connection = connection;
    this.#owner = owner;
    this.id = id;
    this.host = hostOf(connection.remoteAddress);
  }

  get subscribed(): boolean {
    return this.channels.size + this.patterns.size > 0;
  }

  onOpen(): void {}

  onData(bytes: Uint8Array, start: number, end: number): void {
    if (this.closing) return;
    const { length } = this.#bytes;
    const joined = new Uint8Array(length + end - start);
    joined.set(this.#bytes);
    joined.set(bytes.subarray(start, end), length);
    this.#bytes = joined;
    this.#run();
  }

  /** What has been asked is still answered. */
  onEnd(): void {
    this.#ended = true;
    if (!this.#paused) this.#close();
  }

  onDrain(): void {
    this.#paused = false;
    this.#connection.setReading(true);
    this.#run();
    if (this.#ended && !this.#paused) this.#close();
  }

  onClose(): void {
    this.closing = true;
    this.#owner.onGone(this);
  }

  /** Events that have happened; those that it has subscribed to are sent. */
  tell(messages: readonly SentinelMessage[]): void {
    if (this.closing) return;
    const { output } = this.#connection;
    for (const message of messages) output.appendLatin1(messageFrames(this, message));
    if (output.length > OUTPUT_BYTES_MAX) this.closeNow();
    else this.#connection.flushSoon();
  }

  closeNow(): void {
    this.closing = true;
    this.#connection.close();
    this.#owner.onGone(this);
  }

  #run(): void {
    let at = 0;
    while (!this.closing && !this.#paused) {
      const next = this.#take(at);
      if (next < 0) break;
      at = next;
      if (this.#connection.output.length > OUTPUT_PAUSE_BYTES) this.#pause();
    }
    this.#bytes = at === this.#bytes.length ? NO_BYTES : this.#bytes.slice(at);
    this.#connection.flushSoon();
    if (this.closing) this.#close();
  }

  /** Answers the request at `at`; where the next one begins, or INCOMPLETE when there is none (yet). */
  #take(at: number): number {
    const bytes = this.#bytes;
    if (at === bytes.length) return INCOMPLETE;
    const scanner = this.#scanner;
    // The scanner may look a few bytes further than there are: behind an array's end nothing is read.
    let next = scanner.scan(bytes, at, bytes.length);
    let words: string[] = [];
    if (next === INLINE) {
      const { inline } = this.#owner;
      next = inline.read(bytes, at, bytes.length);
      if (next === PROTOCOL_ERROR) return this.#refuse(inline.error);
      if (next >= 0 && inline.length > 0) {
        scanner.scan(inline.bytes, 0, inline.length);
        words = wordsOf(scanner, inline.bytes);
      }
    } else if (next >= 0) words = wordsOf(scanner, bytes);
    if (next === PROTOCOL_ERROR) return this.#refuse(scanner.error);
    if (next === INCOMPLETE && bytes.length - at > REQUEST_BYTES_MAX) return this.#refuse("too big request");
    if (next >= 0 && words.length > 0) this.#answer(words);
    return next;
  }

  #answer(words: readonly string[]): void {
    const before = this.subscribed;
    this.#connection.output.appendLatin1(answer(this.#owner.desk, this, words));
    if (before !== this.subscribed) this.#owner.onSubscriptions(this);
  }

  #refuse(text: string): number {
    this.#connection.output.appendLatin1(errorReply(`ERR Protocol error: ${text}`));
    this.closing = true;
    return PROTOCOL_ERROR;
  }

  #pause(): void {
    this.#paused = true;
    this.#connection.setReading(false);
    this.#connection.callOnDrain();
  }

  #close(): void {
    this.closing = true;
    this.#connection.closeAfterFlush(LINGER_MS);
    this.#owner.onGone(this);
  }
}

/** Latin-1: each byte a character. */
function wordsOf(scanner: RequestScanner, bytes: Uint8Array): string[] {
  return Array.from({ length: scanner.argc }, (_, i) => {
    return readLatin1(bytes, scanner.argStart[i], scanner.argEnd[i]);
  });
}

/** "127.0.0.1" of "127.0.0.1:51234" and of "::ffff:127.0.0.1:51234". */
function hostOf(remoteAddress: string): string {
  return remoteAddress
    .slice(0, remoteAddress.lastIndexOf(":"))
    .replace(/^\[(.*)\]$/, "$1")
    .replace(/^::ffff:(?=\d+\.)/, "");
}
