/**
 * A connection to a server whose writes are answered only when replicas have them too (`acks: replica`).
 *
 *   a turn's requests ─▶ SET a · GET b · INCR c ─┬─ (the turn ends) ─▶ WAIT n t ─▶ one send
 *                                                └ "one of them must be confirmed": `want`
 *   replies: +OK, ":1" ─▶ kept, in their order ─▶ WAIT's ":n" ─┬─ enough ─▶ the kept ones leave
 *            "b" ─▶ leaves at once                             └─ too few ─▶ -NOREPLICAS in their place
 *
 * One WAIT serves all clients of the turn. The server reads nothing further from the connection while it
 * waits, so a worker has several of them: a session's writes go over one of those for writes with their need,
 * all else over one that nobody waits on (acks.ts). What reaches the wrong one is sent by way of the right
 * one, if the session's order allows it now (`#sendElsewhere`).
 *
 * Invariants: a reply that is kept was sent before the next WAIT's; a request that wants confirmation has
 * `replicas` > 0 from `want` until it is confirmed, refused or failed; which connection a request takes is
 * about who waits for whom, never about whether it is confirmed. Rejected: connections chosen by slot,
 * because a command of several slots, or of none, would then have to wait for all of them. Rejected: one WAIT
 * under way at a time; it saves some, and costs a round trip for each.
 */
import { assert } from "../../base/assert.ts";
import type { Block } from "../../base/block-pool.ts";
import { type Bytes, readLatin1 } from "../../base/bytes.ts";
import { bulk } from "../../resp/reply-writer.ts";
import { type AckNeed, stricter } from "../../topology/acks-rule.ts";
import { fail } from "../dispatch/call.ts";
import type { Session } from "../downstream/session.ts";
import { KIND_OWNED, KIND_PLAIN, type ReplyOwner, type Request } from "../request.ts";
import type { LargeReply } from "../upstream/large-reply.ts";
import { Upstream } from "../upstream/upstream.ts";

const INTEGER = 58;
const ARRAY = 42;
/** "-": also the sign in "*-1". */
const ERROR = 45;
const PING = "*1\r\n$4\r\nPING\r\n";

/**
 * WAITs under way on one connection. While no replica answers each takes its full time, one after the other:
 * what is written meanwhile waits for two or three of them, and not for as many as there have been turns.
 */
export const WAITS_MAX = 2;

export class AckUpstream extends Upstream {
  /** What the requests since the last WAIT want; null while none wants anything. */
  #need: AckNeed | null = null;
  #sealing = false;
  /** Replies that wait for the next WAIT's, oldest first; chained by `nextInUpstream`. */
  #keptHead: Request | null = null;
  #keptTail: Request | null = null;
  /** WAITs under way. */
  #waits = 0;

  override send(session: Session, bytes: Bytes, start: number, end: number): boolean {
    const { acks } = this.plane;
    const need = acks.needOfRequest(session.info.lastCommand, bytes, start, end);
    if (!acks.suits(session, need)) return this.#sendElsewhere(session, need, bytes, start, end);
    super.send(session, bytes, start, end);
    if (need !== null) this.#want(need);
    return true;
  }

  override begin(owner: ReplyOwner, part: number): Request {
    const request = super.begin(owner, part);
    const { strictest } = this.plane.acks;
    if (owner.writes === true && strictest !== null) this.#want(strictest);
    return request;
  }

  override beginFor(session: Session): Request {
    const request = super.beginFor(session);
    const need = this.plane.acks.placed;
    if (need !== null) this.#want(need);
    return request;
  }

  override beginStream(session: Session): Request {
    const request = super.beginFor(session);
    const need = this.plane.acks.needOfCommand(session.info.lastCommand);
    // WAIT must not get into the middle of the request: `endStream` says when.
    if (need !== null) this.#mark(request, need);
    return request;
  }

  override endStream(): void {
    if (this.#need !== null) this.#sealSoon();
  }

  protected override answer(request: Request, bytes: Bytes, start: number, end: number): void {
    // An error, or EXEC's and a pop's "*-1": nothing was written that anybody is told of.
    const nothingDone = bytes[start] === ERROR || (bytes[start] === ARRAY && bytes[start + 1] === ERROR);
    if (nothingDone) this.#wantNot(request);
    if (request.replicas === 0) super.answer(request, bytes, start, end);
    else if (request.kind === KIND_OWNED) {
      this.plane.requests.keep(request, bytes, start, end);
      this.#keep(request);
    } else if (request.kind === KIND_PLAIN && request.session !== null) {
      request.session.keepUnconfirmed(request, bytes, start, end);
      this.#keep(request);
    } else {
      request.replicas = 0;
      super.answer(request, bytes, start, end);
    }
  }

  protected override collects(request: Request): boolean {
    return request.replicas > 0;
  }

  protected override finishLarge(large: LargeReply): void {
    const { request } = large;
    const collected = request.replicas === 0 ? null : large.takeCollected();
    if (collected === null) {
      request.replicas = 0;
      super.finishLarge(large);
      return;
    }
    this.#keepBlock(request, collected.block, collected.length);
  }

  protected override fail(request: Request, text: string): void {
    request.replicas = 0;
    super.fail(request, text);
  }

  protected override dropped(reason: string): void {
    this.#need = null;
    this.#waits = 0;
    this.#settle((request) => `${notConfirmed(request.replicas)}, and it may be lost: ${reason}`);
  }

  protected override stalled(stalledMs: number): number {
    const { head } = this;
    if (head === null || head.owner !== this.#waiting) return stalledMs;
    // All that stands before the WAIT is answered: the server waits for its replicas, is silent here for as
    // long as this WAIT allows (not the last one that was sent), and answers elsewhere.
    return Math.max(this.watch.stalledMs, stalledMs - head.part);
  }

  /** The session's next lane is not this connection's: over the one to the same server there. */
  #sendElsewhere(session: Session, need: AckNeed | null, bytes: Bytes, start: number, end: number): boolean {
    const at = session.lane.groups.indexOf(this);
    assert(at >= 0, "a session sends over its own lane");
    if (!this.plane.acks.enter(session, need)) return false;
    const upstream = session.lane.groups[at];
    if (!upstream.open) {
      if (this.plane.holding.enter(session, upstream)) return false;
      if (!upstream.takes()) return fail(session, upstream.refusal);
    }
    return upstream.send(session, bytes, start, end);
  }

  /** The request just queued is to be confirmed. */
  #want(need: AckNeed): void {
    this.#mark(this.tail as Request, need);
    // A call that the server waits in may be ended by CLIENT UNBLOCK. WAIT must not be what that meets, so it
    // follows the reply (`#keep`).
    if (!this.patient) this.#sealSoon();
  }

  /** It has done nothing that could be confirmed. */
  #wantNot(request: Request): void {
    request.replicas = 0;
    if (this.patient) this.#need = null;
  }

  #mark(request: Request, need: AckNeed): void {
    request.replicas = need.replicas;
    this.#need = stricter(this.#need, need);
  }

  #sealSoon(): void {
    if (this.#sealing) return;
    this.#sealing = true;
    this.plane.env.net.atTurnEnd(this.#seal);
  }

  readonly #seal = (): void => {
    this.#sealing = false;
    // Until one of them is answered; `#waiting` calls again.
    if (this.#waits >= WAITS_MAX) return;
    const need = this.#need;
    this.#need = null;
    if (need === null || this.out === null) return;
    // WAIT is about the offset that the connection's last command has left. Before Redis 7.2 one that was
    // blocked, and is served by somebody's push, leaves none; whatever comes behind it leaves its own.
    if (this.patient) {
      super.begin(NOBODY, 0);
      this.output.appendLatin1(PING);
    }
    super.begin(this.#waiting, need.timeoutMs);
    this.#waits++;
    this.plane.counters.ackWaits++;
    const words = ["WAIT", String(need.replicas), String(need.timeoutMs)];
    this.output.appendLatin1(`*3\r\n${words.map(bulk).join("")}`);
    this.flushSoon();
  };

  /** Takes the reply of each WAIT; `part`: the time that it may take, in ms. */
  readonly #waiting: ReplyOwner = {
    onReply: ({ part: timeoutMs }, bytes, start, end) => {
      // What has been sent without a WAIT stands behind another one: it is not answered yet.
      if (this.#waits-- === WAITS_MAX) this.#seal();
      const count = countOf(bytes, start, end);
      this.#settle((request) => {
        // To whom nobody listens an error says nothing; an element that it has popped can be put back (L15).
        if (count >= request.replicas || request.owner?.session?.closed === true) return null;
        return `${notConfirmed(request.replicas)} within ${timeoutMs} ms`;
      });
    },
    onFailure: nothing,
  };

  #keepBlock(request: Request, block: Block, length: number): void {
    if (request.kind === KIND_PLAIN && request.session !== null)
      request.session.keepBlockUnconfirmed(request, block, length);
    else this.plane.requests.keepBlock(request, block, length);
    this.#keep(request);
  }

  #keep(request: Request): void {
    request.nextInUpstream = null;
    if (this.#keptTail === null) this.#keptHead = request;
    else this.#keptTail.nextInUpstream = request;
    this.#keptTail = request;
    if (this.patient) this.#seal();
  }

  /** What is kept is answered: by its reply, or by the error that `refusal` has for it. */
  #settle(refusal: (request: Request) => string | null): void {
    let request = this.#keptHead;
    this.#keptHead = null;
    this.#keptTail = null;
    while (request !== null) {
      const next: Request | null = request.nextInUpstream;
      const text = refusal(request);
      request.nextInUpstream = null;
      request.replicas = 0;
      if (text === null) this.#confirm(request);
      else this.#refuse(request, text);
      request = next;
    }
  }

  #confirm(request: Request): void {
    const { session, owner, kind } = request;
    if (kind === KIND_PLAIN && session !== null) {
      session.confirm(request);
      return;
    }
    if (kind === KIND_OWNED && owner !== null) {
      const { replyBytes, replyStart, replyLength } = request;
      owner.onReply(request, replyBytes, replyStart, replyStart + replyLength);
    }
    this.plane.requests.give(request);
  }

  #refuse(request: Request, text: string): void {
    this.plane.counters.unconfirmedWrites++;
    if (request.kind === KIND_PLAIN && request.session !== null) request.session.forgetKept(request);
    else this.plane.requests.forget(request);
    this.plane.failRequest(request, text);
  }
}

function nothing(): void {}

const NOBODY: ReplyOwner = { onReply: nothing, onFailure: nothing };

/** The error of a write that a server has done and its replicas have not confirmed. */
export function notConfirmed(replicas: number): string {
  return `NOREPLICAS Write was applied on the primary but not confirmed by ${replicas} replica(s)`;
}

/** WAIT's reply; an error counts as nobody. */
function countOf(bytes: Bytes, start: number, end: number): number {
  return bytes[start] === INTEGER ? Number(readLatin1(bytes, start + 1, end - 2)) : 0;
}
