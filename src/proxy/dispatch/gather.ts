/**
 * One request that several servers answer: the parts are collected, then merged into one reply.
 *
 *   place in the session's order ◀── merge ◀── all parts here ◀── part 0: reply or error
 *                                                             ◀── part 1 …
 *
 * Each part keeps its reply in a block until the merge. Invariant: every part ends exactly once, by a reply
 * or by a failure.
 */
import type { Block } from "../../base/block-pool.ts";
import type { Bytes } from "../../base/bytes.ts";
import { readLatin1 } from "../../base/bytes.ts";
import type { Command } from "../../commands/command.ts";
import { writes } from "../acks/writes.ts";
import { errorReply } from "../../resp/reply-writer.ts";
import type { DataPlane } from "../data-plane.ts";
import type { Session } from "../downstream/session.ts";
import type { ReplyOwner, Request } from "../request.ts";
import type { Upstream } from "../upstream/upstream.ts";

const ERROR = 45;
const BULK_ERROR = 33;

export interface Part {
  readonly group: string;
  block: Block | null;
  length: number;
  /** The error instead of a reply, without "-" and line end. */
  error: string | null;
}

/**
 * Makes one encoded reply (text) of the parts; or returns null and hands it over by `gather.finishWithBlock`,
 * or later by `gather.finishWith`.
 */
export type Merge = (gather: Gather) => string | null;

export class Gather implements ReplyOwner {
  readonly plane: DataPlane;
  readonly session: Session;
  readonly command: Command;
  readonly writes: boolean;
  readonly repeats = true;
  readonly parts: Part[] = [];
  readonly #place: Request;
  readonly #merge: Merge;
  #left = 0;
  #sealed = false;
  /** Bytes of the parts that are here: they count as waiting for the client. */
  #collected = 0;

  constructor(plane: DataPlane, session: Session, command: Command, merge: Merge) {
    this.plane = plane;
    this.session = session;
    this.command = command;
    this.writes = writes(command);
    this.#merge = merge;
    this.#place = session.reserve();
  }

  /**
   * Adds a part that `upstream` will answer. True: its bytes are to be appended now; false: it has failed
   * already.
   */
  begin(upstream: Upstream): boolean {
    const part: Part = { group: upstream.target.group, block: null, length: 0, error: null };
    this.parts.push(part);
    // What only reads does no harm at a group that is held for a switchover.
    if (!(this.writes ? upstream.takes() : upstream.prepare())) {
      part.error = upstream.refusal;
      return false;
    }
    this.#left++;
    this.session.tracking?.announce(upstream);
    upstream.begin(this, this.parts.length - 1);
    return true;
  }

  /** All parts have been added. */
  seal(): void {
    this.#sealed = true;
    if (this.#left === 0) this.#finish();
  }

  onReply(request: Request, bytes: Bytes, start: number, end: number): void {
    const part = this.parts[request.part];
    if (bytes[start] === ERROR) {
      part.error = readLatin1(bytes, start + 1, end - 2);
    } else if (bytes[start] === BULK_ERROR) {
      part.error = readLatin1(bytes, bytes.indexOf(10, start) + 1, end - 2);
    } else if (this.#place.session === null) {
      part.error = "ERR the client is gone";
    } else {
      const length = end - start;
      const block = this.plane.env.net.blocks.take(length);
      bytes.copy(block.bytes, 0, start, end);
      this.#collect(part, block, length);
    }
    this.#partEnded();
  }

  onBlock(request: Request, block: Block, length: number): boolean {
    const type = block.bytes[0];
    if (type === ERROR || type === BULK_ERROR || this.#place.session === null) return false;
    this.#collect(this.parts[request.part], block, length);
    this.#partEnded();
    return true;
  }

  onFailure(request: Request, text: string): void {
    this.parts[request.part].error = text;
    this.#partEnded();
  }

  /** The reply is `block[0, length)`; it changes hands. */
  finishWithBlock(block: Block, length: number): void {
    const place = this.#place;
    if (place.session === null) {
      this.plane.env.net.blocks.give(block);
      this.plane.requests.give(place);
    } else this.session.completeWithBlock(place, block, length);
  }

  /** The reply as text, for a merge that has returned null because it waits for more. */
  finishWith(text: string): void {
    this.session.complete(this.#place, text);
  }

  /** The first part that failed; null when none did. */
  get failed(): Part | null {
    for (const part of this.parts) if (part.error !== null) return part;
    return null;
  }

  /**
   * The error when at least one part failed. A write that ran at some servers and not at others is said to
   * be so (loss-modes L11): the client must know that the answer "error" does not mean "nothing happened".
   */
  errorText(writes: boolean): string | null {
    const { failed } = this;
    if (failed === null) return null;
    const done = this.parts.filter((part) => part.error === null).map((part) => part.group);
    if (!writes || done.length === 0) return errorReply(failed.error as string);
    const name = this.command.name.toUpperCase().replace("|", " ");
    const where = `done by group ${done.join(", ")}; failed at group ${failed.group}`;
    return errorReply(`ERR ${name} ran in part only: ${where}: ${failed.error}`);
  }

  #collect(part: Part, block: Block, length: number): void {
    part.length = length;
    part.block = block;
    this.#collected += length;
    this.session.collect(length);
  }

  #partEnded(): void {
    if (--this.#left === 0 && this.#sealed) this.#finish();
  }

  #finish(): void {
    this.session.collect(-this.#collected);
    const text = this.#merge(this);
    for (const part of this.parts) if (part.block !== null) this.plane.env.net.blocks.give(part.block);
    if (text !== null) this.finishWith(text);
  }
}

/** Sends each of the encoded `requests` to each upstream; one part per request and group. */
export function askInWords(
  gather: Gather,
  upstreams: readonly Upstream[],
  requests: readonly string[],
): void {
  for (const upstream of upstreams) {
    for (const request of requests) {
      if (!gather.begin(upstream)) continue;
      upstream.output.appendLatin1(request);
      upstream.flushSoon();
    }
  }
  gather.seal();
}
