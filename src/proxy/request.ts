/**
 * One request under way, as a record that is used again.
 *
 *   session:   head ─▶ □ ─▶ □ ─▶ □ tail        replies leave in this order       (nextInSession)
 *   upstream:  head ─▶ □ ─▶ □ tail             replies arrive in this order      (nextInUpstream)
 *
 * A record stands in both queues until its reply has come (it leaves the upstream's) and all replies before
 * it have been written (it leaves the session's). A reply that comes too early is kept in the record: in its
 * piece of the slab when it is short, in a block when not. The queues are chains through the records
 * themselves, so that neither an idle connection nor a queue that grows costs memory of its own. Rejected:
 * an array per queue (grows, shrinks, is collected), and one buffer per session for early replies (never
 * empty under a steady pipeline).
 */
import type { Block, BlockPool } from "../base/block-pool.ts";
import { type Bytes, copyBytes } from "../base/bytes.ts";
import { assert } from "../base/assert.ts";
import type { Work } from "../env/net.ts";
import type { Session } from "./downstream/session.ts";

/** The reply goes to the session as it is. */
export const KIND_PLAIN = 0;
/** As PLAIN, but the client wants no replies (CLIENT REPLY OFF, SKIP). */
export const KIND_MUTED = 1;
/**
 * The reply is for `owner`: part of a split, a step of a handshake. Such a record stands in no session's
 * queue.
 */
export const KIND_OWNED = 2;
/**
 * Answered without one upstream: by the proxy itself, or put together from parts. Stands in no upstream's
 * queue.
 */
export const KIND_LOCAL = 3;

/**
 * Who takes the reply of a KIND_OWNED record. `bytes[start, end)` is one whole reply, valid during the call.
 */
export interface ReplyOwner {
  /** The session whose order the request is part of, if there is one. */
  readonly session?: Session;
  /** Whether the request may change data: with `acks: replica` its reply then waits for replicas. */
  readonly writes?: boolean;
  /** Whether the request stands for itself, so that it may be sent again if it only reads. */
  readonly repeats?: boolean;
  onReply(request: Request, bytes: Bytes, start: number, end: number): void;
  /**
   * Instead of `onReply`, for a reply that was collected in a block: `block[0, length)`. True: the block has
   * changed hands. False: it has not, and `onReply` follows.
   */
  onBlock?(request: Request, block: Block, length: number): boolean;
  /** No reply will come; `text` is the error for the client, without "-" and line end. */
  onFailure(request: Request, text: string): void;
}

/** Replies up to this length need no block while they wait: ":1", "+OK", short values. */
const SLAB_BYTES_PER_REQUEST = 64;
/** Records are made this many at a time. */
const SLAB_REQUESTS = 256;
/** Records kept for reuse; above, they are left to the collector. */
const KEPT_REQUESTS_MAX = 64 << 10;

export class Request {
  session: Session | null = null;
  owner: ReplyOwner | null = null;
  kind = KIND_PLAIN;
  /** The reply is here, waiting for those before it. */
  done = false;
  nextInSession: Request | null = null;
  nextInUpstream: Request | null = null;
  /** Free for the owner: which part this is. */
  part = 0;
  replyLength = 0;
  /** Replicas that must confirm it before its reply leaves; only acks/ ever sets it, and sets it back. */
  replicas = 0;
  /** Where a long reply is kept; null when it fits the slab. */
  block: Block | null = null;
  readonly slab: Bytes;
  readonly slabStart: number;

  constructor(slab: Bytes, slabStart: number) {
    this.slab = slab;
    this.slabStart = slabStart;
  }

  get replyBytes(): Bytes {
    return this.block === null ? this.slab : this.block.bytes;
  }

  get replyStart(): number {
    return this.block === null ? this.slabStart : 0;
  }
}

export class RequestPool {
  readonly #blocks: BlockPool;
  readonly #work: Work;
  #free: Request | null = null;
  #freeCount = 0;

  constructor(blocks: BlockPool, work: Work = { begun: 0, ended: 0, parts: 0 }) {
    this.#blocks = blocks;
    this.#work = work;
  }

  /** Records under way. */
  get inUse(): number {
    return this.#work.begun - this.#work.ended;
  }

  take(): Request {
    this.#work.begun++;
    const request = this.#free;
    if (request === null) return this.#make();
    this.#free = request.nextInSession;
    this.#freeCount--;
    request.nextInSession = null;
    return request;
  }

  /** A record for a part of a request, or for what the proxy asks on its own: the reply goes to `owner`. */
  takePart(owner: ReplyOwner, part: number): Request {
    const request = this.take();
    this.#work.parts++;
    request.kind = KIND_OWNED;
    request.owner = owner;
    request.part = part;
    return request;
  }

  /** Takes a record back that stands in no queue any more. */
  give(request: Request): void {
    this.#work.ended++;
    if (request.block !== null) {
      this.#blocks.give(request.block);
      request.block = null;
    }
    request.session = null;
    if (request.owner !== null) {
      request.owner = null;
      this.#work.parts--;
    }
    request.kind = KIND_PLAIN;
    request.done = false;
    request.nextInUpstream = null;
    if (this.#freeCount >= KEPT_REQUESTS_MAX) return;
    request.nextInSession = this.#free;
    this.#free = request;
    this.#freeCount++;
  }

  /** Keeps a reply that came before its turn: copies it into the record. */
  keep(request: Request, bytes: Bytes, start: number, end: number): void {
    const length = end - start;
    request.replyLength = length;
    request.done = true;
    if (length <= SLAB_BYTES_PER_REQUEST) {
      copyBytes(request.slab, request.slabStart, bytes, start, end);
      return;
    }
    request.block = this.#blocks.take(length);
    bytes.copy(request.block.bytes, 0, start, end);
  }

  /** Keeps a reply that stands at the beginning of `block`, without copying; the record owns the block. */
  keepBlock(request: Request, block: Block, length: number): void {
    assert(request.block === null, "a record has one reply");
    request.replyLength = length;
    request.done = true;
    request.block = block;
  }

  /** Drops a reply that was kept. */
  forget(request: Request): void {
    if (request.block !== null) this.#blocks.give(request.block);
    request.block = null;
    request.replyLength = 0;
    request.done = false;
  }

  #make(): Request {
    const slab = this.#blocks.take(SLAB_REQUESTS * SLAB_BYTES_PER_REQUEST).bytes;
    for (let i = 1; i < SLAB_REQUESTS; i++) {
      const request = new Request(slab, i * SLAB_BYTES_PER_REQUEST);
      request.nextInSession = this.#free;
      this.#free = request;
    }
    this.#freeCount += SLAB_REQUESTS - 1;
    return new Request(slab, 0);
  }
}
